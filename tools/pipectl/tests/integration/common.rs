//! A bucket, a topic and a group to audit, on embedded servers; and the binary.

use std::ops::Deref;
use std::process::Command;
use std::time::Duration;

use local_stack::{LocalStack, Options};
use pipeline_model::dead_letter::{HEADER_OFFSET, HEADER_PARTITION, HEADER_TOPIC, topic_of};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset as Position, TopicPartitionList};

use crate::objects::{Bucket, TOPIC};

pub(crate) const GROUP: &str = "s3-sink";
pub(crate) const PREFIX: &str = "raw";
const TIMEOUT: Duration = Duration::from_secs(20);

/// Servers of this process alone, and what lies in them.
pub(crate) struct Scene {
    pub(crate) stack: LocalStack,
    bucket: Bucket,
    _dir: tempfile::TempDir,
}

impl Deref for Scene {
    type Target = Bucket;

    fn deref(&self) -> &Bucket {
        &self.bucket
    }
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
        let endpoint = s3.endpoint();
        let keys = (access.access_key.as_str(), access.secret_key.as_str());
        let bucket = Bucket::new(endpoint, keys, &access.bucket, PREFIX);
        Self { bucket, stack, _dir: dir }
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
