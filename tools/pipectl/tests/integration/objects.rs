//! A bucket with chunks: written as a sink would, then damaged as a test likes.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use chunk_ledger::{
    Chunk, FOOTER_PREFIX, Layout, Mark, Offset, OffsetRange, Partition, Timestamp, WriterId,
    to_metadata,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use pipeline_model::schema::{KAFKA_OFFSET, KAFKA_PARTITION, KAFKA_TIMESTAMP, schema};
use tokio::runtime::Runtime;

pub(crate) const TOPIC: &str = "names_topic";
/// 2026-11-02, noon.
pub(crate) const NOON: i64 = 1_793_620_800_000;

/// Where the chunks of [`TOPIC`] lie.
pub(crate) struct Bucket {
    pub(crate) layout: Layout,
    client: Client,
    runtime: Runtime,
    name: String,
}

impl Bucket {
    /// The bucket `name` at `endpoint`; `keys` are the access key and the secret.
    pub(crate) fn new(endpoint: &str, keys: (&str, &str), name: &str, prefix: &str) -> Self {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(local_stack::s3::REGION))
            .credentials_provider(Credentials::new(keys.0, keys.1, None, None, "test"))
            .endpoint_url(endpoint)
            .force_path_style(true)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        Self {
            layout: Layout::new(prefix, TOPIC),
            client: Client::from_conf(config),
            runtime: Runtime::new().unwrap(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn key(&self, chunk: &Chunk) -> String {
        self.layout.key(chunk.partition, chunk.day(), chunk.range.start)
    }

    /// Stores a chunk as a sink would.
    pub(crate) fn store(&self, chunk: &Chunk, rejected: &[i64]) {
        self.put(&self.key(chunk), chunk, object(chunk, rejected));
    }

    /// Stores any bytes under any key, described as `chunk`.
    pub(crate) fn put(&self, key: &str, chunk: &Chunk, body: Vec<u8>) {
        let mut put = self.client.put_object().bucket(&self.name).key(key).body(body.into());
        for (name, value) in to_metadata(TOPIC, chunk) {
            put = put.metadata(name, value);
        }
        self.runtime.block_on(put.send()).unwrap();
    }

    /// Stores one byte for each of many chunks.
    pub(crate) fn put_many(&self, chunks: &[Chunk]) {
        self.put_all(chunks.iter().map(|chunk| (*chunk, vec![1])));
    }

    /// Stores many chunks with these bytes.
    pub(crate) fn put_all(&self, chunks: impl Iterator<Item = (Chunk, Vec<u8>)>) {
        let puts = chunks.map(|(chunk, body)| {
            let put = self.client.put_object().bucket(&self.name).key(self.key(&chunk));
            let metadata = to_metadata(TOPIC, &chunk);
            let put =
                metadata.into_iter().fold(put, |put, (name, value)| put.metadata(name, value));
            put.body(body.into()).send()
        });
        let stored = stream::iter(puts).buffer_unordered(16).try_collect::<Vec<_>>();
        self.runtime.block_on(stored).unwrap();
    }

    /// Stores bytes without metadata.
    pub(crate) fn put_foreign(&self, key: &str) {
        let put = self.client.put_object().bucket(&self.name).key(key).body(vec![1].into());
        self.runtime.block_on(put.send()).unwrap();
    }

    pub(crate) fn delete(&self, key: &str) {
        let delete = self.client.delete_object().bucket(&self.name).key(key);
        self.runtime.block_on(delete.send()).unwrap();
    }
}

/// A chunk of one row an offset, but for so many rejected ones.
pub(crate) fn chunk(partition: i32, start: i64, end: i64, rejected: u64) -> Chunk {
    Chunk {
        partition: Partition(partition),
        range: OffsetRange { start: Offset(start), end: Offset(end) },
        first: Mark { offset: Offset(start), timestamp: Timestamp(NOON) },
        last_timestamp: Timestamp(NOON),
        rows: end.abs_diff(start) - rejected,
        rejected,
        gaps: 0,
        writer: WriterId(7),
    }
}

/// The Parquet of a chunk: a row for every offset that is not rejected.
pub(crate) fn object(chunk: &Chunk, rejected: &[i64]) -> Vec<u8> {
    let OffsetRange { start, end } = chunk.range;
    let offsets: Vec<i64> = (start.0..end.0).filter(|offset| !rejected.contains(offset)).collect();
    let column = |name: &str| -> ArrayRef {
        match name {
            KAFKA_PARTITION => Arc::new(Int32Array::from(vec![chunk.partition.0; offsets.len()])),
            KAFKA_OFFSET => Arc::new(Int64Array::from(offsets.clone())),
            KAFKA_TIMESTAMP => {
                let times = vec![NOON; offsets.len()];
                Arc::new(TimestampMillisecondArray::from(times).with_timezone("UTC"))
            }
            "latitude" | "longitude" => Arc::new(Float64Array::from(vec![0.5; offsets.len()])),
            _ => Arc::new(StringArray::from(vec!["text"; offsets.len()])),
        }
    };
    let columns = schema().fields().iter().map(|field| column(field.name())).collect();
    let batch = RecordBatch::try_new(schema(), columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), None).unwrap();
    writer.write(&batch).unwrap();
    for (key, value) in to_metadata(TOPIC, chunk) {
        writer.append_key_value_metadata(KeyValue::new(format!("{FOOTER_PREFIX}{key}"), value));
    }
    writer.into_inner().unwrap()
}
