//! The Kafka producer: idempotent, acks=all, batched, bounded in memory.
//!
//! With `runs/topic.rs`, which reads, the only file that names rdkafka.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pipeline_model::message::{HEADER_RUN_ID, HEADER_SCHEMA_VERSION, SCHEMA_VERSION};
use prometheus::IntCounter;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, NativeClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders, ToBytes};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use rdkafka::types::RDKafkaConfRes;
use tokio::time::sleep;

use crate::delivery::Tally;

/// How long a broker may take to tell about the topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause before a message is offered to a full queue again. librdkafka doesn't tell when there is
/// room: it frees a batch's messages only after the last of their delivery reports was taken. Even
/// a fast cluster does not empty the default queue of 32 MiB meanwhile.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(10);

/// The client's errors of one kind are logged at most this often.
const ERROR_LOG_PERIOD: Duration = Duration::from_secs(30);

/// Our defaults; `KAFKA_CONFIG` may override all but what [`Properties::new`] refuses.
const DEFAULTS: [(&str, &str); 12] = [
    ("client.id", "producer_instance"),
    ("enable.idempotence", "true"),
    ("request.required.acks", "all"),
    ("compression.codec", "lz4"),
    // Time to fill a batch: messages come in pages, and nobody waits for a single one.
    ("queue.buffering.max.ms", "20"),
    // Bounds the memory for messages that are not delivered yet.
    ("queue.buffering.max.kbytes", "32768"),
    ("queue.buffering.max.messages", "100000"),
    // A message that is not delivered within this time is lost, and its run fails.
    ("message.timeout.ms", "120000"),
    // A topic made by a mere look at it would lack LogAppendTime and its replicas.
    ("allow.auto.create.topics", "false"),
    // A run pauses longer than some firewalls keep a silent connection.
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.max.ms", "5000"),
    ("log.connection.close", "false"),
];

/// Other names of the properties that we set or check; librdkafka takes either.
const ALIASES: [(&str, &str); 6] = [
    ("acks", "request.required.acks"),
    ("bootstrap.servers", "metadata.broker.list"),
    ("compression.type", "compression.codec"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("retries", "message.send.max.retries"),
];

/// The librdkafka properties of the producer, checked.
#[derive(Debug, Clone)]
pub(crate) struct Properties {
    config: ClientConfig,
    delivery_timeout: Duration,
    linger: Duration,
}

impl Properties {
    /// Our defaults, overridden by the user's `properties`, in their order.
    ///
    /// The error is a phrase for people that names a property and never a value, since values may
    /// be secrets.
    pub(crate) fn new(
        bootstrap_servers: &[String],
        properties: &[(String, String)],
    ) -> Result<Self, String> {
        let bootstrap_servers = bootstrap_servers.join(",");
        let ours =
            DEFAULTS.into_iter().chain([("metadata.broker.list", bootstrap_servers.as_str())]);
        let theirs = properties.iter().map(|(name, value)| (canonical(name), value.as_str()));
        let merged: BTreeMap<&str, &str> = ours.chain(theirs).collect();

        let mut config = ClientConfig::new();
        for (name, value) in merged {
            config.set(name, value);
        }
        let native = config.create_native_config().map_err(|error| describe_refusal(&error))?;
        let linger = native.get("queue.buffering.max.ms").ok().and_then(|ms| ms.parse().ok());
        Ok(Self {
            delivery_timeout: check(&native)?,
            // librdkafka takes fractions of a millisecond.
            linger: Duration::from_secs_f64(linger.unwrap_or(0.0) / 1e3),
            config,
        })
    }

    /// The time within which each message is delivered or lost.
    pub(crate) fn delivery_timeout(&self) -> Duration {
        self.delivery_timeout
    }

    /// How long a message may wait for others to be sent with it.
    pub(crate) fn linger(&self) -> Duration {
        self.linger
    }

    /// The properties of a producer, for another client of the same brokers.
    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }
}

/// Refuses what would take the guarantees away; returns the delivery timeout.
fn check(native: &NativeClientConfig) -> Result<Duration, String> {
    // A property that was never set has no value to read.
    let get = |name: &str| native.get(name).unwrap_or_default();
    if get("enable.idempotence") != "true" {
        return Err("`enable.idempotence` must stay `true`: without it a retry may \
                    store a message twice"
            .to_string());
    }
    if get("request.required.acks") != "-1" {
        return Err("`acks` must stay `all`: with less a delivered message may be lost".to_string());
    }
    if !get("transactional.id").is_empty() {
        return Err("`transactional.id` is not supported: no transaction is used".to_string());
    }
    if get("delivery.report.only.error") == "true" {
        return Err("`delivery.report.only.error` must stay `false`: a run ends when every \
                    delivery report is in"
            .to_string());
    }
    match get("message.timeout.ms").parse() {
        Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => Err("`message.timeout.ms` must be above 0, else a run may never end".to_string()),
    }
}

fn canonical(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, canonical)| canonical)
}

fn describe_refusal(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => {
            format!("librdkafka has no property `{name}`")
        }
        KafkaError::ClientConfig(_, _, name, _) => {
            format!("librdkafka refuses the value of `{name}`")
        }
        // No other error comes from setting properties; its text might hold a value.
        _ => "librdkafka refuses the properties".to_string(),
    }
}

/// The producer can't work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProducerError {
    /// librdkafka refuses the combination of properties.
    #[error("the Kafka producer can't be created: {0}; check KAFKA_CONFIG")]
    Create(String),
    /// The topic does not exist.
    #[error("the topic {topic:?} does not exist; create it with `pipectl topics ensure`")]
    TopicMissing {
        /// The topic's name.
        topic: String,
    },
    /// Brokers answer, but not about this topic.
    #[error("Kafka refuses the topic {topic:?}: {reason}")]
    TopicRefused {
        /// The topic's name.
        topic: String,
        /// What the broker says.
        reason: RDKafkaErrorCode,
    },
    /// No broker answers.
    #[error("Kafka can't be reached: {0}; check KAFKA_BOOTSTRAP_SERVERS and KAFKA_CONFIG")]
    Unreachable(String),
}

/// The headers of every message of one run.
#[derive(Debug)]
pub(crate) struct RunHeaders(OwnedHeaders);

impl RunHeaders {
    /// `schema-version` and `run-id`.
    pub(crate) fn new(run_id: &str) -> Self {
        Self(
            OwnedHeaders::new_with_capacity(2)
                .insert(Header { key: HEADER_SCHEMA_VERSION, value: Some(SCHEMA_VERSION) })
                .insert(Header { key: HEADER_RUN_ID, value: Some(run_id) }),
        )
    }
}

/// A producer for one topic. Clones share it.
#[derive(Clone)]
pub(crate) struct Producer {
    inner: ThreadedProducer<Reports>,
    topic: String,
    failed_total: IntCounter,
}

impl Producer {
    /// Starts the client; it connects by itself in the background.
    pub(crate) fn new(
        properties: &Properties,
        topic: &str,
        delivered_total: IntCounter,
        failed_total: IntCounter,
    ) -> Result<Self, ProducerError> {
        let mut config = properties.config.clone();
        // The level of a configuration is taken from the log's when it is made; the properties were
        // read before the log was started.
        config.set_log_level(ClientConfig::new().log_level);
        let errors = ErrorLog::default();
        let reports = Reports { delivered_total, failed_total: failed_total.clone(), errors };
        let inner = config
            .create_with_context(reports)
            .map_err(|error: KafkaError| ProducerError::Create(error.to_string()))?;
        Ok(Self { inner, topic: topic.to_string(), failed_total })
    }

    /// Asks a broker about the topic, for at most 5 s.
    pub(crate) async fn check_topic(&self) -> Result<(), ProducerError> {
        let (inner, topic) = (self.inner.clone(), self.topic.clone());
        // librdkafka blocks the calling thread until the answer is there.
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = inner.client().fetch_metadata(Some(&topic), METADATA_TIMEOUT)?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let error = match found {
                Some(found) => found.error().map(RDKafkaErrorCode::from),
                None => Some(RDKafkaErrorCode::UnknownTopicOrPartition),
            };
            Ok::<_, KafkaError>(error)
        });
        let topic = self.topic.clone();
        match asked.await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(
                RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition,
            ))) => Err(ProducerError::TopicMissing { topic }),
            Ok(Ok(Some(reason))) => Err(ProducerError::TopicRefused { topic, reason }),
            Ok(Err(error)) => Err(ProducerError::Unreachable(error.to_string())),
            Err(aborted) => Err(ProducerError::Unreachable(aborted.to_string())),
        }
    }

    /// Queues one message; its delivery report goes to `tally`. While the queue is full it waits
    /// for room. A message that the client refuses is counted as failed.
    ///
    /// Dropping the future while it waits leaves the message unqueued and uncounted.
    pub(crate) async fn send(&self, payload: &[u8], headers: &RunHeaders, tally: &Arc<Tally>) {
        let record = BaseRecord::<(), [u8], _>::with_opaque_to(&self.topic, Arc::clone(tally))
            .payload(payload)
            .headers(headers.0.clone());
        if !self.enqueue(record, tally).await {
            self.failed_total.inc();
        }
    }

    /// Writes the record of a run to another topic, and waits for its delivery report. The error is
    /// what the report says.
    pub(crate) async fn send_record(
        &self,
        topic: &str,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<(), String> {
        let tally = Arc::new(Tally::of_record());
        let mut record = BaseRecord::with_opaque_to(topic, Arc::clone(&tally)).key(key);
        record.payload = value;
        self.enqueue(record, &tally).await;
        tally.settled().await;
        tally.first_failure().map_or(Ok(()), Err)
    }

    /// Waits for room in the queue; tells whether the message is in it.
    async fn enqueue<K: ToBytes + ?Sized>(
        &self,
        mut record: BaseRecord<'_, K, [u8], Arc<Tally>>,
        tally: &Tally,
    ) -> bool {
        loop {
            tally.queued();
            let Err((error, refused)) = self.inner.send(record) else {
                return true;
            };
            tally.not_queued();
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                tally.refused(&error);
                return false;
            }
            record = refused;
            sleep(QUEUE_FULL_PAUSE).await;
        }
    }

    /// Why no message can ever be produced again by this client, if it is so.
    pub(crate) fn fatal_error(&self) -> Option<String> {
        self.inner.client().fatal_error().map(|(code, reason)| format!("{code}: {reason}"))
    }

    /// Messages, of all runs, that are queued or on their way.
    pub(crate) fn in_flight(&self) -> i64 {
        self.inner.in_flight_count().into()
    }
}

/// Takes the delivery reports, on librdkafka's polling thread.
struct Reports {
    delivered_total: IntCounter,
    failed_total: IntCounter,
    errors: ErrorLog,
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Tally>;

    fn delivery(&self, report: &DeliveryResult<'_>, tally: Arc<Tally>) {
        match report {
            Ok(_) => {
                if !tally.is_of_record() {
                    self.delivered_total.inc();
                }
                tally.delivered();
            }
            Err((error, _message)) => {
                if !tally.is_of_record() {
                    self.failed_total.inc();
                }
                tally.failed(error);
            }
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        service_kit::log::kafka_client(level as u8, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => {
                tracing::error!(target: "librdkafka", reason, "kafka client failed for good");
            }
            Some(code) if !self.errors.is_due(code, Instant::now()) => {
                tracing::debug!(target: "librdkafka", %error, reason, "kafka client error");
            }
            _ => tracing::warn!(target: "librdkafka", %error, reason, "kafka client error"),
        }
    }
}

/// Remembers which errors were logged lately. While no broker answers, librdkafka reports the same
/// error some twenty times a second, each twice.
#[derive(Default)]
struct ErrorLog {
    /// By librdkafka's error number.
    logged_at: Mutex<HashMap<i32, Instant>>,
}

impl ErrorLog {
    /// Whether an error with this code is to be logged at `now`: the first one, then one in 30 s.
    fn is_due(&self, code: RDKafkaErrorCode, now: Instant) -> bool {
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = logged_at
            .get(&(code as i32))
            .is_none_or(|last| now.saturating_duration_since(*last) >= ERROR_LOG_PERIOD);
        if is_due {
            logged_at.insert(code as i32, now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests;
