//! A topic with dead letters, on embedded or on real brokers, and what lies in it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pipectl::kafka::replayed_topic_of;
use pipeline_model::dead_letter::{
    HEADER_DETAIL, HEADER_OFFSET, HEADER_PARTITION, HEADER_REASON, HEADER_TOPIC, topic_of,
};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, Message};
use tokio::runtime::Runtime;

use crate::common::{Run, pipectl};

/// Far more than anything here takes: where it ends, the test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Topic {
    pub(crate) servers: String,
    pub(crate) name: String,
}

/// A dead letter to write.
#[derive(Debug, Clone)]
pub(crate) struct NewLetter {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) reason: &'static str,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<(&'static str, Option<Vec<u8>>)>,
}

/// A message as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl NewLetter {
    pub(crate) fn new(partition: i32, offset: i64) -> Self {
        Self {
            partition,
            offset,
            reason: "not_json",
            key: None,
            payload: Some(format!("message {partition}+{offset}").into_bytes()),
            headers: vec![("schema-version", Some(b"1".to_vec()))],
        }
    }

    pub(crate) fn payload(self, payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: Some(payload.into()), ..self }
    }

    pub(crate) fn reason(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }
}

impl Found {
    /// Its header of this name, which must be there once.
    pub(crate) fn header(&self, name: &str) -> String {
        let mut values = self.headers.iter().filter(|(key, _)| key == name);
        let (_, value) = values.next().unwrap_or_else(|| panic!("no {name}: {self:?}"));
        assert!(values.next().is_none(), "{name} twice: {self:?}");
        String::from_utf8(value.clone().unwrap()).unwrap()
    }
}

impl Topic {
    /// Runs the binary for this topic.
    pub(crate) fn pipectl(&self, line: &str) -> Run {
        pipectl(line, &self.environment())
    }

    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let variables = [("KAFKA_BOOTSTRAP_SERVERS", &self.servers), ("KAFKA_TOPIC", &self.name)];
        variables.map(|(name, value)| (name.to_owned(), value.clone())).to_vec()
    }

    /// Writes dead letters as the sink does.
    pub(crate) fn write(&self, letters: &[NewLetter]) {
        let mut config = self.config();
        config.set("enable.idempotence", "true").set("message.max.bytes", "100000000");
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
        let dlq = topic_of(&self.name);
        for letter in letters {
            let (partition, offset) = (letter.partition.to_string(), letter.offset.to_string());
            let added = [
                (HEADER_TOPIC, self.name.as_str()),
                (HEADER_PARTITION, &partition),
                (HEADER_OFFSET, &offset),
                (HEADER_REASON, letter.reason),
                (HEADER_DETAIL, "so it is"),
            ];
            let added = added.into_iter().map(|(key, value)| (key, Some(value.as_bytes())));
            let own = letter.headers.iter().map(|(key, value)| (*key, value.as_deref()));
            let headers = own.chain(added).fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value })
            });
            let mut record = BaseRecord::<[u8], [u8]>::to(&dlq).headers(headers);
            record.key = letter.key.as_deref();
            record.payload = letter.payload.as_deref();
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// Every message of the main topic that is committed, by coordinates.
    pub(crate) fn messages(&self) -> Vec<Found> {
        self.read(&self.name, "read_committed")
    }

    /// Every message of `topic` that is there now.
    pub(crate) fn read(&self, topic: &str, isolation: &str) -> Vec<Found> {
        let consumer = self.consumer(isolation);
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let partitions = metadata.topics()[0].partitions().len();
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions {
            let partition = i32::try_from(partition).unwrap();
            assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let (mut found, mut ended) = (BTreeMap::new(), 0);
        let deadline = Instant::now() + PATIENCE;
        while ended < partitions {
            assert!(Instant::now() < deadline, "{topic} was not read in time");
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    let message = owned(&message);
                    found.insert((message.partition, message.offset), message);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => panic!("{topic} can't be read: {error}"),
                None => {}
            }
        }
        found.into_values().collect()
    }

    /// Has the brokers remove the messages before `offset` of partition 0 of `topic`, as retention
    /// does where somebody has set it.
    pub(crate) fn delete_before(&self, topic: &str, offset: i64) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let retained = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let retained = retained.set("cleanup.policy", "compact,delete");
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
        Runtime::new().unwrap().block_on(async {
            let options = AdminOptions::new();
            let altered = admin.alter_configs([&retained], &options).await.unwrap();
            altered[0].as_ref().unwrap();
            // Each broker learns of the change for itself.
            let deadline = Instant::now() + PATIENCE;
            let not_yet = Err(KafkaError::OffsetFetch(RDKafkaErrorCode::PolicyViolation));
            loop {
                let deleted = admin.delete_records(&offsets, &options).await.unwrap();
                match deleted.elements()[0].error() {
                    error if error == not_yet && Instant::now() < deadline => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    outcome => break outcome.unwrap(),
                }
            }
        });
    }

    /// How many offsets a replay has taken, committed or not.
    pub(crate) fn offsets_taken(&self, consumer: &BaseConsumer, partitions: i32) -> i64 {
        let end = |topic: &str, one| consumer.fetch_watermarks(topic, one, PATIENCE).unwrap().1;
        let messages: i64 = (0..partitions).map(|one| end(&self.name, one)).sum();
        messages + end(&replayed_topic_of(&self.name), 0)
    }

    pub(crate) fn consumer(&self, isolation: &str) -> BaseConsumer {
        self.config()
            .set("group.id", "test")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", isolation)
            .create()
            .unwrap()
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        config
    }
}

fn owned(message: &impl Message) -> Found {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    Found {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
        headers: headers
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect(),
    }
}
