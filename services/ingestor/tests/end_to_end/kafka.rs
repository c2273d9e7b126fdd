//! A mock cluster with the topic, and what landed on it.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

const TOPIC: &str = "names_topic";
const PARTITIONS: i32 = 3;

pub(crate) struct Kafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

/// One message of the topic.
pub(crate) struct Message {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Kafka {
    pub(crate) fn start() -> Self {
        let cluster = MockCluster::new(3).unwrap();
        cluster.create_topic(TOPIC, PARTITIONS, 3).unwrap();
        Self { cluster }
    }

    pub(crate) fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// The next requests to produce are answered with `error`.
    pub(crate) fn refuse_produce(&self, error: RDKafkaRespErr) {
        self.cluster.request_errors(RDKafkaApiKey::Produce, &[error; 3]);
    }

    /// Every broker drops its connections and takes no new ones.
    pub(crate) fn down(&self) {
        self.cluster.broker_down(-1).unwrap();
    }

    /// Every broker takes connections again.
    pub(crate) fn up(&self) {
        self.cluster.broker_up(-1).unwrap();
    }

    /// Every message, read to the end of each partition.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap_servers())
            .set("group.id", "test")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let mut from_the_start = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            from_the_start.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&from_the_start).unwrap();
        let mut messages = Vec::new();
        let mut ended = BTreeSet::new();
        while ended.len() < PARTITIONS as usize {
            match consumer.poll(Duration::from_secs(60)).expect("nothing from the cluster") {
                Ok(message) => messages.push(Message {
                    key: message.key().map(<[u8]>::to_vec),
                    payload: String::from_utf8(message.payload().unwrap().to_vec()).unwrap(),
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
    let headers = message.headers().expect("a message without headers");
    headers
        .iter()
        .map(|header| {
            let value = String::from_utf8(header.value.unwrap().to_vec()).unwrap();
            (header.key.to_string(), value)
        })
        .collect()
}
