//! The brokers, as the tool asks them. With its submodules the only place that names rdkafka.
//!
//! Nothing here joins a consumer group or commits: an audit never disturbs the sink. Only
//! [`Admin`] and [`Replayer`] write.

mod admin;
mod letters;
mod log;
mod markers;
mod replayer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chunk_ledger::{Offset, OffsetRange, Partition};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataPartition, MetadataTopic};
use rdkafka::topic_partition_list::TopicPartitionList;

pub use admin::{Admin, Created};
pub use letters::{DeadLetterLog, Header, Letter, LetterId, Unreadable};
pub use markers::{Replayed, Session, replayed_topic_of};
pub use replayer::{Replay, ReplayError, Replayer};

/// Pause between two questions whose answer is still to change.
const POLL_PAUSE: Duration = Duration::from_millis(200);

/// Bounds on reading librdkafka's complaints after a failure.
const COMPLAINTS_MAX: usize = 20;
const COMPLAINTS_WAIT: Duration = Duration::from_millis(20);

/// How to reach the brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `host:port,host:port`.
    pub bootstrap_servers: String,
    /// Further librdkafka properties.
    pub properties: Vec<(String, String)>,
    /// Longest wait for one answer.
    pub timeout: Duration,
}

/// Why the brokers could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// librdkafka does not take a property.
    #[error("KAFKA_CONFIG is refused: {0}")]
    Config(String),
    /// Nobody answered.
    #[error(
        "no broker of KAFKA_BOOTSTRAP_SERVERS={servers:?} answered within {timeout:?}: {detail}"
    )]
    Unreachable {
        /// Where the client started from.
        servers: String,
        /// How long it tried.
        timeout: Duration,
        /// librdkafka's last complaint.
        detail: String,
    },
    /// The topic does not exist.
    #[error("topic {0:?} does not exist on the brokers; `pipectl topics ensure` creates it")]
    NoTopic(String),
    /// A broker refused.
    #[error("{what}: {detail}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What the broker answered.
        detail: String,
    },
    /// The brokers are not ready for it yet.
    #[error("{what}: {detail}")]
    NotReady {
        /// What was asked for.
        what: String,
        /// What is lacking.
        detail: String,
    },
    /// A broker of another kind, such as librdkafka's mock cluster.
    #[error(
        "these brokers do not support Kafka's admin API ({0}), as embedded test brokers do not: \
         create the topics by the brokers' own means"
    )]
    NoAdminApi(&'static str),
    /// The task that asks the brokers ended early.
    #[error("the task that asks the brokers ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl ClusterError {
    /// Whether the same question may go better a moment later.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NotReady { .. })
    }
}

/// Where the log of a partition lies and what the group has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// What the group has committed: the next offset that it would read.
    pub committed: Option<Offset>,
    /// From the first offset that Kafka still holds to the next one that it will assign.
    pub log: OffsetRange,
}

/// The brokers and the topics that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// Ids of the brokers.
    pub brokers: Vec<i32>,
    /// Topics by name.
    pub topics: BTreeMap<String, TopicDescription>,
}

/// A topic as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Replicas of each partition, by partition.
    pub replicas: Vec<usize>,
    /// Partitions that nobody leads.
    pub leaderless: Vec<i32>,
}

/// A connection to the brokers. Its calls block.
pub struct Cluster {
    consumer: BaseConsumer<Complaints>,
    config: KafkaConfig,
    /// Empty without one.
    group: String,
}

impl Cluster {
    /// Makes no request yet. `group` is the group whose commits are asked for, if any.
    pub fn connect(config: &KafkaConfig, group: Option<&str>) -> Result<Self, ClusterError> {
        let mut client = client_config(config);
        client
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            // What a replay has not committed was not sent, and may never be.
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false");
        // Reading needs a name, although nothing joins the group or commits for it.
        client.set("group.id", group.unwrap_or("pipectl"));
        let consumer = client
            .create_with_context::<_, BaseConsumer<Complaints>>(Complaints::default())
            .map_err(refused_config)?;
        let group = group.unwrap_or_default().to_owned();
        Ok(Self { consumer, config: config.clone(), group })
    }

    /// The brokers and the topics that there are.
    pub fn overview(&self) -> Result<Overview, ClusterError> {
        let metadata = self.metadata(None)?;
        let exists = |topic: &&MetadataTopic| !is_missing(topic.error().map(Into::into));
        let topics = metadata.topics().iter().filter(exists);
        let topics = topics.map(|topic| (topic.name().to_owned(), describe(topic.partitions())));
        let brokers = metadata.brokers().iter().map(|broker| broker.id());
        Ok(Overview { brokers: brokers.collect(), topics: topics.collect() })
    }

    /// The partitions of `topic`, ascending; `None` if there is no such topic.
    pub fn partitions(&self, topic: &str) -> Result<Option<Vec<Partition>>, ClusterError> {
        let metadata = self.metadata(Some(topic))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            code if is_missing(code) => Ok(None),
            Some(code) => Err(refused(format!("can't describe topic {topic:?}"), &code)),
            None => {
                let mut partitions: Vec<Partition> =
                    found.partitions().iter().map(|partition| Partition(partition.id())).collect();
                partitions.sort_unstable();
                Ok(Some(partitions))
            }
        }
    }

    /// What the group has committed for each of `partitions`.
    pub fn committed(
        &self,
        topic: &str,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Option<Offset>>, ClusterError> {
        let what = || format!("can't read the commits of group {:?}", self.group);
        let mut wanted = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            wanted.add_partition(topic, partition.0);
        }
        let answer =
            self.persist(what, |left| self.consumer.committed_offsets(wanted.clone(), left))?;
        let mut committed = BTreeMap::new();
        for element in answer.elements() {
            element.error().map_err(|error| refused(what(), &error))?;
            let offset = element.offset().to_raw().filter(|offset| *offset >= 0).map(Offset);
            committed.insert(Partition(element.partition()), offset);
        }
        Ok(committed)
    }

    /// The offsets that Kafka holds of `partition`.
    pub fn log_range(
        &self,
        topic: &str,
        partition: Partition,
    ) -> Result<OffsetRange, ClusterError> {
        let what =
            || format!("can't read where the log of partition {partition} of {topic:?} lies");
        let (start, end) =
            self.persist(what, |left| self.consumer.fetch_watermarks(topic, partition.0, left))?;
        Ok(OffsetRange { start: Offset(start), end: Offset(end) })
    }

    fn metadata(&self, topic: Option<&str>) -> Result<Metadata, ClusterError> {
        self.consumer.fetch_metadata(topic, self.config.timeout).map_err(|error| {
            match error.rdkafka_error_code() {
                Some(code) if is_passing(code) => self.unreachable(&error),
                _ => refused("can't read the brokers' metadata".to_owned(), &error),
            }
        })
    }

    /// Repeats a question while the answer is a passing trouble, up to the timeout.
    fn persist<T>(
        &self,
        what: impl Fn() -> String,
        ask: impl Fn(Duration) -> KafkaResult<T>,
    ) -> Result<T, ClusterError> {
        let deadline = Instant::now() + self.config.timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match ask(left.max(POLL_PAUSE)) {
                Ok(answer) => return Ok(answer),
                Err(error) => match error.rdkafka_error_code() {
                    Some(code) if is_passing(code) && left > POLL_PAUSE => {
                        std::thread::sleep(POLL_PAUSE);
                    }
                    Some(code) if is_passing(code) => return Err(self.unreachable(&error)),
                    _ => return Err(refused(what(), &error)),
                },
            }
        }
    }

    /// librdkafka says why a connection fails in its log only, which is served by polling.
    fn unreachable(&self, error: &KafkaError) -> ClusterError {
        for _ in 0..COMPLAINTS_MAX {
            if self.consumer.poll(COMPLAINTS_WAIT).is_none() {
                break;
            }
        }
        ClusterError::Unreachable {
            servers: self.config.bootstrap_servers.clone(),
            timeout: self.config.timeout,
            detail: self.consumer.context().last().unwrap_or_else(|| error.to_string()),
        }
    }
}

/// What every client needs; the caller's properties come first, so that ours stand.
fn client_config(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    for (key, value) in &config.properties {
        client.set(key, value);
    }
    client.set("bootstrap.servers", &config.bootstrap_servers);
    client
}

/// The value of a property may be a secret, and librdkafka quotes it.
fn refused_config(error: KafkaError) -> ClusterError {
    ClusterError::Config(match error {
        KafkaError::ClientConfig(_, problem, key, value) => match problem.contains(&value) {
            true => format!("the value of {key} is not acceptable"),
            false => format!("{key}: {problem}"),
        },
        error => error.to_string(),
    })
}

fn refused(what: String, detail: &impl ToString) -> ClusterError {
    ClusterError::Refused { what, detail: detail.to_string() }
}

/// A refusal by this code, or the brokers' not being ready.
fn answered(what: String, code: RDKafkaErrorCode) -> ClusterError {
    let detail = code.to_string();
    match is_passing(code) {
        true => ClusterError::NotReady { what, detail },
        false => ClusterError::Refused { what, detail },
    }
}

fn is_missing(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode::{UnknownTopic, UnknownTopicOrPartition};
    matches!(code, Some(UnknownTopic | UnknownTopicOrPartition))
}

/// Whether an answer may be another one a moment later.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::WaitingForCoordinator
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator
            | Code::NotController
            | Code::OffsetNotAvailable
            | Code::NetworkException
    )
}

fn describe(partitions: &[MetadataPartition]) -> TopicDescription {
    let leaderless = partitions.iter().filter(|partition| partition.leader() < 0);
    TopicDescription {
        replicas: partitions.iter().map(|partition| partition.replicas().len()).collect(),
        leaderless: leaderless.map(|partition| partition.id()).collect(),
    }
}

/// Remembers librdkafka's last complaint, and logs what it says at `debug`.
#[derive(Debug, Default, Clone)]
struct Complaints(Arc<Mutex<Option<String>>>);

impl Complaints {
    fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, text: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
    }
}

impl ClientContext for Complaints {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if (level as i32) <= RDKafkaLogLevel::Warning as i32 {
            // `[thrd:host:port/bootstrap]: what happened`: the thread helps nobody.
            self.remember(text.split_once("]: ").map_or(text, |(_, what)| what));
        }
        tracing::debug!(target: "librdkafka", facility, "{text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Complaints {}
