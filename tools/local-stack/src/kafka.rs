//! A Kafka cluster inside the process: librdkafka's mock brokers on real sockets of 127.0.0.1.
//!
//! What it is not: it keeps nothing over a restart, drops a partition's oldest messages past 5 MiB
//! or 100,000 messages, keeps the producer's timestamps (no `LogAppendTime`), and has no admin API,
//! so topics are created here and can't be deleted.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
pub use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::net::TcpSocket;

use crate::listen;

/// Brokers of a cluster unless told otherwise; as many replicas are the most a topic gets.
const BROKERS: i32 = 3;

/// The topic of the ingestor's run history, unless it is told otherwise.
const RUNS: &str = "ingestor.runs";

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its partitions, at least one.
    pub partitions: i32,
}

impl Topic {
    /// A topic with so many partitions.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self { name: name.into(), partitions }
    }
}

/// How the cluster is set up.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// Brokers, with the ids 1, 2, …
    pub brokers: i32,
    /// The topics that it starts with. The first is the one that [`LocalStack::env`] names.
    ///
    /// [`LocalStack::env`]: crate::LocalStack::env
    pub topics: Vec<Topic>,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self::with_topic("names_topic", 6)
    }
}

impl KafkaOptions {
    /// Three brokers, the topic, and what else `pipectl topics ensure` makes, with one partition
    /// each: its dead letters, those of them that were replayed, and the ingestor's runs.
    pub fn with_topic(name: &str, partitions: i32) -> Self {
        let others = [format!("{name}.dlq"), format!("{name}.dlq.replayed"), RUNS.to_owned()];
        let others = others.into_iter().map(|name| Topic::new(name, 1));
        let topics = [Topic::new(name, partitions)].into_iter().chain(others).collect();
        Self { brokers: BROKERS, topics }
    }
}

/// A failure of the mock cluster.
#[derive(Debug, thiserror::Error)]
pub enum KafkaClusterError {
    /// The brokers can't be started.
    #[error("the mock cluster of {brokers} brokers can't start")]
    Start {
        /// The number of brokers asked for.
        brokers: i32,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// A topic is refused.
    #[error("topic {name:?} with {partitions} partitions can't be created; does it exist?")]
    CreateTopic {
        /// The topic's name.
        name: String,
        /// The partitions asked for.
        partitions: i32,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// Another call is refused.
    #[error("the mock cluster refuses: {what}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// The port of a broker that is down can't be kept for it.
    #[error("the port of a broker that is down can't be kept for it")]
    Port(#[source] io::Error),
    /// The thread of the cluster can't be started.
    #[error("the mock cluster's thread can't start")]
    Thread(#[source] io::Error),
    /// The thread of the cluster has ended.
    #[error("the mock cluster's thread has ended")]
    Gone,
}

type Cluster = MockCluster<'static, DefaultProducerContext>;
type Call = Box<dyn FnOnce(&mut Cluster) + Send>;

/// A running cluster. Dropping it ends it.
///
/// The mock's handle must stay on one thread and lives as long as its brokers, so it has a thread of
/// its own that runs the calls sent to it.
#[derive(Debug)]
pub struct KafkaCluster {
    options: KafkaOptions,
    calls: Option<mpsc::Sender<Call>>,
    thread: Option<JoinHandle<()>>,
    /// The ports of brokers that are down.
    held: Mutex<BTreeMap<i32, TcpSocket>>,
}

impl KafkaCluster {
    /// Starts the brokers and creates the topics.
    pub fn start(options: KafkaOptions) -> Result<Self, KafkaClusterError> {
        let (calls, next_call) = mpsc::channel::<Call>();
        let (report, started) = mpsc::channel();
        let for_thread = options.clone();
        let thread = thread::Builder::new()
            .name("mock-kafka".to_owned())
            .spawn(move || {
                let mut cluster = match new_cluster(&for_thread) {
                    Ok(cluster) => cluster,
                    Err(error) => return drop(report.send(Err(error))),
                };
                if report.send(Ok(())).is_ok() {
                    // Ends when the sender is dropped.
                    next_call.iter().for_each(|call| call(&mut cluster));
                }
            })
            .map_err(KafkaClusterError::Thread)?;
        started.recv().map_err(|_| KafkaClusterError::Gone)??;
        Ok(Self { options, calls: Some(calls), thread: Some(thread), held: Mutex::default() })
    }

    /// The brokers, as `host:port,…`.
    pub fn bootstrap_servers(&self) -> Result<String, KafkaClusterError> {
        self.call(|cluster| cluster.bootstrap_servers())
    }

    /// How it was set up.
    pub fn options(&self) -> &KafkaOptions {
        &self.options
    }

    /// Creates a topic with as many replicas as there are brokers, up to three.
    pub fn create_topic(&self, topic: &Topic) -> Result<(), KafkaClusterError> {
        let (topic, replicas) = (topic.clone(), self.options.brokers.min(BROKERS));
        self.call(move |cluster| create_topic(cluster, &topic, replicas))?
    }

    /// Starts anew with an empty cluster and the topics of the options, which is how a recreated
    /// topic looks: offsets from 0, no committed offset. The brokers have new addresses.
    pub fn recreate(&self) -> Result<(), KafkaClusterError> {
        let options = self.options.clone();
        self.held().clear();
        self.call(move |cluster| {
            *cluster = new_cluster(&options)?;
            Ok(())
        })?
    }

    /// Cuts the connections of a broker (-1: of all) and refuses new ones. Leaders stay where they
    /// are: move them with [`partition_leader`](Self::partition_leader).
    pub fn broker_down(&self, broker: i32) -> Result<(), KafkaClusterError> {
        self.ask(format!("broker {broker} down"), move |cluster| cluster.broker_down(broker))?;
        let servers = self.bootstrap_servers()?;
        for (id, address) in (1..).zip(servers.split(',')) {
            if broker == -1 || broker == id {
                let address = address.parse().map_err(io::Error::other);
                let port = address.and_then(listen::hold).map_err(KafkaClusterError::Port)?;
                self.held().insert(id, port);
            }
        }
        Ok(())
    }

    /// Lets a broker (-1: all) accept connections again.
    pub fn broker_up(&self, broker: i32) -> Result<(), KafkaClusterError> {
        self.ask(format!("broker {broker} up"), move |cluster| cluster.broker_up(broker))?;
        self.held().retain(|id, _| broker != -1 && broker != *id);
        Ok(())
    }

    /// Makes a broker (-1: all) answer so much later.
    pub fn round_trip_time(&self, broker: i32, delay: Duration) -> Result<(), KafkaClusterError> {
        self.ask(format!("broker {broker} with a round trip of {delay:?}"), move |cluster| {
            cluster.broker_round_trip_time(broker, delay)
        })
    }

    /// Moves a partition to another leader; `None` leaves it without one.
    pub fn partition_leader(
        &self,
        topic: &str,
        partition: i32,
        broker: Option<i32>,
    ) -> Result<(), KafkaClusterError> {
        let topic = topic.to_owned();
        self.ask(format!("leader of {topic}/{partition}: {broker:?}"), move |cluster| {
            cluster.partition_leader(&topic, partition, broker)
        })
    }

    /// Chooses the broker that coordinates a consumer group.
    pub fn group_coordinator(&self, group: &str, broker: i32) -> Result<(), KafkaClusterError> {
        let group = group.to_owned();
        self.ask(format!("broker {broker} as coordinator of {group:?}"), move |cluster| {
            cluster.coordinator(MockCoordinator::Group(group), broker)
        })
    }

    /// Answers the next requests of a kind with these errors, one each. A transport error cuts the
    /// connection.
    pub fn request_errors(
        &self,
        api_key: RDKafkaApiKey,
        errors: &[RDKafkaRespErr],
    ) -> Result<(), KafkaClusterError> {
        let errors = errors.to_vec();
        self.call(move |cluster| cluster.request_errors(api_key, &errors))
    }

    /// Forgets the errors still to come for a kind of request.
    pub fn clear_request_errors(&self, api_key: RDKafkaApiKey) -> Result<(), KafkaClusterError> {
        self.call(move |cluster| cluster.clear_request_errors(api_key))
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<i32, TcpSocket>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(
        &self,
        what: String,
        call: impl FnOnce(&Cluster) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), KafkaClusterError> {
        self.call(move |cluster| call(cluster))?
            .map_err(|source| KafkaClusterError::Refused { what, source })
    }

    /// Runs `call` on the cluster's thread and waits for its result.
    fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Cluster) -> T + Send + 'static,
    ) -> Result<T, KafkaClusterError> {
        let (answer, answered) = mpsc::channel();
        let calls = self.calls.as_ref().ok_or(KafkaClusterError::Gone)?;
        calls
            .send(Box::new(move |cluster| {
                // The caller waits below, so the answer is taken.
                let _ = answer.send(call(cluster));
            }))
            .map_err(|_| KafkaClusterError::Gone)?;
        answered.recv().map_err(|_| KafkaClusterError::Gone)
    }
}

impl Drop for KafkaCluster {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the mock cluster's thread panicked");
        }
    }
}

fn new_cluster(options: &KafkaOptions) -> Result<Cluster, KafkaClusterError> {
    let brokers = options.brokers;
    let cluster =
        MockCluster::new(brokers).map_err(|source| KafkaClusterError::Start { brokers, source })?;
    for topic in &options.topics {
        create_topic(&cluster, topic, brokers.min(BROKERS))?;
    }
    Ok(cluster)
}

fn create_topic(cluster: &Cluster, topic: &Topic, replicas: i32) -> Result<(), KafkaClusterError> {
    let Topic { name, partitions } = topic;
    cluster.create_topic(name, *partitions, replicas).map_err(|source| {
        KafkaClusterError::CreateTopic { name: name.clone(), partitions: *partitions, source }
    })
}
