//! The Kafka topic of runs: the key is the run's id, the value its record as JSON, no value for a
//! run that is forgotten. With compaction one record of each run is left.
//!
//! With `produce` the only file that names rdkafka.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use uuid::Uuid;

use super::Record;
use super::book::Book;
use crate::produce::{Producer, Properties};

/// How long a broker may take to tell about the topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// How long reading the whole topic may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a broker may take to acknowledge a record, once it is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The topic can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopicError {
    /// There is no such topic.
    #[error(
        "the topic {0:?} does not exist; check RUNS_TOPIC, or create it with `pipectl topics ensure`"
    )]
    Missing(String),
    /// Brokers answer, and do not let us.
    #[error("Kafka refuses the topic {topic:?}: {reason}; check RUNS_TOPIC and the rights on it")]
    Refused {
        /// The topic's name.
        topic: String,
        /// What the client says.
        reason: String,
    },
    /// No answer, or not all of it in time.
    #[error("the topic {topic:?} could not be read: {reason}")]
    Unreadable {
        /// The topic's name.
        topic: String,
        /// What the client says.
        reason: String,
    },
}

/// A record is not on the topic.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// No answer: it may be there or not.
    #[error("Kafka does not acknowledge it within {0:?}")]
    Unacknowledged(Duration),
    /// It was not taken, and will not be.
    #[error("it is refused: {0}")]
    Refused(String),
}

impl TopicError {
    /// Whether waiting helps: the trouble is with the brokers, not with the topic.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreadable { .. })
    }
}

/// What the topic holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The newest runs, each as its last record says.
    pub(super) records: Vec<Record>,
    /// Runs that are too old to be kept, and still there.
    pub(super) surplus: BTreeSet<Uuid>,
}

/// The topic of runs. Clones share it.
#[derive(Clone)]
pub(crate) struct RecordTopic {
    name: String,
    producer: Producer,
    reader: ClientConfig,
    write_timeout: Duration,
}

impl RecordTopic {
    /// Makes no request yet. Records go through `producer`, beside the messages.
    pub(crate) fn new(name: &str, producer: Producer, properties: &Properties) -> Self {
        let mut reader = properties.config().clone();
        reader.set_log_level(RDKafkaLogLevel::Warning);
        for (property, value) in [
            // librdkafka wants a group, even from one who never joins or commits.
            ("group.id", name),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
        ] {
            reader.set(property, value);
        }
        let write_timeout = WRITE_TIMEOUT + properties.linger();
        Self { name: name.to_string(), producer, reader, write_timeout }
    }

    /// The newest runs, read from the beginning of the topic to its end, within 30 s.
    pub(super) async fn read(&self) -> Result<Contents, TopicError> {
        let (reader, name) = (self.reader.clone(), self.name.clone());
        // The client blocks its thread.
        let read = tokio::task::spawn_blocking(move || {
            read(&reader, &name, Instant::now() + READ_TIMEOUT)
        });
        read.await.unwrap_or_else(|aborted| {
            Err(TopicError::Unreadable { topic: self.name.clone(), reason: aborted.to_string() })
        })
    }

    /// Writes a run's record, or that it is forgotten; done when it is acknowledged by all
    /// replicas.
    pub(super) async fn write(&self, id: Uuid, record: Option<Record>) -> Result<(), WriteError> {
        let value = record.map(|record| serde_json::to_vec(&record)).transpose();
        let value = value.map_err(|error| WriteError::Refused(error.to_string()))?;
        let key = id.to_string();
        let written = self.producer.send_record(&self.name, &key, value.as_deref());
        let answer = tokio::time::timeout(self.write_timeout, written).await;
        let report = answer.map_err(|_| WriteError::Unacknowledged(self.write_timeout))?;
        report.map_err(WriteError::Refused)
    }
}

fn read(config: &ClientConfig, topic: &str, deadline: Instant) -> Result<Contents, TopicError> {
    let unreadable = |reason: String| TopicError::Unreadable { topic: topic.to_string(), reason };
    let refused = |reason: String| TopicError::Refused { topic: topic.to_string(), reason };
    let consumer: BaseConsumer<Quiet> =
        config.create_with_context(Quiet).map_err(|error| refused(error.to_string()))?;
    let mut unfinished = partitions(&consumer, topic)?;
    let mut assignment = TopicPartitionList::new();
    for partition in &unfinished {
        assignment
            .add_partition_offset(topic, *partition, Offset::Beginning)
            .map_err(|error| refused(error.to_string()))?;
    }
    consumer.assign(&assignment).map_err(|error| refused(error.to_string()))?;
    let mut contents = Collector::default();
    let mut trouble = "the end did not come in time".to_string();
    while !unfinished.is_empty() {
        if Instant::now() >= deadline {
            return Err(unreadable(trouble));
        }
        match consumer.poll(POLL_TIMEOUT) {
            Some(Ok(message)) => contents.take(&message),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unfinished.remove(&partition);
            }
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                    return Err(refused(error.to_string()));
                }
                // Brokers come and go; the group, of which nothing is needed, may be forbidden.
                _ => trouble = error.to_string(),
            },
            None => {}
        }
    }
    Ok(contents.finish())
}

fn partitions(consumer: &BaseConsumer<Quiet>, topic: &str) -> Result<BTreeSet<i32>, TopicError> {
    let metadata = consumer.fetch_metadata(Some(topic), METADATA_TIMEOUT).map_err(|error| {
        TopicError::Unreadable { topic: topic.to_string(), reason: error.to_string() }
    })?;
    let missing = || TopicError::Missing(topic.to_string());
    let found = metadata.topics().iter().find(|found| found.name() == topic).ok_or_else(missing)?;
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(found.partitions().iter().map(|partition| partition.id()).collect()),
        Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
            Err(missing())
        }
        Some(RDKafkaErrorCode::LeaderNotAvailable) => Err(TopicError::Unreadable {
            topic: topic.to_string(),
            reason: RDKafkaErrorCode::LeaderNotAvailable.to_string(),
        }),
        Some(code) => {
            Err(TopicError::Refused { topic: topic.to_string(), reason: code.to_string() })
        }
    }
}

/// Keeps the last record of each run, of the newest runs.
#[derive(Default)]
struct Collector {
    book: Book,
    surplus: BTreeSet<Uuid>,
}

impl Collector {
    fn take(&mut self, message: &BorrowedMessage<'_>) {
        match parse(message.key(), message.payload()) {
            Ok((id, None)) => {
                self.book.remove(id);
                self.surplus.remove(&id);
            }
            Ok((id, Some(record))) => {
                // If the topic got more partitions meanwhile, an earlier record may come later.
                let known = self.book.get(id).map(|known| known.run.state);
                if known.is_none_or(|known| known <= record.run.state) {
                    self.surplus.extend(self.book.insert(record));
                }
            }
            Err(problem) => tracing::warn!(
                topic = message.topic(),
                partition = message.partition(),
                offset = message.offset(),
                problem,
                "a message on the topic of runs is no record of a run and is left out"
            ),
        }
    }

    fn finish(self) -> Contents {
        Contents { records: self.book.into_records().collect(), surplus: self.surplus }
    }
}

fn parse(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(Uuid, Option<Record>), String> {
    let key = key.ok_or("it has no key")?;
    let id = Uuid::try_parse_ascii(key).map_err(|error| format!("its key is no id: {error}"))?;
    let Some(value) = value else { return Ok((id, None)) };
    let record: Record = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    match record.run.id == id {
        true => Ok((id, Some(record))),
        false => Err(format!("its key is not the id that it holds, {}", record.run.id)),
    }
}

/// Troubles come out of `poll`; the client's own remarks are for those who look for them.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason, "kafka client error");
    }
}

impl ConsumerContext for Quiet {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

    use super::*;

    #[test]
    fn what_is_no_record_is_named() {
        let id = Uuid::from_u128(7).to_string();
        for (key, value, problem) in [
            (None, None, "no key"),
            (Some("seven"), None, "no id"),
            (Some(id.as_str()), Some("{"), "EOF"),
            (Some(id.as_str()), Some("{}"), "missing field"),
        ] {
            let error = parse(key.map(str::as_bytes), value.map(str::as_bytes)).unwrap_err();
            assert!(error.contains(problem), "{key:?} {value:?}: {error}");
        }
        assert_eq!(parse(Some(id.as_bytes()), None).unwrap(), (Uuid::from_u128(7), None));
    }
}
