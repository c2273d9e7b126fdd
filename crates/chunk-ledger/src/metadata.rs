//! A chunk as the key-value pairs of its object's metadata and of its Parquet footer.
//!
//! An object that is created by one PUT has every pair in both. One that is uploaded in parts gets
//! its metadata when the upload begins, which is before the chunk's end is known: it has the pairs
//! of the [`Opening`] alone, and `facts-in: footer`, which says where the others are.

use std::fmt::Display;
use std::str::FromStr;

use crate::{Chunk, Mark, Offset, OffsetRange, Opening, Partition, Timestamp, WriterId};

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
/// Where the pairs are that the metadata has not.
const FACTS_IN: &str = "facts-in";
const FOOTER: &str = "footer";

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
    /// The metadata say that the footer tells the rest, and the object has none.
    #[error("the object's footer, which tells its facts, can't be read: {0}")]
    NoFooter(String),
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

/// The pairs of an object that is uploaded in parts, given when its upload begins.
pub fn opening_to_metadata(topic: &str, opening: &Opening) -> [(&'static str, String); 8] {
    let Opening { partition, start, first, writer } = opening;
    [
        (TOPIC, topic.to_owned()),
        (PARTITION, partition.to_string()),
        (START, start.to_string()),
        (FIRST_OFFSET, first.offset.to_string()),
        (FIRST_TIMESTAMP, first.timestamp.0.to_string()),
        (WRITER, writer.to_string()),
        (SCHEMA_VERSION, pipeline_model::message::SCHEMA_VERSION.to_string()),
        (FACTS_IN, FOOTER.to_owned()),
    ]
}

/// What an object's metadata tell of its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Described {
    /// Everything.
    Whole(Chunk),
    /// How it began; [`from_footer`] reads the rest.
    InFooter(Opening),
}

/// Reads what the metadata of an object of `topic` tell; `get` looks a pair up by its name.
pub fn describe<'a>(
    topic: &str,
    get: impl Fn(&str) -> Option<&'a str>,
) -> Result<Described, MetadataError> {
    match get(FACTS_IN) {
        None => from_metadata(topic, get).map(Described::Whole),
        Some(FOOTER) => read_opening(topic, &get).map(Described::InFooter),
        Some(other) => Err(invalid(FACTS_IN, other, "\"footer\"")),
    }
}

/// Reads a chunk of `topic` from the pairs of its object's Parquet footer, and checks that it is
/// the one whose `opening` the metadata tell. `get` looks a pair up by its name in the footer,
/// which begins with [`FOOTER_PREFIX`].
pub fn from_footer<'a>(
    topic: &str,
    opening: &Opening,
    get: impl Fn(&str) -> Option<&'a str>,
) -> Result<Chunk, MetadataError> {
    let chunk = from_metadata(topic, |name| get(&format!("{FOOTER_PREFIX}{name}")))?;
    let found = opening_to_metadata(topic, &chunk.opening());
    for ((name, found), (_, expected)) in found.into_iter().zip(opening_to_metadata(topic, opening))
    {
        if found != expected {
            return Err(invalid(name, &found, &format!("{expected:?} as in the metadata")));
        }
    }
    Ok(chunk)
}

/// Reads a chunk of `topic` back from all of its pairs; `get` looks a pair up by its name.
pub fn from_metadata<'a>(
    topic: &str,
    get: impl Fn(&str) -> Option<&'a str>,
) -> Result<Chunk, MetadataError> {
    let Opening { partition, start, first, writer } = read_opening(topic, &get)?;
    let chunk = Chunk {
        partition,
        range: OffsetRange { start, end: Offset(parse(&get, END)?) },
        first,
        last_timestamp: Timestamp(parse(&get, LAST_TIMESTAMP)?),
        rows: parse(&get, ROWS)?,
        rejected: parse(&get, REJECTED)?,
        gaps: parse(&get, GAPS)?,
        writer,
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

fn read_opening<'a>(
    topic: &str,
    get: &impl Fn(&str) -> Option<&'a str>,
) -> Result<Opening, MetadataError> {
    let found = get(TOPIC).ok_or(MetadataError::Missing(TOPIC))?;
    if found != topic {
        return Err(invalid(TOPIC, found, &format!("{topic:?}")));
    }
    Ok(Opening {
        partition: Partition(parse(get, PARTITION)?),
        start: Offset(parse(get, START)?),
        first: Mark {
            offset: Offset(parse(get, FIRST_OFFSET)?),
            timestamp: Timestamp(parse(get, FIRST_TIMESTAMP)?),
        },
        writer: parse::<WriterId>(get, WRITER)?,
    })
}

/// Reads a number in the one spelling that [`to_metadata`] writes: `+7` and `07` are somebody else's.
fn parse<'a, T: FromStr + Display>(
    get: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
) -> Result<T, MetadataError> {
    let value = get(name).ok_or(MetadataError::Missing(name))?;
    let number: Option<T> = value.parse().ok();
    number
        .filter(|number| number.to_string() == value)
        .ok_or_else(|| invalid(name, value, "a number as the sink writes it"))
}

fn invalid(name: &'static str, value: &str, expected: &str) -> MetadataError {
    MetadataError::Invalid { name, value: value.to_owned(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use proptest::prelude::*;

    fn pairs_of<'a>(pairs: &'a [(&'static str, String)]) -> impl Fn(&str) -> Option<&'a str> {
        |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    prop_compose! {
        fn chunk()(
            partition: i32, start in 0..i64::MAX / 2, len in 1..i64::MAX / 2, counts: [u64; 3],
            millis: [i64; 2], writer: u128,
        ) -> Chunk {
            Chunk {
                partition: Partition(partition),
                range: OffsetRange { start: Offset(start), end: Offset(start + len) },
                first: Mark { offset: Offset(start), timestamp: Timestamp(millis[0]) },
                last_timestamp: Timestamp(millis[1]),
                rows: counts[0], rejected: counts[1], gaps: counts[2],
                writer: WriterId(writer),
            }
        }
    }

    proptest! {
        #[test]
        fn metadata_reads_back(chunk in chunk()) {
            let pairs = to_metadata("t", &chunk);
            let get = pairs_of(&pairs);
            prop_assert_eq!(describe("t", &get), Ok(Described::Whole(chunk)));
            let of_another_topic = describe("u", &get);
            let is_refused = matches!(of_another_topic, Err(MetadataError::Invalid { name: "topic", .. }));
            prop_assert!(is_refused, "{:?}", of_another_topic);
            for (missing, _) in &pairs[..11] {
                let get = |name: &str| get(name).filter(|_| name != *missing);
                prop_assert_eq!(describe("t", get), Err(MetadataError::Missing(missing)));
            }
        }

        #[test]
        fn what_the_metadata_of_an_upload_lack_is_in_the_footer(chunk in chunk(), other in chunk()) {
            let opening = chunk.opening();
            let begun = opening_to_metadata("t", &opening);
            prop_assert_eq!(describe("t", pairs_of(&begun)), Ok(Described::InFooter(opening)));
            let footer = to_metadata("t", &chunk);
            let get = |name: &str| pairs_of(&footer)(name.strip_prefix(FOOTER_PREFIX)?);
            prop_assert_eq!(from_footer("t", &opening, get), Ok(chunk));
            if other.opening() != opening {
                let of_another = from_footer("t", &other.opening(), get);
                let is_refused = matches!(of_another, Err(MetadataError::Invalid { .. }));
                prop_assert!(is_refused, "{:?}", of_another);
            }
            for (missing, _) in &begun[..6] {
                let get = |name: &str| pairs_of(&begun)(name).filter(|_| name != *missing);
                prop_assert_eq!(describe("t", get), Err(MetadataError::Missing(missing)));
            }
        }

        #[test]
        fn a_number_has_one_spelling(chunk in chunk(), index in 1..11_usize) {
            let mut pairs = to_metadata("t", &chunk);
            let (name, value) = &mut pairs[index];
            let name = *name;
            *value = match value.strip_prefix('-') {
                Some(digits) => format!("-0{digits}"),
                None => format!("0{value}"),
            };
            let read = describe("t", pairs_of(&pairs));
            let is_refused = matches!(&read, Err(MetadataError::Invalid { name: refused, .. }) if *refused == name);
            prop_assert!(is_refused, "{:?}", read);
        }

        #[test]
        fn foreign_metadata_never_panics(value: String) {
            let get = |name: &str| Some(if name == TOPIC { "t" } else { value.as_str() });
            prop_assert!(from_metadata("t", get).is_err());
            prop_assert!(describe("t", get).is_err());
            let in_footer = |name: &str| if name == FACTS_IN { Some(FOOTER) } else { get(name) };
            let is_whole = matches!(describe("t", in_footer), Ok(Described::Whole(_)));
            prop_assert!(!is_whole, "the same number everywhere is no chunk");
        }
    }
}
