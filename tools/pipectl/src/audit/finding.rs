//! What an audit may find: a check by its name, and a sentence that says where.

use std::fmt;

use chunk_ledger::invariants::Invariant;
use chunk_ledger::{OffsetRange, Partition};
use serde::{Serialize, Serializer};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check that failed; its [`Check::code`] in JSON.
    pub check: Check,
    /// The partition concerned; null where the finding concerns no single one.
    #[serde(serialize_with = "partition")]
    pub partition: Option<Partition>,
    /// The offsets concerned, `{"start": 120, "end": 140}` with the end behind the last one; null
    /// where the finding concerns none in particular.
    #[serde(serialize_with = "offsets")]
    pub offsets: Option<OffsetRange>,
    /// The keys of the objects concerned.
    pub keys: Vec<String>,
    /// All of it in words.
    pub message: String,
}

/// The checks. Invariants keep their names; the others guard what the invariants rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// An invariant of the chunk protocol: `L1`, `L2`.
    Invariant(Invariant),
    /// An object below the prefix that is no chunk: readers take it for data.
    Foreign,
    /// An object's metadata can't be read, contradicts itself, or has vanished.
    Metadata,
    /// An object's key and its metadata disagree.
    Key,
    /// Rows, rejected offsets and gaps do not add up to the range.
    Counts,
    /// Chunks and Kafka's log do not belong together, or Kafka removed what was not stored.
    Log,
    /// Rejected offsets and dead letters disagree.
    DeadLetters,
    /// The rows inside an object are not those that it claims.
    Rows,
    /// An object is no Parquet, has another schema, or its footer disagrees with its metadata.
    Parquet,
    /// Messages wait although none was expected to.
    Lag,
}

impl Check {
    /// The stable name in reports.
    pub fn code(self) -> String {
        match self {
            Self::Invariant(invariant) => return invariant.to_string(),
            Self::Foreign => "foreign",
            Self::Metadata => "metadata",
            Self::Key => "key",
            Self::Counts => "counts",
            Self::Log => "log",
            Self::DeadLetters => "dead_letters",
            Self::Rows => "rows",
            Self::Parquet => "parquet",
            Self::Lag => "lag",
        }
        .to_owned()
    }
}

impl Finding {
    /// A finding about one object.
    pub(super) fn about(
        check: Check,
        partition: Option<Partition>,
        key: &str,
        message: String,
    ) -> Self {
        Self { check, partition, offsets: None, keys: vec![key.to_owned()], message }
    }

    /// A finding about offsets of a partition.
    pub(super) fn at(
        check: Check,
        partition: Partition,
        offsets: OffsetRange,
        keys: &[&str],
        message: String,
    ) -> Self {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Self { check, partition: Some(partition), offsets: Some(offsets), keys, message }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check.code(), self.message)
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.code())
    }
}

fn partition<S: Serializer>(value: &Option<Partition>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(|partition| partition.0).serialize(serializer)
}

fn offsets<S: Serializer>(value: &Option<OffsetRange>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Range {
        start: i64,
        end: i64,
    }
    value.map(|range| Range { start: range.start.0, end: range.end.0 }).serialize(serializer)
}
