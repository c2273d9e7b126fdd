//! The facts of a chunk in the footer of its object, for objects that were uploaded in parts: their
//! metadata tell how the chunk begins, and nothing of its end.

use bytes::Bytes;
use chunk_ledger::{Chunk, MetadataError, Opening, from_footer};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;

use crate::store::{Listed, Store, StoreError};

/// What is asked for at first: the footer of an object of some ten row groups.
const TAIL_BYTES: u64 = 64 << 10;

/// Reads the chunk from the end of its object; `None` if the object is gone.
pub(super) async fn chunk(
    store: &Store,
    topic: &str,
    object: &Listed,
    opening: &Opening,
) -> Result<Option<Result<Chunk, MetadataError>>, StoreError> {
    let mut bytes = TAIL_BYTES;
    loop {
        let start = object.bytes.saturating_sub(bytes);
        let Some(tail) = store.get_from(&object.key, start).await? else { return Ok(None) };
        match parse(topic, opening, &tail, object.bytes) {
            Ok(Parsed::Chunk(chunk)) => return Ok(Some(Ok(chunk))),
            Ok(Parsed::Longer(needed)) => bytes = needed,
            Err(error) => return Ok(Some(Err(error))),
        }
    }
}

enum Parsed {
    Chunk(Chunk),
    /// The footer is this long.
    Longer(u64),
}

fn parse(
    topic: &str,
    opening: &Opening,
    tail: &Bytes,
    object_bytes: u64,
) -> Result<Parsed, MetadataError> {
    let no_footer = |error: ParquetError| MetadataError::NoFooter(error.to_string());
    let mut reader = ParquetMetaDataReader::new();
    match reader.try_parse_sized(tail, object_bytes) {
        Ok(()) => {}
        Err(ParquetError::NeedMoreData(bytes)) if (tail.len() as u64) < object_bytes => {
            return Ok(Parsed::Longer(bytes as u64));
        }
        Err(error) => return Err(no_footer(error)),
    }
    let metadata = reader.finish().map_err(no_footer)?;
    let pairs = metadata.file_metadata().key_value_metadata();
    let get =
        |name: &str| pairs.into_iter().flatten().find(|pair| pair.key == name)?.value.as_deref();
    Ok(Parsed::Chunk(from_footer(topic, opening, get)?))
}
