//! Arrow columns → the bytes of one Parquet object.
//!
//! Rows wait as plain columns until they fill a row group, which is then compressed at once: a
//! chunk that is open for long holds finished row groups and columns, never half-filled pages and
//! compression contexts, so its memory is what [`ChunkEncoder::memory_bytes`] says. The bytes of
//! finished row groups leave as parts: [`ChunkEncoder::take_parts`].

use arrow::error::ArrowError;
use bytes::Bytes;
use chunk_ledger::{Chunk, FOOTER_PREFIX, Mark, Partition, to_metadata};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::schema::types::ColumnPath;
use pipeline_model::message::PersonRef;
use pipeline_model::schema;

use crate::decode::Columns;

use parts::Parts;

mod parts;

/// Column bytes at which a row group is closed: some 40,000 rows, about 2 MiB compressed.
const ROW_GROUP_BYTES: u64 = 8 << 20;
/// Column bytes from which a row group may be closed early, to give memory back.
pub const ROW_GROUP_BYTES_MIN: u64 = 256 << 10;
/// Bytes of a column at which a page is closed: a page and its compressed copy fit a core's cache.
const PAGE_BYTES: usize = 256 << 10;
/// What the writer remembers of a row group until the object is closed.
const ROW_GROUP_METADATA_BYTES: u64 = 12 << 10;
/// What a row group shrinks to before the first one has shown it. Measured on this record: 0.25.
const COMPRESSED_SHARE: f64 = 0.25;
/// Header, footer with twelve columns and the key-value pairs, in bytes.
const OVERHEAD_BYTES: u64 = 6 << 10;

/// Why rows could not be encoded: always a defect, since every row fits the schema.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The columns do not form a record batch.
    #[error("the rows do not form a record batch")]
    Arrow(#[from] ArrowError),
    /// The Parquet writer refused.
    #[error("the rows can't be written as Parquet")]
    Parquet(#[from] ParquetError),
}

/// The encoder of one open chunk.
#[derive(Debug)]
pub struct ChunkEncoder {
    properties: WriterPropertiesPtr,
    part_bytes: usize,
    columns: Columns,
    /// Created with the first row group; holds what was not taken of the finished ones.
    writer: Option<ArrowWriter<Parts>>,
    /// Column bytes of the finished row groups.
    encoded_column_bytes: u64,
}

/// An object that was closed.
#[derive(Debug)]
pub struct Closed {
    /// What was not taken yet, at least one part; all but the last have the size of a part.
    pub rest: Vec<Bytes>,
    /// Size of the object, parts that were taken before included.
    pub object_bytes: u64,
}

impl ChunkEncoder {
    /// An empty chunk, to be written with [`writer_properties`], which gives parts of `part_bytes`
    /// each. An object that is no larger comes in one piece.
    pub fn new(properties: WriterPropertiesPtr, part_bytes: usize) -> Self {
        let columns = Columns::default();
        Self { properties, part_bytes, columns, writer: None, encoded_column_bytes: 0 }
    }

    /// Appends one row; true if that closed a row group.
    pub fn append(
        &mut self,
        person: &PersonRef<'_>,
        partition: Partition,
        mark: Mark,
    ) -> Result<bool, EncodeError> {
        self.columns.push(person, partition, mark);
        let is_full = self.columns.bytes() >= ROW_GROUP_BYTES;
        if is_full {
            self.close_row_group()?;
        }
        Ok(is_full)
    }

    /// The size that the object would have if it were closed now: exact for finished row groups,
    /// an estimate by their ratio for the rows that still wait.
    pub fn object_bytes(&self) -> u64 {
        let written = self.writer.as_ref().map_or(0, |writer| writer.bytes_written() as u64);
        let share = match self.encoded_column_bytes {
            0 => COMPRESSED_SHARE,
            columns => written as f64 / columns as f64,
        };
        OVERHEAD_BYTES + written + (self.columns.bytes() as f64 * share) as u64
    }

    /// Bytes that the chunk holds in memory.
    pub fn memory_bytes(&self) -> u64 {
        let finished = self.writer.as_ref().map_or(0, |writer| {
            let row_groups = writer.flushed_row_groups().len() as u64;
            writer.inner().memory_bytes() + row_groups * ROW_GROUP_METADATA_BYTES
        });
        finished + self.columns.memory_bytes()
    }

    /// Bytes of rows that wait for their row group, uncompressed.
    pub fn waiting_bytes(&self) -> u64 {
        self.columns.bytes()
    }

    /// Compresses the rows that wait, before they fill a row group.
    pub fn close_row_group(&mut self) -> Result<(), EncodeError> {
        if self.columns.bytes() == 0 {
            return Ok(());
        }
        self.encoded_column_bytes += self.columns.bytes();
        let batch = self.columns.take()?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => empty.insert(new_writer(&self.properties, self.part_bytes)?),
        };
        writer.write(&batch)?;
        writer.flush()?;
        Ok(())
    }

    /// Takes the parts that are full.
    pub fn take_parts(&mut self) -> Vec<Bytes> {
        self.writer.as_mut().map_or_else(Vec::new, |writer| writer.inner_mut().take())
    }

    /// Closes the object; `chunk` goes into its footer. An object without rows is valid Parquet.
    pub fn close(mut self, topic: &str, chunk: &Chunk) -> Result<Closed, EncodeError> {
        self.close_row_group()?;
        let mut writer = match self.writer {
            Some(writer) => writer,
            None => new_writer(&self.properties, self.part_bytes)?,
        };
        for (key, value) in to_metadata(topic, chunk) {
            writer.append_key_value_metadata(KeyValue::new(format!("{FOOTER_PREFIX}{key}"), value));
        }
        let (rest, object_bytes) = writer.into_inner()?.finish();
        Ok(Closed { rest, object_bytes })
    }
}

fn new_writer(
    properties: &WriterPropertiesPtr,
    part_bytes: usize,
) -> Result<ArrowWriter<Parts>, ParquetError> {
    let parts = Parts::new(part_bytes);
    ArrowWriter::try_new(parts, schema::schema(), Some(properties.as_ref().clone()))
}

/// zstd, and the statistics and encodings that measured best for each column.
/// Every encoding here is read by Spark, DuckDB, pyarrow and Polars.
pub fn writer_properties() -> WriterProperties {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let mut properties = WriterProperties::builder()
        .set_compression(zstd)
        .set_created_by(concat!("s3-sink version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(None)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_dictionary_enabled(false);
    // Few distinct values: a dictionary pays.
    for column in ["gender", "city", "nation", schema::KAFKA_PARTITION] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), true);
    }
    // Text that hardly repeats: without a length before each value, zstd has nothing to find but what
    // is in the values, which takes a sixth of the time and a twentieth of the bytes off.
    for column in ["name", "address", "zip", "email"] {
        properties = properties.set_column_encoding(
            ColumnPath::from(column),
            Encoding::DELTA_LENGTH_BYTE_ARRAY,
        );
    }
    // Any row group holds values from all over the alphabet: statistics would let no reader skip
    // one, and cost a comparison or two for each value.
    for column in ["name", "address", "zip", "email"] {
        properties = properties
            .set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::None);
    }
    // Counting up: the differences are small, and page statistics let readers find an offset.
    for column in [schema::KAFKA_OFFSET, schema::KAFKA_TIMESTAMP] {
        properties = properties
            .set_column_encoding(ColumnPath::from(column), Encoding::DELTA_BINARY_PACKED)
            .set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::Page);
    }
    properties.build()
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
