//! A topic full of messages: filled, counted, deleted.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use pipeline_model::dead_letter::topic_of;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

use crate::people;

/// Messages of a partition in a row, so that they travel in large batches.
const RUN: u64 = 1000;
const FLUSH: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(30);

/// A topic that exists.
#[derive(Debug)]
pub struct Topic {
    name: String,
    client: ClientConfig,
}

/// How full a topic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Offsets, over all partitions.
    pub messages: u64,
    /// Number of partitions.
    pub partitions: i32,
}

impl Topic {
    /// The topic of this name.
    pub fn new(bootstrap_servers: &str, name: &str) -> Self {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", bootstrap_servers);
        Self { name: name.to_owned(), client }
    }

    /// Produces so many valid messages of `bytes` each (see [`people::payload`]), evenly over the
    /// partitions; they are others than those that are there already. Returns once the brokers have
    /// acknowledged all: how many bytes of payload they are.
    pub fn fill(&self, messages: u64, bytes: Option<usize>) -> Result<u64> {
        let Contents { messages: first, partitions } = self.contents()?;
        let producer: BaseProducer = self
            .client
            .clone()
            .set("enable.idempotence", "true")
            .set("compression.codec", "lz4")
            .set("linger.ms", "50")
            .create()?;
        let (mut payload, mut payload_bytes) = (Vec::new(), 0);
        for number in first..first + messages {
            let partition = (number / RUN % u64::from(partitions.unsigned_abs())) as i32;
            people::payload(number, bytes, &mut payload)?;
            payload_bytes += payload.len() as u64;
            send(&producer, &self.name, partition, &payload)?;
        }
        producer.flush(FLUSH).context("not every message was acknowledged")?;
        let filled = self.contents()?.messages;
        if filled != first + messages {
            bail!("{messages} messages were produced, but the topic went from {first} to {filled}");
        }
        Ok(payload_bytes)
    }

    /// What the brokers say of it.
    pub fn contents(&self) -> Result<Contents> {
        let consumer: BaseConsumer = self.client.create()?;
        let metadata = consumer.fetch_metadata(Some(&self.name), PATIENCE)?;
        let ids: Vec<_> = metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions().iter().map(|partition| partition.id()))
            .collect();
        if ids.is_empty() {
            bail!("the topic {} does not exist; `bench fill` makes one", self.name);
        }
        let mut messages = 0;
        for id in &ids {
            let (low, high) = consumer.fetch_watermarks(&self.name, *id, PATIENCE)?;
            messages += u64::try_from(high - low)?;
        }
        Ok(Contents { messages, partitions: i32::try_from(ids.len())? })
    }

    /// Deletes it, and what else `pipectl topics ensure` made of it.
    pub fn delete(&self) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client.create()?;
        let letters = topic_of(&self.name);
        let others = [format!("{letters}.replayed"), format!("{}.runs", self.name)];
        let topics = [self.name.as_str(), &letters, &others[0], &others[1]];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let deleted = runtime.block_on(admin.delete_topics(&topics, &AdminOptions::new()))?;
        for outcome in deleted {
            if let Err((topic, error)) = outcome {
                bail!("the topic {topic} could not be deleted: {error}");
            }
        }
        Ok(())
    }
}

/// Queues a message, waiting while the queue is full.
fn send(
    producer: &BaseProducer<DefaultProducerContext>,
    topic: &str,
    partition: i32,
    payload: &[u8],
) -> Result<()> {
    let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(payload);
    loop {
        record = match producer.send(record) {
            Ok(()) => break,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => record,
            Err((error, _)) => return Err(error.into()),
        };
        producer.poll(Duration::from_millis(100));
    }
    producer.poll(Duration::ZERO);
    Ok(())
}
