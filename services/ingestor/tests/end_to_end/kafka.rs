//! A mock cluster with the topics, and what landed on them.

use std::collections::BTreeSet;
use std::time::Duration;

use local_stack::kafka::{KafkaCluster, KafkaOptions, Topic};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

const TOPIC: &str = "names_topic";
const PARTITIONS: i32 = 3;
pub(crate) const RUNS_TOPIC: &str = "ingestor.runs";

pub(crate) struct Kafka {
    cluster: KafkaCluster,
}

/// One message.
pub(crate) struct Message {
    pub(crate) key: Option<Vec<u8>>,
    /// Empty for a message without a value.
    pub(crate) payload: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Kafka {
    pub(crate) fn start() -> Self {
        let kafka = Self::without_runs_topic();
        kafka.create_runs_topic();
        kafka
    }

    /// A cluster on which no run is remembered.
    pub(crate) fn without_runs_topic() -> Self {
        let topics = vec![Topic::new(TOPIC, PARTITIONS)];
        Self { cluster: KafkaCluster::start(KafkaOptions { brokers: 3, topics }).unwrap() }
    }

    pub(crate) fn create_runs_topic(&self) {
        self.cluster.create_topic(&Topic::new(RUNS_TOPIC, 1)).unwrap();
    }

    pub(crate) fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers().unwrap()
    }

    /// So many of the next requests to produce are answered with `error`.
    pub(crate) fn refuse_produce(&self, error: RDKafkaRespErr, times: usize) {
        self.cluster.request_errors(RDKafkaApiKey::Produce, &vec![error; times]).unwrap();
    }

    /// Topics may not be read.
    pub(crate) fn refuse_fetch(&self) {
        let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        self.cluster.request_errors(RDKafkaApiKey::Fetch, &[error; 1000]).unwrap();
    }

    /// Topics may be read again.
    pub(crate) fn allow_fetch(&self) {
        self.cluster.clear_request_errors(RDKafkaApiKey::Fetch).unwrap();
    }

    /// Consumer groups are forbidden.
    pub(crate) fn refuse_groups(&self) {
        let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
        self.cluster.request_errors(RDKafkaApiKey::FindCoordinator, &[error; 100]).unwrap();
    }

    /// Every broker drops its connections and takes no new ones.
    pub(crate) fn down(&self) {
        self.cluster.broker_down(-1).unwrap();
    }

    /// Every broker takes connections again.
    pub(crate) fn up(&self) {
        self.cluster.broker_up(-1).unwrap();
    }

    /// Every message of the topic, read to the end of each partition.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.read(TOPIC, PARTITIONS)
    }

    /// The states in the records of the run, in their order.
    pub(crate) fn recorded_states(&self, run: &str) -> Vec<String> {
        self.read(RUNS_TOPIC, 1)
            .iter()
            .filter(|message| message.key.as_deref() == Some(run.as_bytes()))
            .map(|message| {
                let json: serde_json::Value = serde_json::from_str(&message.payload).unwrap();
                json["state"].as_str().unwrap().to_string()
            })
            .collect()
    }

    /// Puts a message on the topic of runs.
    pub(crate) fn record(&self, key: &str, value: &str) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap_servers())
            .create()
            .unwrap();
        producer.send(BaseRecord::to(RUNS_TOPIC).key(key).payload(value)).unwrap();
        producer.flush(Duration::from_secs(60)).unwrap();
    }

    fn read(&self, topic: &str, partitions: i32) -> Vec<Message> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap_servers())
            .set("group.id", "test")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let mut from_the_start = TopicPartitionList::new();
        for partition in 0..partitions {
            from_the_start.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&from_the_start).unwrap();
        let mut messages = Vec::new();
        let mut ended = BTreeSet::new();
        while ended.len() < partitions as usize {
            match consumer.poll(Duration::from_secs(60)).expect("nothing from the cluster") {
                Ok(message) => messages.push(Message {
                    key: message.key().map(<[u8]>::to_vec),
                    payload: String::from_utf8(message.payload().unwrap_or_default().to_vec())
                        .unwrap(),
                    headers: headers(&message),
                }),
                Err(KafkaError::PartitionEOF(partition)) => {
                    ended.insert(partition);
                }
                Err(error) => panic!("{error}"),
            }
        }
        messages
    }

    /// The distinct emails of all messages, which number the users.
    pub(crate) fn emails(&self) -> BTreeSet<String> {
        self.messages()
            .iter()
            .map(|message| {
                let json: serde_json::Value = serde_json::from_str(&message.payload).unwrap();
                json["email"].as_str().unwrap().to_string()
            })
            .collect()
    }
}

fn headers(message: &rdkafka::message::BorrowedMessage<'_>) -> Vec<(String, String)> {
    let headers = message.headers();
    headers
        .iter()
        .flat_map(|headers| headers.iter())
        .map(|header| {
            let value = String::from_utf8(header.value.unwrap().to_vec()).unwrap();
            (header.key.to_string(), value)
        })
        .collect()
}
