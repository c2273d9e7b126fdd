//! The topic of one run: filled before the sink starts, deleted afterwards.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e_tests::scenario;
use pipeline_model::dead_letter::topic_of;
use pipeline_model::{Person, message};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

/// Messages of a partition in a row, so that they travel in large batches.
const RUN: u64 = 1000;
const FLUSH: Duration = Duration::from_secs(300);

pub(crate) struct Topic {
    name: String,
    client: ClientConfig,
}

impl Topic {
    /// The topic that the services' environment names.
    pub(crate) fn of(environment: &[(String, String)]) -> Result<Self> {
        let value = |name: &str| {
            let found = environment.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| value.clone()).with_context(|| format!("{name} is not set"))
        };
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", value("KAFKA_BOOTSTRAP_SERVERS")?);
        Ok(Self { name: value("KAFKA_TOPIC")?, client })
    }

    /// Produces valid messages, each different, spread evenly over the partitions.
    pub(crate) fn produce(&self, messages: u64, partitions: i32) -> Result<()> {
        let producer: BaseProducer = self
            .client
            .clone()
            .set("enable.idempotence", "true")
            .set("compression.codec", "lz4")
            .set("linger.ms", "50")
            .create()?;
        let mut payload = Vec::new();
        for number in 0..messages {
            let partition = (number / RUN % partitions.unsigned_abs() as u64) as i32;
            payload.clear();
            message::encode(&person(number), &mut payload)?;
            send(&producer, &self.name, partition, &payload)?;
        }
        producer.flush(FLUSH).context("not every message was acknowledged")
    }

    /// Deletes it, and what else there is of it.
    pub(crate) fn delete(&self) -> Result<()> {
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

/// A person as varied as those of the API: a row takes about as much room in Parquet as theirs.
fn person(number: u64) -> Person {
    let mut random = fastrand::Rng::with_seed(number);
    let mut word =
        |letters: usize| -> String { (0..letters).map(|_| random.lowercase()).collect() };
    let (first, last, street) = (word(3), word(4), word(4));
    let mut degrees = |most: i32| f64::from(random.i32(-most * 10_000..most * 10_000)) / 10_000.0;
    let (latitude, longitude) = (degrees(90), degrees(180));
    Person {
        name: format!("Ms. {first} {last}"),
        address: format!("{}, {street} Street", number % 9999),
        latitude,
        longitude,
        email: format!("{first}.{last}@example.com"),
        ..scenario::person(number)
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
