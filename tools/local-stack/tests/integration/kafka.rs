//! The mock cluster as a producer and a consumer group see it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use local_stack::kafka::{KafkaCluster, KafkaOptions, Topic};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const TOPIC: &str = "names_topic";

/// Far more than anything here takes: where it ends, the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn config(cluster: &KafkaCluster) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers().unwrap());
    config
}

fn consumer(cluster: &KafkaCluster) -> BaseConsumer {
    config(cluster)
        .set("group.id", "group")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap()
}

async fn produce(cluster: &KafkaCluster, partition: i32, payload: &str) -> i64 {
    let producer: FutureProducer =
        config(cluster).set("enable.idempotence", "true").set("acks", "all").create().unwrap();
    let record = FutureRecord::<(), _>::to(TOPIC).partition(partition).payload(payload);
    producer.send(record, PATIENCE).await.map_err(|(error, _)| error).unwrap().offset
}

#[tokio::test]
async fn topics_lie_on_three_brokers_and_messages_come_back() {
    let cluster = KafkaCluster::start(KafkaOptions::default()).unwrap();
    assert_eq!(cluster.bootstrap_servers().unwrap().split(',').count(), 3);
    let consumer = consumer(&cluster);
    let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
    assert_eq!(metadata.brokers().len(), 3);
    let topics: Vec<_> = metadata
        .topics()
        .iter()
        .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
        .collect();
    let expected = [
        ("names_topic", 6),
        ("names_topic.dlq", 1),
        ("names_topic.dlq.replayed", 1),
        ("ingestor.runs", 1),
    ];
    assert_eq!(
        topics.into_iter().collect::<BTreeSet<_>>(),
        expected.map(|(name, partitions)| (name.to_owned(), partitions)).into()
    );
    let replicas = |topic: &rdkafka::metadata::MetadataTopic| {
        topic
            .partitions()
            .iter()
            .map(|partition| partition.replicas().len())
            .collect::<BTreeSet<_>>()
    };
    assert!(metadata.topics().iter().all(|topic| replicas(topic) == [3].into()));

    for partition in 0..6 {
        assert_eq!(produce(&cluster, partition, &format!("first of {partition}")).await, 0);
        assert_eq!(produce(&cluster, partition, &format!("second of {partition}")).await, 1);
    }
    let mut assignment = TopicPartitionList::new();
    for partition in 0..6 {
        assignment.add_partition_offset(TOPIC, partition, Offset::Offset(1)).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut received = BTreeSet::new();
    let start = Instant::now();
    while received.len() < 6 {
        assert!(start.elapsed() < PATIENCE, "only {received:?} came");
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.unwrap();
            received.insert(message.payload_view::<str>().unwrap().unwrap().to_owned());
        }
    }
    assert_eq!(received.first().unwrap(), "second of 0");
}

#[tokio::test]
async fn commits_outlive_their_consumer_and_end_with_the_cluster() {
    let cluster = KafkaCluster::start(KafkaOptions::default()).unwrap();
    let mut committed = TopicPartitionList::new();
    committed.add_partition_offset(TOPIC, 3, Offset::Offset(42)).unwrap();
    consumer(&cluster).commit(&committed, CommitMode::Sync).unwrap();
    let read_back = |consumer: BaseConsumer| {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(TOPIC, 3);
        let offsets = consumer.committed_offsets(asked, PATIENCE).unwrap();
        offsets.elements()[0].offset()
    };
    assert_eq!(read_back(consumer(&cluster)), Offset::Offset(42));
    assert_eq!(produce(&cluster, 3, "old").await, 0);

    cluster.recreate().unwrap();
    assert_eq!(read_back(consumer(&cluster)), Offset::Invalid);
    assert_eq!(produce(&cluster, 3, "new").await, 0, "offsets start anew");
}

#[test]
fn brokers_go_down_and_come_back() {
    let cluster = KafkaCluster::start(KafkaOptions::default()).unwrap();
    cluster.broker_down(-1).unwrap();
    let metadata = consumer(&cluster).fetch_metadata(Some(TOPIC), Duration::from_millis(300));
    assert!(metadata.is_err());
    cluster.broker_up(-1).unwrap();
    consumer(&cluster).fetch_metadata(Some(TOPIC), PATIENCE).unwrap();
    let error = cluster.broker_down(9).unwrap_err();
    assert_eq!(error.to_string(), "the mock cluster refuses: broker 9 down");
}

#[test]
fn a_topic_that_exists_is_named() {
    let cluster = KafkaCluster::start(KafkaOptions::default()).unwrap();
    cluster.create_topic(&Topic::new("other", 2)).unwrap();
    let error = cluster.create_topic(&Topic::new("other", 2)).unwrap_err();
    assert!(error.to_string().contains("\"other\""), "{error}");
}
