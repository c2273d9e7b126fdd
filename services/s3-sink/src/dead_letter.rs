//! Messages that can't become rows → the dead-letter topic, with their bytes and their
//! coordinates. Names rdkafka because it produces.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pipeline_model::dead_letter::{
    HEADER_DETAIL, HEADER_OFFSET, HEADER_PARTITION, HEADER_REASON, HEADER_TOPIC, topic_of,
};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, util::Timeout};
use service_kit::health::Health;
use tracing::{debug, error};

use crate::config::KafkaConfig;
use crate::consume::ClientError;
use crate::metrics::SinkMetrics;

/// Reason: the header `schema-version` names a version that this build can't read.
pub const UNSUPPORTED_VERSION: &str = "unsupported_schema_version";
/// Reason: Kafka gave the message no timestamp (a log written before Kafka 0.10).
pub const NO_TIMESTAMP: &str = "no_timestamp";

/// Dead letters on their way, in bytes: with more, their partitions wait.
const IN_FLIGHT_BYTES_MAX: u64 = 8 << 20;
/// What one letter costs besides its bytes.
const LETTER_OVERHEAD_BYTES: u64 = 1 << 10;
/// Messages may be as large as Kafka lets them be, and headers come on top.
const MESSAGE_BYTES_MAX: &str = "100000000";
const PAUSE_MAX: Duration = Duration::from_secs(10);
const READINESS: &str = "dead_letters";

/// Why a message can't become a row.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The class of the mistake.
    pub reason: &'static str,
    /// What exactly was wrong.
    pub detail: String,
}

/// Sends the client's log where ours goes.
#[derive(Clone)]
struct LetterContext;

impl ClientContext for LetterContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        service_kit::log::kafka_client(level as u8, facility, message);
    }

    /// The delivery of each letter reports the same errors.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client reports an error");
    }
}

/// The producer of dead letters.
#[derive(Clone)]
pub struct DeadLetters {
    producer: FutureProducer<LetterContext>,
    topic: Arc<str>,
    in_flight_bytes: Arc<AtomicU64>,
    metrics: SinkMetrics,
    health: Health,
}

impl DeadLetters {
    /// A producer for the dead-letter topic of the configured topic.
    pub fn connect(
        kafka: &KafkaConfig,
        metrics: SinkMetrics,
        health: Health,
    ) -> Result<Self, ClientError> {
        let mut config = ClientConfig::new();
        config
            .set("client.id", "s3-sink")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("message.max.bytes", MESSAGE_BYTES_MAX)
            .set("message.timeout.ms", "30000")
            .extend(kafka.properties.iter().cloned());
        config.set("bootstrap.servers", &kafka.bootstrap_servers).set("acks", "all");
        Ok(Self {
            producer: config.create_with_context(LetterContext)?,
            topic: topic_of(&kafka.topic).into(),
            in_flight_bytes: Arc::new(AtomicU64::new(0)),
            metrics,
            health,
        })
    }

    /// Whether another letter may be sent now. One of any size may when none is on its way.
    pub fn has_room(&self) -> bool {
        self.in_flight_bytes.load(Ordering::Relaxed) < IN_FLIGHT_BYTES_MAX
    }

    /// Sends `message` to the dead-letter topic. The future ends when the brokers have
    /// acknowledged it, however long that takes; a repetition carries the same coordinates.
    pub fn send(
        &self,
        message: OwnedMessage,
        refusal: Refusal,
    ) -> impl Future<Output = ()> + Send + 'static {
        let reservation = Reservation::new(&self.in_flight_bytes, &message);
        let letters = self.clone();
        async move {
            let _reservation = reservation;
            let headers = headers_of(&message, &refusal);
            let mut failures = 0;
            loop {
                let mut record =
                    FutureRecord::<[u8], [u8]>::to(&letters.topic).headers(headers.clone());
                record.key = message.key();
                record.payload = message.payload();
                match letters.producer.send(record, Timeout::Never).await {
                    Ok(_) => break,
                    Err((cause, _)) => letters.pause(&message, &cause, &mut failures).await,
                }
            }
            if failures > 0 {
                letters.health.ready(READINESS);
            }
            letters.metrics.dead_letters(refusal.reason).inc();
        }
    }

    async fn pause(&self, message: &OwnedMessage, cause: &KafkaError, failures: &mut u32) {
        *failures += 1;
        let pause =
            Duration::from_millis(200).saturating_mul(1 << (*failures).min(6)).min(PAUSE_MAX);
        let (partition, offset, failures) = (message.partition(), message.offset(), *failures);
        self.health.not_ready(
            READINESS,
            format!("dead letters are not accepted by {}: {cause}", self.topic),
        );
        let topic = &*self.topic;
        if failures == 1 {
            error!(partition, offset, topic, error = %cause, "dead letter was not accepted; its partition waits, will repeat");
        } else {
            debug!(partition, offset, topic, failures, error = %cause, "dead letter was not accepted again");
        }
        tokio::time::sleep(pause).await;
    }
}

/// The original's headers and ours.
fn headers_of(message: &OwnedMessage, refusal: &Refusal) -> OwnedHeaders {
    let mut headers = message.headers().cloned().unwrap_or_else(OwnedHeaders::new);
    // A letter that is replayed and fails again must not carry two sets of coordinates.
    if headers.iter().any(|header| header.key == HEADER_TOPIC) {
        let ours = [HEADER_TOPIC, HEADER_PARTITION, HEADER_OFFSET, HEADER_REASON, HEADER_DETAIL];
        let kept = message
            .headers()
            .into_iter()
            .flat_map(Headers::iter)
            .filter(|header| !ours.contains(&header.key));
        headers = kept.fold(OwnedHeaders::new(), OwnedHeaders::insert);
    }
    let (partition, offset) = (message.partition().to_string(), message.offset().to_string());
    let ours = [
        (HEADER_TOPIC, message.topic()),
        (HEADER_PARTITION, &partition),
        (HEADER_OFFSET, &offset),
        (HEADER_REASON, refusal.reason),
        (HEADER_DETAIL, &refusal.detail),
    ];
    ours.into_iter()
        .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

/// Counts a letter's bytes as on their way until it is dropped.
struct Reservation {
    in_flight_bytes: Arc<AtomicU64>,
    bytes: u64,
}

impl Reservation {
    fn new(in_flight_bytes: &Arc<AtomicU64>, message: &OwnedMessage) -> Self {
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len) as u64;
        let bytes = len(message.payload()) + len(message.key()) + LETTER_OVERHEAD_BYTES;
        in_flight_bytes.fetch_add(bytes, Ordering::Relaxed);
        Self { in_flight_bytes: Arc::clone(in_flight_bytes), bytes }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.in_flight_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
