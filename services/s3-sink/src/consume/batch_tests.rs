#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Instant;

use rdkafka::ClientConfig;
use rdkafka::consumer::DefaultConsumerContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::*;

const TOPIC: &str = "t";
/// Far more than anything here takes: where it ends, the test has failed.
const PATIENCE: Duration = Duration::from_secs(30);

struct Kafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
    queue: MessageQueue<DefaultConsumerContext>,
}

impl Kafka {
    /// A topic of two partitions, and a consumer of none of them.
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        let consumer: BaseConsumer<DefaultConsumerContext> = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "g")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let queue = MessageQueue::new(Arc::new(consumer), TOPIC).unwrap();
        Self { cluster, queue }
    }

    fn produce(&self, records: impl IntoIterator<Item = BaseRecord<'static, [u8], [u8]>>) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .create()
            .unwrap();
        for record in records {
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    fn assign(&self, partitions: &[i32]) {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            self.queue.forward(Partition(*partition));
            list.add_partition_offset(TOPIC, *partition, Offset::Beginning).unwrap();
        }
        self.queue.consumer.assign(&list).unwrap();
    }

    /// What comes until `is_enough`.
    fn take(&self, mut is_enough: impl FnMut(&[Result<Fetched<'_>, FetchError>]) -> bool) -> usize {
        let (deadline, mut batches) = (Instant::now() + PATIENCE, 0);
        loop {
            assert!(Instant::now() < deadline, "it never comes");
            if let Some(polled) = self.queue.consumer.poll(Duration::ZERO) {
                assert!(polled.is_err(), "a message went astray");
            }
            let batch = self.queue.take(10, Duration::from_millis(100));
            assert!(batch.len() <= 10);
            batches += 1;
            if is_enough(&batch) {
                return batches;
            }
        }
    }
}

fn record(partition: i32) -> BaseRecord<'static, [u8], [u8]> {
    BaseRecord::to(TOPIC).partition(partition)
}

#[test]
fn messages_come_whole_and_in_order() {
    let kafka = Kafka::new();
    let headers = OwnedHeaders::new()
        .insert(Header { key: "a", value: Some("1") })
        .insert(Header { key: "none", value: None::<&str> })
        .insert(Header { key: "a", value: Some("") });
    kafka.produce([
        record(0).payload(&b"first"[..]).timestamp(1_793_577_600_000),
        record(0),
        record(0).payload(&b""[..]).key(&b"k\0\xff"[..]).headers(headers),
    ]);
    kafka.assign(&[0]);
    let mut seen = Vec::new();
    kafka.take(|batch| {
        let messages = batch.iter().filter_map(|message| message.as_ref().ok());
        seen.extend(messages.map(|message| (message.timestamp(), message.detach(TOPIC))));
        seen.len() == 3
    });
    let offsets: Vec<_> = seen.iter().map(|(_, message)| message.offset()).collect();
    assert_eq!(offsets, [0, 1, 2]);
    let [(timestamp, first), (_, tombstone), (_, last)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(*timestamp, Some(1_793_577_600_000));
    assert_eq!((first.payload(), first.key()), (Some(&b"first"[..]), None));
    assert!(first.headers().is_none());
    assert_eq!(tombstone.payload(), None);
    assert_eq!((last.topic(), last.partition(), last.key()), (TOPIC, 0, Some(&b"k\0\xff"[..])));
    let headers: Vec<_> = last.headers().unwrap().iter().map(|h| (h.key, h.value)).collect();
    assert_eq!(headers, [("a", Some(&b"1"[..])), ("none", None), ("a", Some(&b""[..]))]);
}

#[test]
fn batches_are_as_large_as_asked_for_and_may_be_dropped_untouched() {
    let kafka = Kafka::new();
    kafka.produce((0..1000).map(|number| record(number % 2).payload(&b"payload"[..])));
    kafka.assign(&[0, 1]);
    let mut count = 0;
    let batches = kafka.take(|batch| {
        count += batch.iter().filter(|message| message.is_ok()).count();
        count == 1000
    });
    assert!(batches >= 100);
    assert!(kafka.queue.take(10, Duration::ZERO).iter().all(Result::is_err), "a message too many");
}

#[test]
fn errors_come_in_place_of_messages() {
    let kafka = Kafka::new();
    let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 100];
    kafka.cluster.request_errors(rdkafka::types::RDKafkaApiKey::Fetch, &refused);
    kafka.produce([record(1).payload(&b"payload"[..])]);
    kafka.assign(&[1]);
    let error = KafkaError::MessageConsumption(RDKafkaErrorCode::TopicAuthorizationFailed);
    let is_refused =
        |failed: &FetchError| (failed.partition, &failed.error) == (Partition(1), &error);
    kafka.take(|batch| batch.iter().any(|result| result.as_ref().err().is_some_and(is_refused)));
}

#[test]
fn a_partition_that_was_let_go_is_forwarded_again() {
    let kafka = Kafka::new();
    kafka.produce([record(0).payload(&b"payload"[..])]);
    for _ in 0..3 {
        kafka.assign(&[0]);
        let deadline = Instant::now() + PATIENCE;
        kafka.take(|batch| {
            assert!(Instant::now() < deadline);
            // The end of the earlier assignment may come after the begin of this one.
            kafka.queue.forward(Partition(0));
            batch.iter().any(Result::is_ok)
        });
        kafka.queue.consumer.unassign().unwrap();
    }
}
