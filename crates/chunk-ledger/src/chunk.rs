//! What is known of a sealed chunk: the same facts in the ledger, in the object's metadata and in
//! the Parquet footer.

use std::fmt;
use std::str::FromStr;

use crate::{Day, Mark, Offset, OffsetRange, Partition, Timestamp};

/// One incarnation of a sink process: a random 128-bit number, new at each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(pub u128);

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for WriterId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// Why a chunk was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealReason {
    /// It reached `bytes_max`.
    Bytes,
    /// It reached `rows_max`.
    Rows,
    /// It was open for `age_max`.
    Age,
    /// The next message is of a later day.
    Day,
    /// The process needed its memory.
    Memory,
    /// The partition moves to another member of the group.
    Revoked,
    /// The process is asked to end, or has reached the end of a drain.
    Shutdown,
}

impl SealReason {
    /// Every reason, e.g. to start each counter at zero.
    pub const ALL: [Self; 7] = [
        Self::Bytes,
        Self::Rows,
        Self::Age,
        Self::Day,
        Self::Memory,
        Self::Revoked,
        Self::Shutdown,
    ];

    /// The stable name in logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Rows => "rows",
            Self::Age => "age",
            Self::Day => "day",
            Self::Memory => "memory",
            Self::Revoked => "revoked",
            Self::Shutdown => "shutdown",
        }
    }
}

/// A sealed chunk. It holds at least one message, as a row or as a reject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// The partition.
    pub partition: Partition,
    /// From the end of the previous chunk to behind the last message seen.
    pub range: OffsetRange,
    /// The first message seen; its offset is above `range.start` where offsets are missing.
    pub first: Mark,
    /// Kafka's stamp of the last message seen.
    pub last_timestamp: Timestamp,
    /// Messages that became rows.
    pub rows: u64,
    /// Messages that became dead letters.
    pub rejected: u64,
    /// Offsets in `range` at which Kafka gave no message: compacted, of a transaction, or removed
    /// by retention.
    pub gaps: u64,
    /// Who sealed it.
    pub writer: WriterId,
}

impl Chunk {
    /// The day in the object's key.
    pub const fn day(&self) -> Day {
        self.opening().day()
    }

    /// What was known of it when its first message had come.
    pub const fn opening(&self) -> Opening {
        let Self { partition, range, first, writer, .. } = *self;
        Opening { partition, start: range.start, first, writer }
    }
}

/// What is known of a chunk from its first message on, and never changes: enough for its key. The
/// rest is known when it is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Opening {
    /// The partition.
    pub partition: Partition,
    /// The end of the previous chunk.
    pub start: Offset,
    /// The first message seen.
    pub first: Mark,
    /// Who has it open.
    pub writer: WriterId,
}

impl Opening {
    /// The day in the object's key.
    pub const fn day(&self) -> Day {
        self.first.timestamp.day()
    }
}

/// A chunk that still takes messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OpenChunk {
    pub(crate) start: Offset,
    pub(crate) first: Mark,
    /// Behind the last message.
    pub(crate) next: Offset,
    pub(crate) last_timestamp: Timestamp,
    pub(crate) rows: u64,
    pub(crate) rejected: u64,
    pub(crate) gaps: u64,
    /// When the first message came, on the caller's clock.
    pub(crate) opened_at: std::time::Duration,
    /// Set once the chunk must be sealed; it takes no more messages then.
    pub(crate) due: Option<SealReason>,
}

impl OpenChunk {
    pub(crate) fn seal(&self, partition: Partition, writer: WriterId) -> Chunk {
        Chunk {
            partition,
            range: OffsetRange { start: self.start, end: self.next },
            first: self.first,
            last_timestamp: self.last_timestamp,
            rows: self.rows,
            rejected: self.rejected,
            gaps: self.gaps,
            writer,
        }
    }
}
