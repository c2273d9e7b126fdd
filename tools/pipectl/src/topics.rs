//! `topics ensure`: creates what is missing, and names how what exists differs. It never changes a
//! topic that exists: more partitions move keys, and a replication is the operators' decision.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::kafka::{
    Admin, Cluster, ClusterError, Created, KafkaConfig, Overview, TopicDescription,
};

const POLL_PAUSE: Duration = Duration::from_millis(200);

/// Time runs forward inside a partition only if the brokers stamp the messages.
const TIMESTAMP_TYPE: (&str, &str) = ("message.timestamp.type", "LogAppendTime");
/// A letter of ten times the usual limit still gets through; no letter expires.
const DEAD_LETTERS: [(&str, &str); 2] = [("max.message.bytes", "10485760"), ("retention.ms", "-1")];
/// Of each key the last message stays, for good.
const COMPACTED: (&str, &str) = ("cleanup.policy", "compact");
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// Which topics, on which brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnsureConfig {
    /// The brokers.
    pub kafka: KafkaConfig,
    /// The topics wanted.
    pub topics: Vec<TopicSpec>,
}

/// A topic as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// Replicas of each partition.
    pub replication: i32,
    /// Configuration entries, by name.
    pub config: BTreeMap<&'static str, String>,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// Its partitions.
    pub description: TopicDescription,
    /// Its configuration, defaults included.
    pub config: BTreeMap<String, String>,
}

/// How one topic fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The topic wanted.
    pub spec: TopicSpec,
    /// What was found or done.
    pub result: EnsureResult,
}

/// What was found or done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnsureResult {
    /// It was missing and is created; each partition has a leader.
    Created,
    /// It exists, as wanted.
    AsWanted,
    /// It exists and differs; it is left as it is.
    Differs(Vec<Difference>),
    /// It is missing, and was not created because another topic differs.
    LeftMissing,
}

/// One way in which a topic differs from what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `partitions`, `replication` or the name of a configuration entry.
    pub property: String,
    /// What it is.
    pub found: String,
    /// What it should be.
    pub wanted: String,
    /// What to do about it.
    pub remedy: String,
}

/// Creates the topics that are missing, unless one that exists differs. Waits for the brokers, for
/// as many of them as there are to be replicas, and for a leader of each new partition, no longer
/// than the timeout; a question that is under way then is waited for.
pub async fn ensure(config: &EnsureConfig) -> Result<Vec<Outcome>, ClusterError> {
    let deadline = Instant::now() + config.kafka.timeout;
    let cluster = Arc::new(Cluster::connect(&config.kafka, None)?);
    let admin = Admin::connect(&config.kafka)?;
    let brokers = Brokers { cluster, admin, deadline };
    let mut results = Vec::new();
    for spec in &config.topics {
        results.push(brokers.compare(spec).await?.unwrap_or(EnsureResult::LeftMissing));
    }
    if !results.iter().any(|result| matches!(result, EnsureResult::Differs(_))) {
        for (spec, result) in config.topics.iter().zip(&mut results) {
            if *result == EnsureResult::LeftMissing {
                *result = brokers.create(spec).await?;
            }
        }
    }
    let outcomes = config.topics.iter().cloned().zip(results);
    Ok(outcomes.map(|(spec, result)| Outcome { spec, result }).collect())
}

/// How `state` differs from `spec`.
pub fn differences(spec: &TopicSpec, state: &TopicState) -> Vec<Difference> {
    let name = &spec.name;
    let mut differences = Vec::new();
    let mut differs = |property: &str, found: String, wanted: String, remedy: String| {
        differences.push(Difference { property: property.to_owned(), found, wanted, remedy });
    };
    let found = state.description.replicas.len();
    if found != spec.partitions as usize {
        let remedy = match found < spec.partitions as usize {
            true => format!(
                "`kafka-topics.sh --alter --topic {name} --partitions {}` adds the missing ones",
                spec.partitions
            ),
            false => format!("ask for {found}: Kafka can't take partitions away"),
        };
        differs("partitions", found.to_string(), spec.partitions.to_string(), remedy);
    }
    let replicas: BTreeSet<usize> = state.description.replicas.iter().copied().collect();
    if replicas.iter().any(|found| *found != spec.replication as usize) {
        let found: Vec<String> = replicas.iter().map(usize::to_string).collect();
        let remedy = "`kafka-reassign-partitions.sh` changes it".to_owned();
        differs("replication", found.join(" or "), spec.replication.to_string(), remedy);
    }
    for (entry, wanted) in &spec.config {
        let found = state.config.get(*entry);
        if found != Some(wanted) {
            let remedy = format!(
                "`kafka-configs.sh --alter --entity-type topics --entity-name {name} \
                 --add-config {entry}={wanted}` sets it"
            );
            let found = found.map_or("not set", String::as_str).to_owned();
            differs(entry, found, wanted.clone(), remedy);
        }
    }
    differences
}

impl TopicSpec {
    /// A topic whose messages the brokers stamp.
    pub fn new(name: String, partitions: i32, replication: i32, min_insync_replicas: i32) -> Self {
        let (entry, value) = TIMESTAMP_TYPE;
        let config = BTreeMap::from([
            (entry, value.to_owned()),
            (MIN_INSYNC_REPLICAS, min_insync_replicas.to_string()),
        ]);
        Self { name, partitions, replication, config }
    }

    /// A topic for dead letters: larger than the messages that they were, since headers come on
    /// top, and kept until somebody has looked.
    #[must_use]
    pub fn for_dead_letters(mut self) -> Self {
        self.config.extend(DEAD_LETTERS.map(|(entry, value)| (entry, value.to_owned())));
        self
    }

    /// A topic of which Kafka keeps the last message of each key, for good.
    #[must_use]
    pub fn compacted(mut self) -> Self {
        let (entry, value) = COMPACTED;
        self.config.insert(entry, value.to_owned());
        self
    }
}

impl Outcome {
    /// Whether the topic is there now, as wanted.
    pub const fn is_as_wanted(&self) -> bool {
        matches!(self.result, EnsureResult::Created | EnsureResult::AsWanted)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TopicSpec { name, partitions, replication, config } = &self.spec;
        match &self.result {
            EnsureResult::Created => {
                write!(f, "{name}: created, partitions={partitions}, replication={replication}")?;
                config.iter().try_for_each(|(entry, value)| write!(f, ", {entry}={value}"))
            }
            EnsureResult::AsWanted => write!(f, "{name}: exists, as wanted"),
            EnsureResult::LeftMissing => {
                write!(f, "{name}: missing, not created because another topic differs")
            }
            EnsureResult::Differs(differences) => {
                write!(f, "{name}: exists and differs, nothing was changed")?;
                differences.iter().try_for_each(|difference| write!(f, "\n  {difference}"))
            }
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { property, found, wanted, remedy } = self;
        write!(f, "{property} is {found}, wanted {wanted}: {remedy}")
    }
}

/// The brokers, and how long they are waited for: those that start together become known one by
/// one, and answer this and that question later than the first one.
struct Brokers {
    cluster: Arc<Cluster>,
    admin: Admin,
    deadline: Instant,
}

impl Brokers {
    /// A topic that exists against what is wanted; `None` if there is no such topic.
    async fn compare(&self, spec: &TopicSpec) -> Result<Option<EnsureResult>, ClusterError> {
        let state = self.patiently(async || self.state(&spec.name).await).await?;
        Ok(state.map(|state| match differences(spec, &state) {
            differences if differences.is_empty() => EnsureResult::AsWanted,
            differences => EnsureResult::Differs(differences),
        }))
    }

    async fn create(&self, spec: &TopicSpec) -> Result<EnsureResult, ClusterError> {
        let what = || format!("can't create topic {:?}", spec.name);
        let created = self
            .patiently(async || match self.admin.create(spec).await? {
                Created::TooFewBrokers => {
                    let detail = format!(
                        "a replication of {} needs as many brokers, the cluster has {}: \
                         start more, or lower --replication and --min-insync-replicas",
                        spec.replication,
                        self.overview().await?.brokers.len()
                    );
                    Err(ClusterError::NotReady { what: what(), detail })
                }
                created => Ok(created),
            })
            .await?;
        self.patiently(async || {
            let detail = match self.overview().await?.topics.get(&spec.name) {
                None => "it was created, but the brokers do not show it yet".to_owned(),
                Some(TopicDescription { leaderless, .. }) if !leaderless.is_empty() => {
                    format!("it was created, but nobody leads its partitions {leaderless:?} yet")
                }
                Some(_) => return Ok(()),
            };
            Err(ClusterError::NotReady { what: what(), detail })
        })
        .await?;
        match created {
            Created::Yes => Ok(EnsureResult::Created),
            // By somebody else, or by us if that answer was lost: it is what it is.
            _ => Ok(self.compare(spec).await?.unwrap_or(EnsureResult::LeftMissing)),
        }
    }

    async fn state(&self, topic: &str) -> Result<Option<TopicState>, ClusterError> {
        let overview = self.overview().await?;
        let Some(broker) = overview.brokers.first() else {
            let what = format!("can't describe topic {topic:?}");
            let detail = "the cluster has no brokers".to_owned();
            return Err(ClusterError::NotReady { what, detail });
        };
        let config = self.admin.configuration(topic, *broker).await?;
        let description = overview.topics.get(topic).cloned();
        Ok(description.zip(config).map(|(description, config)| TopicState { description, config }))
    }

    async fn overview(&self) -> Result<Overview, ClusterError> {
        let cluster = Arc::clone(&self.cluster);
        tokio::task::spawn_blocking(move || cluster.overview()).await?
    }

    /// Repeats a question while its answer is a passing trouble, until the deadline.
    async fn patiently<T>(
        &self,
        ask: impl AsyncFn() -> Result<T, ClusterError>,
    ) -> Result<T, ClusterError> {
        let mut said = None;
        loop {
            let error = match ask().await {
                Err(error) if error.is_passing() && Instant::now() < self.deadline => error,
                result => return result,
            };
            let text = error.to_string();
            if said.as_ref() != Some(&text) {
                tracing::info!(error = text, "brokers not ready, asking again");
                said = Some(text);
            }
            sleep(POLL_PAUSE).await;
        }
    }
}

#[cfg(test)]
#[path = "topics_tests.rs"]
mod tests;
