//! Dead letters go back to the main topic by Kafka transactions: the messages and the record of
//! their replay become visible together, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chunk_ledger::Partition;
use rdkafka::Message;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header as BorrowedHeader, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::letters::{Header, LetterId};
use super::markers::{Session, marker, replayed_topic_of};
use super::{Cluster, ClusterError, Complaints, KafkaConfig, client_config, refused_config};
use crate::coordinates::Coordinates;

/// Longest that a transaction stays open when its sender is gone. Whoever reads committed messages
/// alone, the sink above all, waits for it.
const TRANSACTION_TIMEOUT_MS: &str = "30000";
/// Messages may be as large as Kafka lets them be.
const MESSAGE_BYTES_MAX: &str = "100000000";
/// Pause before a step of a transaction is repeated.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// What a marker's delivery is told apart by; messages have their index in the batch.
const MARKER: usize = usize::MAX;

/// A message that goes back to the main topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The dead letter that it was.
    pub letter: LetterId,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its payload.
    pub payload: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<Header>,
}

/// Why dead letters were not replayed. What was committed before stays, and is known.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The brokers could not be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There can be one replay at a time. To the brokers a batch that they took back because it
    /// was open for too long looks the same.
    #[error(
        "another replay of {topic:?} has taken over, or a batch was open for more than 30 s: run \
         this again when no other one runs, it sends what is left"
    )]
    TakenOver {
        /// The topic.
        topic: String,
    },
    /// A message is not accepted, or another one of its batch: brokers refuse several together.
    #[error("dead letter {origin} is not accepted by {topic:?}: {cause}; its batch was taken back")]
    Refused {
        /// Where the original message lay.
        origin: Coordinates,
        /// The topic.
        topic: String,
        /// Why not.
        cause: KafkaError,
    },
    /// A step of a transaction failed: its batch was not sent.
    #[error("can't {step} a transaction: {detail}; nothing of it was sent")]
    Transaction {
        /// `begin`, `fill`, …
        step: &'static str,
        /// What the client says.
        detail: String,
    },
    /// Nobody knows whether the last batch was sent.
    #[error(
        "it is not known whether the last batch is committed ({detail}): run this again, it finds \
         out"
    )]
    Uncertain {
        /// What the client says.
        detail: String,
    },
}

/// The one who replays dead letters of a topic: a new one takes over from every other.
pub struct Replayer {
    producer: ThreadedProducer<Deliveries>,
    topic: String,
    markers: String,
    partitions: BTreeSet<Partition>,
    timeout: Duration,
    session: Session,
}

impl Replayer {
    /// Takes over. What an earlier replay left open is committed or taken back for good, and then
    /// the record of replays tells so: what stands in it before [`session`](Self::session) is all
    /// that was sent. Blocks.
    pub fn take_over(
        config: &KafkaConfig,
        cluster: &Cluster,
        topic: &str,
    ) -> Result<Self, ReplayError> {
        let need = |topic: &str| {
            cluster.partitions(topic)?.ok_or_else(|| ClusterError::NoTopic(topic.to_owned()))
        };
        let markers = replayed_topic_of(topic);
        let (partitions, record) = (need(topic)?, need(&markers)?);
        let mut client = client_config(config);
        client
            // The same for every replay of the topic: by it Kafka knows the predecessor.
            .set("transactional.id", format!("pipectl-replay-{topic}"))
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS)
            .set("message.max.bytes", MESSAGE_BYTES_MAX)
            .set("compression.type", "lz4");
        let producer = client
            .create_with_context::<_, ThreadedProducer<Deliveries>>(Deliveries::default())
            .map_err(refused_config)?;
        let replayer = Self {
            producer,
            topic: topic.to_owned(),
            markers,
            partitions: partitions.into_iter().collect(),
            timeout: config.timeout,
            session: Session::new(),
        };
        replayer
            .repeat(|left| replayer.producer.init_transactions(left))
            .map_err(|error| replayer.failed("prepare", &error))?;
        replayer.transaction(|| replayer.open_session(&record))?;
        Ok(replayer)
    }

    /// What the record of replays knows it by.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Sends `batch` as one transaction, and says where each message went. Messages go to the
    /// partition that they came from, if the topic still has it. Blocks.
    pub fn send(&self, batch: &[Replay]) -> Result<Vec<Coordinates>, ReplayError> {
        self.transaction(|| self.fill(batch))
    }

    /// Commits what `fill` does, or takes it back.
    fn transaction<T>(
        &self,
        fill: impl FnOnce() -> Result<T, ReplayError>,
    ) -> Result<T, ReplayError> {
        self.producer.context().forget();
        self.producer.begin_transaction().map_err(|error| self.failed("begin", &error))?;
        let filled = fill().inspect_err(|_| self.take_back())?;
        match self.repeat(|left| self.producer.commit_transaction(left)) {
            Ok(()) => Ok(filled),
            Err(error) if requires_abort(&error) => {
                self.take_back();
                Err(self.failed("commit", &error))
            }
            Err(_) if self.is_fenced() => Err(ReplayError::TakenOver { topic: self.topic.clone() }),
            Err(error) => Err(ReplayError::Uncertain { detail: self.detail(&error) }),
        }
    }

    fn open_session(&self, record: &[Partition]) -> Result<(), ReplayError> {
        let (key, payload) = self.session.message();
        for partition in record {
            let message = BaseRecord::<str, [u8], usize>::with_opaque_to(&self.markers, MARKER);
            let message = message.partition(partition.0).key(key).payload(payload);
            let sent = self.producer.send(message);
            sent.map_err(|(error, _)| self.failed("fill", &error))?;
        }
        self.delivered()
    }

    fn fill(&self, batch: &[Replay]) -> Result<Vec<Coordinates>, ReplayError> {
        for (index, replay) in batch.iter().enumerate() {
            self.produce(index, replay).map_err(|cause| self.refused(replay, cause))?;
        }
        self.flush()?;
        let deliveries = self.producer.context();
        if let Some((index, cause)) = deliveries.failure() {
            return Err(match batch.get(index) {
                Some(replay) => self.refused(replay, cause),
                None => self.failed("fill", &cause),
            });
        }
        let places = deliveries.places();
        let lost = || ReplayError::Transaction {
            step: "fill",
            detail: "a message was neither delivered nor refused".to_owned(),
        };
        let places: Vec<Coordinates> = (0..batch.len())
            .map(|index| places.get(&index).copied().ok_or_else(lost))
            .collect::<Result<_, _>>()?;
        for (replay, place) in batch.iter().zip(&places) {
            self.mark(&replay.letter, *place)?;
        }
        self.delivered().map(|()| places)
    }

    fn produce(&self, index: usize, replay: &Replay) -> KafkaResult<()> {
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topic, index);
        record.key = replay.key.as_deref();
        record.payload = replay.payload.as_deref();
        record.partition = Some(replay.letter.origin.partition)
            .filter(|partition| self.partitions.contains(partition))
            .map(|partition| partition.0);
        record.headers =
            Some(replay.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(BorrowedHeader { key, value: value.as_deref() })
            }));
        self.producer.send(record).map_err(|(error, _)| error)
    }

    fn mark(&self, letter: &LetterId, to: Coordinates) -> Result<(), ReplayError> {
        let step = "fill";
        let (key, payload) = marker(letter, to)
            .map_err(|error| ReplayError::Transaction { step, detail: error.to_string() })?;
        let record = BaseRecord::<str, [u8], usize>::with_opaque_to(&self.markers, MARKER);
        let sent = self.producer.send(record.key(&key).payload(&payload));
        sent.map_err(|(error, _)| self.failed(step, &error))
    }

    /// Waits until everything sent so far is delivered.
    fn delivered(&self) -> Result<(), ReplayError> {
        self.flush()?;
        match self.producer.context().failure() {
            None => Ok(()),
            Some((_, cause)) => Err(self.failed("fill", &cause)),
        }
    }

    /// Waits until it is known of everything sent so far whether it is delivered.
    fn flush(&self) -> Result<(), ReplayError> {
        self.producer.flush(self.timeout).map_err(|error| self.failed("fill", &error))
    }

    /// Best effort: what is not taken back now the brokers take back in half a minute, or as soon
    /// as the next replay begins.
    fn take_back(&self) {
        if let Err(error) = self.producer.abort_transaction(self.timeout) {
            tracing::debug!(%error, "transaction left open");
        }
    }

    /// Repeats a step while the client asks for that, up to the timeout.
    fn repeat(&self, step: impl Fn(Duration) -> KafkaResult<()>) -> KafkaResult<()> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match step(left.max(RETRY_PAUSE)) {
                Err(error) if is_retriable(&error) && left > RETRY_PAUSE => {
                    std::thread::sleep(RETRY_PAUSE);
                }
                result => return result,
            }
        }
    }

    fn refused(&self, replay: &Replay, cause: KafkaError) -> ReplayError {
        match is_about_the_message(&cause) {
            true => ReplayError::Refused {
                origin: replay.letter.origin,
                topic: self.topic.clone(),
                cause,
            },
            false => self.failed("fill", &cause),
        }
    }

    fn failed(&self, step: &'static str, error: &KafkaError) -> ReplayError {
        match self.is_fenced() {
            true => ReplayError::TakenOver { topic: self.topic.clone() },
            false => ReplayError::Transaction { step, detail: self.detail(error) },
        }
    }

    /// The error, and what the client complained of last: a timeout alone says little, and that
    /// messages were thrown away says nothing.
    fn detail(&self, error: &KafkaError) -> String {
        let text = match error {
            KafkaError::Transaction(error) => error.string(),
            error => error.to_string(),
        };
        match self.producer.context().complaints.last() {
            Some(complaint) if is_purged(error) => complaint,
            Some(complaint) if is_retriable(error) => format!("{text}; {complaint}"),
            _ => text,
        }
    }

    fn is_fenced(&self) -> bool {
        use RDKafkaErrorCode as Code;
        let fatal = self.producer.client().fatal_error();
        fatal.is_some_and(|(code, _)| {
            matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
        })
    }
}

impl fmt::Debug for Replayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replayer").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// Whether another message might have been accepted.
fn is_about_the_message(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::MessageSizeTooLarge
                | Code::InvalidMessageSize
                | Code::InvalidMessage
                | Code::InvalidRecord
                | Code::InvalidTimestamp
        )
    )
}

fn is_retriable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.is_retriable())
}

/// Whether a message was thrown away since its transaction had failed already.
fn is_purged(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{PurgeInflight, PurgeQueue};
    matches!(error.rdkafka_error_code(), Some(PurgeQueue | PurgeInflight))
}

/// Whether a transaction is surely not committed, and must be taken back.
fn requires_abort(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.txn_requires_abort())
}

/// What became of the messages of the batch.
#[derive(Debug, Default)]
struct Deliveries {
    complaints: Complaints,
    batch: Mutex<BatchDeliveries>,
}

#[derive(Debug, Default)]
struct BatchDeliveries {
    /// Where messages went, by their index.
    places: BTreeMap<usize, Coordinates>,
    /// The first one that was not delivered, and why.
    failure: Option<(usize, KafkaError)>,
}

impl Deliveries {
    fn forget(&self) {
        *self.lock() = BatchDeliveries::default();
    }

    fn failure(&self) -> Option<(usize, KafkaError)> {
        self.lock().failure.clone()
    }

    fn places(&self) -> BTreeMap<usize, Coordinates> {
        self.lock().places.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BatchDeliveries> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.complaints.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let mut batch = self.lock();
        match result {
            Ok(message) if index != MARKER => {
                let place = Coordinates::new(message.partition(), message.offset());
                batch.places.insert(index, place);
            }
            Ok(_) => {}
            Err((error, _)) => {
                batch.failure.get_or_insert_with(|| (index, error.clone()));
            }
        }
    }
}
