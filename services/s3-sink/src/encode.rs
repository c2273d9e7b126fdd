//! Arrow columns → the bytes of one Parquet object.
//!
//! Rows wait as plain columns until they fill a row group, which is then compressed at once: a
//! chunk that is open for long holds finished row groups and columns, never half-filled pages and
//! compression contexts, so its memory is what [`ChunkEncoder::memory_bytes`] says.

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

/// Column bytes at which a row group is closed: some 40,000 rows, about 2 MiB compressed.
const ROW_GROUP_BYTES: u64 = 8 << 20;
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
    columns: Columns,
    /// Created with the first row group; holds the finished ones.
    writer: Option<ArrowWriter<Vec<u8>>>,
    /// Column bytes of the finished row groups.
    encoded_column_bytes: u64,
}

impl ChunkEncoder {
    /// An empty chunk, to be written with [`writer_properties`].
    pub fn new(properties: WriterPropertiesPtr) -> Self {
        Self { properties, columns: Columns::default(), writer: None, encoded_column_bytes: 0 }
    }

    /// Appends one row.
    pub fn append(
        &mut self,
        person: &PersonRef<'_>,
        partition: Partition,
        mark: Mark,
    ) -> Result<(), EncodeError> {
        self.columns.push(person, partition, mark);
        if self.columns.bytes() >= ROW_GROUP_BYTES {
            self.close_row_group()?;
        }
        Ok(())
    }

    /// The size that the object would have if it were closed now: exact for finished row groups,
    /// an estimate by their ratio for the rows that still wait.
    pub fn object_bytes(&self) -> u64 {
        let written = self.written_bytes();
        let share = match self.encoded_column_bytes {
            0 => COMPRESSED_SHARE,
            columns => written as f64 / columns as f64,
        };
        OVERHEAD_BYTES + written + (self.columns.bytes() as f64 * share) as u64
    }

    /// Bytes that the chunk holds in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.written_bytes() + self.columns.bytes()
    }

    /// Closes the object; `chunk` goes into its footer. An object without rows is valid Parquet.
    pub fn close(mut self, topic: &str, chunk: &Chunk) -> Result<Bytes, EncodeError> {
        if self.columns.bytes() > 0 {
            self.close_row_group()?;
        }
        let mut writer = match self.writer {
            Some(writer) => writer,
            None => new_writer(&self.properties)?,
        };
        for (key, value) in to_metadata(topic, chunk) {
            writer.append_key_value_metadata(KeyValue::new(format!("{FOOTER_PREFIX}{key}"), value));
        }
        Ok(writer.into_inner()?.into())
    }

    fn close_row_group(&mut self) -> Result<(), EncodeError> {
        self.encoded_column_bytes += self.columns.bytes();
        let batch = self.columns.take()?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => empty.insert(new_writer(&self.properties)?),
        };
        writer.write(&batch)?;
        writer.flush()?;
        Ok(())
    }

    fn written_bytes(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.bytes_written() as u64)
    }
}

fn new_writer(properties: &WriterPropertiesPtr) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
    ArrowWriter::try_new(Vec::new(), schema::schema(), Some(properties.as_ref().clone()))
}

/// zstd, statistics for every column chunk, and the encodings that measured best for each column.
/// Every encoding here is read by Spark, DuckDB, pyarrow and Polars.
pub fn writer_properties() -> WriterProperties {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let mut properties = WriterProperties::builder()
        .set_compression(zstd)
        .set_created_by(concat!("s3-sink version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(None)
        .set_dictionary_enabled(false);
    // Few distinct values: a dictionary pays.
    for column in ["gender", "city", "nation", schema::KAFKA_PARTITION] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), true);
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
