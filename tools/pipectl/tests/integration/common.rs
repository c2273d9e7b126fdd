//! A bucket, a topic and a group to audit: written as a sink would, then damaged as a test likes.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

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
use local_stack::{LocalStack, Options};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use pipeline_model::dead_letter::{HEADER_OFFSET, HEADER_PARTITION, HEADER_TOPIC, topic_of};
use pipeline_model::schema::{KAFKA_OFFSET, KAFKA_PARTITION, KAFKA_TIMESTAMP, schema};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset as Position, TopicPartitionList};
use tokio::runtime::Runtime;

pub(crate) const TOPIC: &str = "names_topic";
pub(crate) const GROUP: &str = "s3-sink";
pub(crate) const PREFIX: &str = "raw";
/// 2026-11-02, noon.
pub(crate) const NOON: i64 = 1_793_620_800_000;
const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Scene {
    pub(crate) stack: LocalStack,
    pub(crate) layout: Layout,
    client: Client,
    runtime: Runtime,
    bucket: String,
    _dir: tempfile::TempDir,
}

/// What a run of `pipectl` left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The findings' sentences, from JSON.
    pub(crate) fn findings(&self) -> Vec<String> {
        let json = self.json();
        let findings = json["findings"].as_array().unwrap();
        let text =
            |finding: &serde_json::Value, name: &str| finding[name].as_str().unwrap().to_owned();
        findings
            .iter()
            .map(|one| format!("{}: {}", text(one, "check"), text(one, "message")))
            .collect()
    }
}

impl Scene {
    /// An S3 server with an empty bucket, and Kafka if asked for.
    pub(crate) fn new(kafka: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { api: None, control_port: None, ..Options::new(dir.path()) };
        let options = if kafka { options } else { Options { kafka: None, ..options } };
        let stack = LocalStack::start(options).unwrap();
        let s3 = stack.s3().unwrap();
        let access = s3.options();
        let credentials =
            Credentials::new(&access.access_key, &access.secret_key, None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(local_stack::s3::REGION))
            .credentials_provider(credentials)
            .endpoint_url(s3.endpoint())
            .force_path_style(true)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let bucket = access.bucket.clone();
        Self {
            layout: Layout::new(PREFIX, TOPIC),
            client: Client::from_conf(config),
            runtime: Runtime::new().unwrap(),
            bucket,
            stack,
            _dir: dir,
        }
    }

    /// Runs the binary against the stack.
    pub(crate) fn pipectl(&self, line: &str) -> Run {
        pipectl(line, &self.environment())
    }

    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let own = [("S3_PREFIX", PREFIX), ("KAFKA_GROUP_ID", GROUP)];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.stack.env().unwrap().into_iter().chain(own).collect()
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
        let mut put = self.client.put_object().bucket(&self.bucket).key(key).body(body.into());
        for (name, value) in to_metadata(TOPIC, chunk) {
            put = put.metadata(name, value);
        }
        self.runtime.block_on(put.send()).unwrap();
    }

    /// Stores one byte for each of many chunks.
    pub(crate) fn put_many(&self, chunks: &[Chunk]) {
        let puts = chunks.iter().map(|chunk| {
            let put = self.client.put_object().bucket(&self.bucket).key(self.key(chunk));
            let metadata = to_metadata(TOPIC, chunk);
            let put =
                metadata.into_iter().fold(put, |put, (name, value)| put.metadata(name, value));
            put.body(vec![1].into()).send()
        });
        let stored = stream::iter(puts).buffer_unordered(16).try_collect::<Vec<_>>();
        self.runtime.block_on(stored).unwrap();
    }

    /// Stores bytes without metadata.
    pub(crate) fn put_foreign(&self, key: &str) {
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(vec![1].into());
        self.runtime.block_on(put.send()).unwrap();
    }

    pub(crate) fn delete(&self, key: &str) {
        let delete = self.client.delete_object().bucket(&self.bucket).key(key);
        self.runtime.block_on(delete.send()).unwrap();
    }

    /// Produces `count` messages to a partition.
    pub(crate) fn produce(&self, partition: i32, count: i64) {
        let producer = self.producer();
        for _ in 0..count {
            let record = BaseRecord::<(), str>::to(TOPIC).partition(partition).payload("{}");
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(TIMEOUT).unwrap();
    }

    /// Writes a dead letter for an offset, as the sink does.
    pub(crate) fn dead_letter(&self, partition: i32, offset: i64) {
        let (partition, offset) = (partition.to_string(), offset.to_string());
        let headers = [
            (HEADER_TOPIC, TOPIC),
            (HEADER_PARTITION, partition.as_str()),
            (HEADER_OFFSET, offset.as_str()),
        ];
        let headers = headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(*value) })
        });
        let letters = topic_of(TOPIC);
        let record = BaseRecord::<(), str>::to(&letters).payload("?").headers(headers);
        let producer = self.producer();
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(TIMEOUT).unwrap();
    }

    /// Commits for the group, as the sink does.
    pub(crate) fn commit(&self, offsets: &[(i32, i64)]) {
        let consumer: BaseConsumer = self.client_config().set("group.id", GROUP).create().unwrap();
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(TOPIC, *partition, Position::Offset(*offset)).unwrap();
        }
        consumer.commit(&list, CommitMode::Sync).unwrap();
    }

    fn producer(&self) -> ThreadedProducer<DefaultProducerContext> {
        self.client_config().create().unwrap()
    }

    fn client_config(&self) -> ClientConfig {
        let servers = self.stack.kafka().unwrap().bootstrap_servers().unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers);
        config
    }
}

/// Runs the binary with these variables alone.
pub(crate) fn pipectl(line: &str, environment: &[(String, String)]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_pipectl"))
        .args(line.split_whitespace())
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        // Static credentials and plain http: neither a profile nor a CA certificate is there.
        .envs([
            ("HOME", "/nonexistent"),
            ("SSL_CERT_FILE", "/nonexistent"),
            ("SSL_CERT_DIR", "/nonexistent"),
        ])
        .output()
        .unwrap();
    Run {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
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
