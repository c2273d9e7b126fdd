//! Arrow columns → the bytes of one Parquet object.
//!
//! Rows wait as plain columns until they fill a row group, which is then compressed at once: a
//! chunk that is open for long holds finished row groups and columns, never half-filled pages and
//! compression contexts, so its memory is what [`ChunkEncoder::memory_bytes`] says. The bytes of
//! finished row groups leave as parts: [`ChunkEncoder::take_parts`].
//!
//! A row group that is full may be encoded by an [`EncodingThread`] while rows go on to come.

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

use crate::decode::{Columns, columns_memory_bytes};

use parts::Parts;
use thread::{Away, write_row_group};

pub use thread::EncodingThread;

mod parts;
mod thread;

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

/// Why rows could not be encoded: always a defect, since every row fits the schema, and the thread
/// ends by a panic alone.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The columns do not form a record batch.
    #[error("the rows do not form a record batch")]
    Arrow(#[from] ArrowError),
    /// The Parquet writer refused.
    #[error("the rows can't be written as Parquet")]
    Parquet(#[from] ParquetError),
    /// The thread that has the rows is gone.
    #[error("the encoding thread has ended")]
    Thread,
    /// An earlier failure has left the chunk without some of its rows.
    #[error("an earlier row group of the chunk could not be encoded")]
    Broken,
}

/// The encoder of one open chunk.
#[derive(Debug)]
pub struct ChunkEncoder {
    properties: WriterPropertiesPtr,
    part_bytes: usize,
    columns: Columns,
    writer: Writer,
    thread: Option<EncodingThread>,
    /// Column bytes of the finished row groups.
    encoded_column_bytes: u64,
}

/// Of one object. Boxed, since it moves from thread to thread.
type ObjectWriter = Box<ArrowWriter<Parts>>;

/// Holds what was not taken of the finished row groups.
#[derive(Debug, Default)]
enum Writer {
    /// It is created with the first row group.
    #[default]
    None,
    Here(ObjectWriter),
    /// It failed, and rows are missing: nothing may be closed any more.
    Broken,
    /// At the thread, with a row group more.
    Away {
        away: Away,
        /// Of the row group.
        column_bytes: u64,
        /// Without the row group.
        object_bytes: u64,
        memory_bytes: u64,
    },
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
        Self {
            properties,
            part_bytes,
            columns: Columns::default(),
            writer: Writer::None,
            thread: None,
            encoded_column_bytes: 0,
        }
    }

    /// The same with a thread that may encode row groups when they are full.
    #[must_use]
    pub fn with_thread(self, thread: Option<EncodingThread>) -> Self {
        Self { thread, ..self }
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
            self.encode(self.thread.clone())?;
        }
        Ok(is_full)
    }

    /// The size that the object would have if it were closed now: exact for finished row groups,
    /// an estimate by their ratio for the rows that are not encoded yet.
    pub fn object_bytes(&self) -> u64 {
        let (written, encoding) = match &self.writer {
            Writer::None | Writer::Broken => (0, 0),
            Writer::Here(writer) => (writer.bytes_written() as u64, 0),
            Writer::Away { object_bytes, column_bytes, .. } => (*object_bytes, *column_bytes),
        };
        let share = match self.encoded_column_bytes {
            0 => COMPRESSED_SHARE,
            columns => written as f64 / columns as f64,
        };
        OVERHEAD_BYTES + written + ((self.columns.bytes() + encoding) as f64 * share) as u64
    }

    /// Bytes that the chunk holds in memory.
    pub fn memory_bytes(&self) -> u64 {
        let finished = match &self.writer {
            Writer::None | Writer::Broken => 0,
            Writer::Here(writer) => writer_memory_bytes(writer),
            Writer::Away { memory_bytes, column_bytes, .. } => {
                memory_bytes + columns_memory_bytes(*column_bytes)
            }
        };
        finished + columns_memory_bytes(self.columns.bytes())
    }

    /// Bytes of rows that wait for their row group, uncompressed.
    pub fn waiting_bytes(&self) -> u64 {
        self.columns.bytes()
    }

    /// Compresses the rows that wait, before they fill a row group.
    pub fn close_row_group(&mut self) -> Result<(), EncodeError> {
        self.encode(None)?;
        self.finish_encoding()
    }

    /// Whether the thread has a row group of this chunk, or had one that was not asked for yet.
    pub fn is_encoding(&self) -> bool {
        matches!(self.writer, Writer::Away { .. })
    }

    /// Waits for the row group that the thread has.
    pub fn finish_encoding(&mut self) -> Result<(), EncodeError> {
        if let Writer::Away { away, column_bytes, .. } = &self.writer {
            self.take_back(away.wait(), *column_bytes)?;
        }
        Ok(())
    }

    /// Takes the writer back from the thread; without it the chunk is broken.
    fn take_back(
        &mut self,
        encoded: Result<ObjectWriter, EncodeError>,
        column_bytes: u64,
    ) -> Result<(), EncodeError> {
        self.writer = Writer::Broken;
        self.writer = Writer::Here(encoded?);
        self.encoded_column_bytes += column_bytes;
        Ok(())
    }

    /// Takes the parts that are full; none while the thread has the chunk's writer.
    pub fn take_parts(&mut self) -> Result<Vec<Bytes>, EncodeError> {
        if let Writer::Away { away, column_bytes, .. } = &self.writer
            && let Some(encoded) = away.poll()
        {
            self.take_back(encoded, *column_bytes)?;
        }
        Ok(match &mut self.writer {
            Writer::Here(writer) => writer.inner_mut().take(),
            Writer::None | Writer::Away { .. } | Writer::Broken => Vec::new(),
        })
    }

    /// Makes a row group of the rows that wait: at the thread, if it is free, or here.
    fn encode(&mut self, thread: Option<EncodingThread>) -> Result<(), EncodeError> {
        let column_bytes = self.columns.bytes();
        if column_bytes == 0 {
            return Ok(());
        }
        let mut writer = self.take_writer()?;
        let (object_bytes, memory_bytes) =
            (writer.bytes_written() as u64, writer_memory_bytes(&writer));
        let mut batch = self.columns.take()?;
        if let Some(thread) = thread {
            match thread.encode(writer, batch) {
                Ok(away) => {
                    self.writer = Writer::Away { away, column_bytes, object_bytes, memory_bytes };
                    return Ok(());
                }
                Err(busy) => (writer, batch) = busy,
            }
        }
        write_row_group(&mut writer, batch)?;
        self.encoded_column_bytes += column_bytes;
        self.writer = Writer::Here(writer);
        Ok(())
    }

    fn take_writer(&mut self) -> Result<ObjectWriter, EncodeError> {
        self.finish_encoding()?;
        match std::mem::replace(&mut self.writer, Writer::Broken) {
            Writer::Here(writer) => Ok(writer),
            Writer::None => {
                let parts = Parts::new(self.part_bytes);
                let properties = self.properties.as_ref().clone();
                Ok(Box::new(ArrowWriter::try_new(parts, schema::schema(), Some(properties))?))
            }
            Writer::Away { .. } | Writer::Broken => Err(EncodeError::Broken),
        }
    }

    /// Closes the object; `chunk` goes into its footer. An object without rows is valid Parquet.
    pub fn close(mut self, topic: &str, chunk: &Chunk) -> Result<Closed, EncodeError> {
        self.close_row_group()?;
        let mut writer = self.take_writer()?;
        for (key, value) in to_metadata(topic, chunk) {
            writer.append_key_value_metadata(KeyValue::new(format!("{FOOTER_PREFIX}{key}"), value));
        }
        let (rest, object_bytes) = writer.into_inner()?.finish();
        Ok(Closed { rest, object_bytes })
    }
}

fn writer_memory_bytes(writer: &ObjectWriter) -> u64 {
    let row_groups = writer.flushed_row_groups().len() as u64;
    writer.inner().memory_bytes() + row_groups * ROW_GROUP_METADATA_BYTES
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
    // Text that hardly repeats. Without a length before each value, zstd has nothing to find but what
    // is in the values: that saves a sixth of the time and a twentieth of the bytes. Any row group
    // holds values from all over the alphabet: statistics would let no reader skip one, and cost a
    // comparison or two for each value.
    for column in ["name", "address", "zip", "email"] {
        let column = ColumnPath::from(column);
        properties = properties
            .set_column_encoding(column.clone(), Encoding::DELTA_LENGTH_BYTE_ARRAY)
            .set_column_statistics_enabled(column, EnabledStatistics::None);
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
