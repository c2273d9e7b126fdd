//! The facts of a chunk in the footer of its object, read without the rest of the object.

use bytes::Bytes;
use chunk_ledger::{Chunk, MetadataError, Opening, from_footer};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;

/// What is asked for at first: the footer of an object of some ten row groups.
pub(super) const TAIL_BYTES: u64 = 64 << 10;

/// What the end of an object tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Footer {
    /// The chunk.
    Chunk(Chunk),
    /// Nothing yet: the footer is this long.
    Longer(u64),
}

/// Reads the chunk of `topic` that begins as `opening` says from `tail`, the last bytes of an
/// object of `object_bytes`.
pub(super) fn read(
    topic: &str,
    opening: &Opening,
    tail: &Bytes,
    object_bytes: u64,
) -> Result<Footer, MetadataError> {
    let mut reader = ParquetMetaDataReader::new();
    match reader.try_parse_sized(tail, object_bytes) {
        Ok(()) => {}
        Err(ParquetError::NeedMoreData(bytes)) if (tail.len() as u64) < object_bytes => {
            return Ok(Footer::Longer(bytes as u64));
        }
        Err(error) => return Err(MetadataError::NoFooter(error.to_string())),
    }
    let metadata = reader.finish().map_err(|error| MetadataError::NoFooter(error.to_string()))?;
    let pairs = metadata.file_metadata().key_value_metadata();
    let get =
        |name: &str| pairs.into_iter().flatten().find(|pair| pair.key == name)?.value.as_deref();
    Ok(Footer::Chunk(from_footer(topic, opening, get)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use chunk_ledger::{Mark, Offset, OffsetRange, Partition, Timestamp, WriterId};

    use crate::encode::{ChunkEncoder, writer_properties};

    fn chunk() -> Chunk {
        Chunk {
            partition: Partition(3),
            range: OffsetRange { start: Offset(7), end: Offset(9) },
            first: Mark { offset: Offset(7), timestamp: Timestamp(1_793_577_600_000) },
            last_timestamp: Timestamp(1_793_577_600_001),
            rows: 0,
            rejected: 2,
            gaps: 0,
            writer: WriterId(7),
        }
    }

    fn object() -> Bytes {
        let encoder = ChunkEncoder::new(writer_properties().into(), usize::MAX);
        encoder.close("t", &chunk()).unwrap().rest.pop().unwrap()
    }

    #[test]
    fn a_chunk_is_read_from_its_footer_alone() {
        let object = object();
        let size = object.len() as u64;
        let tail = |bytes: u64| object.slice((size - bytes) as usize..);
        let opening = chunk().opening();
        let Footer::Longer(bytes) = read("t", &opening, &tail(10), size).unwrap() else {
            unreachable!("ten bytes are no footer")
        };
        assert!(bytes > 10 && bytes < size, "{bytes} of {size}");
        let found = read("t", &opening, &tail(bytes), size).unwrap();
        assert_eq!(found, Footer::Chunk(chunk()));
        assert_eq!(read("t", &opening, &object, size).unwrap(), found, "more does no harm");
    }

    #[test]
    fn a_footer_of_another_chunk_or_none_is_refused() {
        let object = object();
        let size = object.len() as u64;
        let other = Opening { start: Offset(6), ..chunk().opening() };
        assert!(matches!(read("t", &other, &object, size), Err(MetadataError::Invalid { .. })));
        assert!(matches!(read("u", &other, &object, size), Err(MetadataError::Invalid { .. })));
        let text = Bytes::from_static(b"this is no Parquet at all");
        let read = read("t", &other, &text, text.len() as u64);
        assert!(matches!(read, Err(MetadataError::NoFooter(_))), "{read:?}");
    }
}
