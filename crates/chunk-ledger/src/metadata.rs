//! A chunk as the key-value pairs of its object's metadata and of its Parquet footer.

use std::str::FromStr;

use crate::{Chunk, Mark, Offset, OffsetRange, Partition, Timestamp};

/// What the pairs' names begin with in the Parquet footer; in the object's metadata they stand
/// under their own names, behind S3's `x-amz-meta-`.
pub const FOOTER_PREFIX: &str = "chunk.";

const TOPIC: &str = "topic";
const PARTITION: &str = "partition";
const START: &str = "start-offset";
const END: &str = "end-offset";
const ROWS: &str = "rows";
const REJECTED: &str = "rejected";
const GAPS: &str = "gaps";
const FIRST_OFFSET: &str = "first-offset";
const FIRST_TIMESTAMP: &str = "first-timestamp-ms";
const LAST_TIMESTAMP: &str = "last-timestamp-ms";
const WRITER: &str = "writer-id";
const SCHEMA_VERSION: &str = "schema-version";

/// Why an object's metadata can't be read as a chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// A pair is missing: the object was written by something else, or copied without metadata.
    #[error(
        "the metadata has no {0:?}: the object was not written by this sink, or was copied without its metadata"
    )]
    Missing(&'static str),
    /// A pair has another form than [`to_metadata`] writes.
    #[error("the metadata's {name:?} is {value:?}, not {expected}")]
    Invalid {
        /// The pair's name.
        name: &'static str,
        /// The pair's value.
        value: String,
        /// What was expected.
        expected: String,
    },
}

/// The pairs that describe `chunk`. Values are plain ASCII.
pub fn to_metadata(topic: &str, chunk: &Chunk) -> [(&'static str, String); 12] {
    [
        (TOPIC, topic.to_owned()),
        (PARTITION, chunk.partition.to_string()),
        (START, chunk.range.start.to_string()),
        (END, chunk.range.end.to_string()),
        (ROWS, chunk.rows.to_string()),
        (REJECTED, chunk.rejected.to_string()),
        (GAPS, chunk.gaps.to_string()),
        (FIRST_OFFSET, chunk.first.offset.to_string()),
        (FIRST_TIMESTAMP, chunk.first.timestamp.0.to_string()),
        (LAST_TIMESTAMP, chunk.last_timestamp.0.to_string()),
        (WRITER, chunk.writer.to_string()),
        (SCHEMA_VERSION, pipeline_model::message::SCHEMA_VERSION.to_string()),
    ]
}

/// Reads a chunk of `topic` back from its pairs; `get` looks a pair up by its name.
pub fn from_metadata<'a>(
    topic: &str,
    get: impl Fn(&str) -> Option<&'a str>,
) -> Result<Chunk, MetadataError> {
    fn parse<'a, T: FromStr>(
        get: &impl Fn(&str) -> Option<&'a str>,
        name: &'static str,
    ) -> Result<T, MetadataError> {
        let value = get(name).ok_or(MetadataError::Missing(name))?;
        value.parse().map_err(|_| invalid(name, value, "a number"))
    }
    let found = get(TOPIC).ok_or(MetadataError::Missing(TOPIC))?;
    if found != topic {
        return Err(invalid(TOPIC, found, &format!("{topic:?}")));
    }
    let chunk = Chunk {
        partition: Partition(parse(&get, PARTITION)?),
        range: OffsetRange { start: Offset(parse(&get, START)?), end: Offset(parse(&get, END)?) },
        first: Mark {
            offset: Offset(parse(&get, FIRST_OFFSET)?),
            timestamp: Timestamp(parse(&get, FIRST_TIMESTAMP)?),
        },
        last_timestamp: Timestamp(parse(&get, LAST_TIMESTAMP)?),
        rows: parse(&get, ROWS)?,
        rejected: parse(&get, REJECTED)?,
        gaps: parse(&get, GAPS)?,
        writer: parse(&get, WRITER)?,
    };
    if chunk.range.is_empty() {
        return Err(invalid(
            END,
            &chunk.range.end.to_string(),
            &format!("above the start, {}", chunk.range.start),
        ));
    }
    Ok(chunk)
}

fn invalid(name: &'static str, value: &str, expected: &str) -> MetadataError {
    MetadataError::Invalid { name, value: value.to_owned(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::WriterId;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn metadata_reads_back(
            partition: i32, start in 0..i64::MAX / 2, len in 1..i64::MAX / 2, counts: [u64; 3], millis: [i64; 2], writer: u128,
        ) {
            let chunk = Chunk {
                partition: Partition(partition),
                range: OffsetRange { start: Offset(start), end: Offset(start + len) },
                first: Mark { offset: Offset(start), timestamp: Timestamp(millis[0]) },
                last_timestamp: Timestamp(millis[1]),
                rows: counts[0], rejected: counts[1], gaps: counts[2],
                writer: WriterId(writer),
            };
            let pairs = to_metadata("t", &chunk);
            let get = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
            prop_assert_eq!(from_metadata("t", get), Ok(chunk));
            let of_another_topic = from_metadata("u", get);
            let is_refused = matches!(of_another_topic, Err(MetadataError::Invalid { name: "topic", .. }));
            prop_assert!(is_refused, "{:?}", of_another_topic);
            for (missing, _) in &pairs[..11] {
                let get = |name: &str| get(name).filter(|_| name != *missing);
                prop_assert_eq!(from_metadata("t", get), Err(MetadataError::Missing(missing)));
            }
        }

        #[test]
        fn foreign_metadata_never_panics(value: String) {
            let read = from_metadata("t", |name| Some(if name == TOPIC { "t" } else { &value }));
            prop_assert!(read.is_err());
        }
    }
}
