//! One test's world: the parts, embedded or real, sinks on them, messages of every kind, and the
//! verdict.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use local_stack::s3::{Operation, S3Action, S3Fault, S3Server};
use local_stack::{KafkaOptions, LocalStack, Network, Options, S3Options};
use pipeline_model::{Person, message};
use rdkafka::ClientConfig;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::cluster::Cluster;
use crate::flow::Flow;
use crate::oracle::{self, Coordinates, Sent, Verdict};
use crate::process::{PATIENCE, Process};
use crate::{rows, tally, wait_for};

/// The topic of scenarios on embedded parts.
pub const TOPIC: &str = "names_topic";
/// The metric of how many partitions a sink has.
pub const ASSIGNED: &str = "s3_sink_partitions_assigned";
/// Short, so that partitions of a killed sink move soon.
const SESSION: &str = "session.timeout.ms=6000,heartbeat.interval.ms=500";

/// The world of one test. Its folder, with every log and the bucket, stays for a look.
pub struct Scenario {
    /// On a real cluster it holds what stands in front of it.
    stack: LocalStack,
    cluster: Option<Cluster>,
    topic: String,
    /// Where the bucket's objects lie.
    objects: PathBuf,
    folder: PathBuf,
}

/// A message to produce.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Where to.
    pub partition: i32,
    /// `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// In ms; `None` for now.
    pub timestamp: Option<i64>,
    /// Headers.
    pub headers: Vec<(String, String)>,
}

impl NewMessage {
    /// A valid message that is different for each `number`.
    pub fn valid(partition: i32, number: u64) -> Result<Self> {
        let mut payload = Vec::new();
        message::encode(&person(number), &mut payload)?;
        Ok(Self { partition, payload: Some(payload), timestamp: None, headers: Vec::new() })
    }

    /// A valid message of 6 KB, different for each `number`. Six fields hold the same noise: a row
    /// takes 4.5 KB in Parquet, which packs each column by itself, and the message 1 KB in Kafka,
    /// of which the embedded one keeps 5 MiB a partition.
    pub fn bulky(partition: i32, number: u64) -> Result<Self> {
        const NOISE_BYTES: usize = 1000;
        let mut random = fastrand::Rng::with_seed(number);
        let noise: String =
            std::iter::repeat_with(|| random.alphanumeric()).take(NOISE_BYTES).collect();
        let person = Person {
            name: noise.clone(),
            gender: noise.clone(),
            address: noise.clone(),
            city: noise.clone(),
            nation: noise.clone(),
            email: noise,
            ..person(number)
        };
        let mut payload = Vec::new();
        message::encode(&person, &mut payload)?;
        Ok(Self { partition, payload: Some(payload), timestamp: None, headers: Vec::new() })
    }

    /// A message with this payload.
    pub fn raw(partition: i32, payload: impl Into<Vec<u8>>) -> Self {
        Self { partition, payload: Some(payload.into()), timestamp: None, headers: Vec::new() }
    }
}

/// A person that is different for each `number`, with text of several scripts.
pub fn person(number: u64) -> Person {
    const NAMES: [&str; 5] = ["Zoé", "احسان", "Олександра", "O'Neil \"Jr\"", "Çağan  "];
    let name = NAMES[number as usize % NAMES.len()];
    Person {
        name: format!("Ms. {name} {number}"),
        gender: if number.is_multiple_of(2) { "female" } else { "male" }.to_owned(),
        address: format!("{number}, Rue Haute"),
        city: format!("City {}", number % 100),
        nation: format!("Nation {}", number % 21),
        zip: pipeline_model::zip_of_postcode(&number.to_string()),
        latitude: (number % 1_800_000) as f64 / 10_000.0 - 90.0,
        longitude: (number % 3_600_000) as f64 / 10_000.0 - 180.0,
        email: format!("person.{number}@example.com"),
    }
}

impl Scenario {
    /// The embedded stack with a topic of `partitions`, in a fresh folder of its own.
    pub fn start(name: &str, partitions: i32) -> Result<Self> {
        let folder = fresh_folder(&format!("e2e/{name}"))?;
        let stack = LocalStack::start(Options {
            kafka: Some(KafkaOptions::with_topic(TOPIC, partitions)),
            ..Options::new(folder.join("stack"))
        })?;
        let s3 = stack.s3().context("the stack has no store")?;
        Ok(Self {
            cluster: None,
            topic: TOPIC.to_owned(),
            objects: s3.objects_dir().join(&s3.options().bucket),
            stack,
            folder,
        })
    }

    /// Real brokers, and a real store behind a plan of faults, with a fresh topic of `partitions`.
    pub fn on_cluster(cluster: Cluster, name: &str, partitions: i32) -> Result<Self> {
        let folder = fresh_folder(&format!("cluster-tests/{name}"))?;
        let facts = cluster.facts();
        // Runs of the same cluster must not meet.
        let topic = format!("{name}-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
        println!("{name}: topic {topic}, logs in {}", folder.display());
        let s3 = S3Options {
            bucket: facts.bucket.clone(),
            access_key: facts.access_key.clone(),
            secret_key: facts.secret_key.clone(),
            upstream: Some(facts.store.parse()?),
            ..S3Options::default()
        };
        let stack = LocalStack::start(Options {
            kafka: None,
            s3: Some(s3),
            proxies: if cluster.is_alone() { facts.proxies() } else { Vec::new() },
            ..Options::new(folder.join("stack"))
        })?;
        let scenario = Self {
            objects: facts.objects.join(&topic),
            cluster: Some(cluster),
            topic,
            stack,
            folder,
        };
        scenario.ensure_topics(partitions)?;
        Ok(scenario)
    }

    /// Creates what is missing of the topic, its dead letters and the rest, by `pipectl`.
    pub fn ensure_topics(&self, partitions: i32) -> Result<()> {
        let arguments = ["topics", "ensure", "--partitions", &partitions.to_string()];
        let environment = self.environment(&[])?;
        Process::start("pipectl", &arguments, &environment, &self.folder, "topics")?.wait_success()
    }

    /// The real parts, where the scenario is on them.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_ref().context("this scenario is on embedded parts")
    }

    /// `KAFKA_BOOTSTRAP_SERVERS` of a client whose network [`set_network`](Self::set_network) sets. A
    /// test with the cluster for itself has it.
    pub fn proxied_servers(&self) -> String {
        let servers = self.stack.proxies().iter().map(|proxy| proxy.address().to_string());
        servers.collect::<Vec<_>>().join(",")
    }

    /// What the network between proxied clients and all brokers does from now on.
    pub fn set_network(&self, network: Network) {
        for proxy in self.stack.proxies() {
            proxy.set(network);
        }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The embedded parts.
    pub fn stack(&self) -> &LocalStack {
        &self.stack
    }

    /// The embedded store.
    pub fn s3(&self) -> Result<&S3Server> {
        self.stack.s3().context("the stack has no store")
    }

    /// Where logs go.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder below which the objects lie as plain files.
    pub fn objects(&self) -> &Path {
        &self.objects
    }

    /// Holds the next write of a chunk by `operation` before the store's door, until the fault plan
    /// lets it in.
    pub fn hold(&self, operation: Operation) -> Result<()> {
        let fault = S3Fault::new(S3Action::Hold).on(operation).key_contains("date=");
        self.s3()?.faults().push(fault);
        Ok(())
    }

    /// Waits until one request is held there.
    pub fn wait_held(&self) -> Result<()> {
        let faults = self.s3()?.faults();
        wait_for("a request to be held", PATIENCE, || Ok((faults.held() == 1).then_some(())))
    }

    /// PUTs that the store refused since there is an object.
    pub fn puts_refused(&self) -> Result<u64> {
        let counts = self.s3()?.request_counts();
        Ok(counts.get("PutObject").and_then(|outcomes| outcomes.get("412")).copied().unwrap_or(0))
    }

    /// Uploads into the bucket that are neither completed nor removed: their folders.
    pub fn uploads(&self) -> Result<Vec<PathBuf>> {
        let uploads = self.s3()?.objects_dir().with_file_name("s3-uploads");
        std::fs::read_dir(uploads)?.map(|entry| Ok(entry?.path())).collect()
    }

    /// The environment that points a service at the stack.
    pub fn environment(&self, more: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
        let mut environment: BTreeMap<String, String> = self.stack.env()?.into_iter().collect();
        environment.insert("KAFKA_BOOTSTRAP_SERVERS".to_owned(), self.bootstrap_servers()?);
        environment.insert("KAFKA_TOPIC".to_owned(), self.topic.clone());
        if self.cluster.is_some() {
            // Tests share the cluster, and must not share a group or a history.
            environment.insert("KAFKA_GROUP_ID".to_owned(), self.topic.clone());
            environment.insert("RUNS_TOPIC".to_owned(), format!("{}.runs", self.topic));
        }
        environment.insert("ADMIN_ADDR".to_owned(), "127.0.0.1:0".to_owned());
        environment.insert("KAFKA_CONFIG".to_owned(), SESSION.to_owned());
        environment.insert("CHUNK_AGE_SECONDS_MAX".to_owned(), "0.5".to_owned());
        environment
            .extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Ok(environment.into_iter().collect())
    }

    /// Starts `s3-sink run`; its log is `label.log`.
    pub fn sink(&self, label: &str, more: &[(&str, &str)]) -> Result<Process> {
        Process::start("s3-sink", &["run"], &self.environment(more)?, &self.folder, label)
    }

    /// Starts `s3-sink drain`.
    pub fn drain(&self, label: &str, more: &[(&str, &str)]) -> Result<Process> {
        Process::start("s3-sink", &["drain"], &self.environment(more)?, &self.folder, label)
    }

    /// Starts `pipectl` with these arguments.
    pub fn pipectl(&self, label: &str, arguments: &[&str]) -> Result<Process> {
        Process::start("pipectl", arguments, &self.environment(&[])?, &self.folder, label)
    }

    /// Produces messages and waits until the brokers have all of them.
    pub fn produce(&self, messages: impl IntoIterator<Item = Result<NewMessage>>) -> Result<u64> {
        self.produce_packed("none", messages)
    }

    /// Produces [`NewMessage::bulky`] messages, spread over `partitions`, numbered from `first`.
    pub fn produce_bulky(&self, partitions: i32, first: u64, count: u64) -> Result<()> {
        let message = |number: u64| NewMessage::bulky((number % partitions as u64) as i32, number);
        self.produce_packed("lz4", (first..first + count).map(message)).map(|_| ())
    }

    fn produce_packed(
        &self,
        codec: &str,
        messages: impl IntoIterator<Item = Result<NewMessage>>,
    ) -> Result<u64> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap_servers()?)
            .set("compression.codec", codec)
            .set("message.max.bytes", "20000000")
            .set("acks", "all")
            .create()?;
        let mut count = 0;
        for message in messages {
            let NewMessage { partition, payload, timestamp, headers } = message?;
            let add = |all: OwnedHeaders, (key, value): &(String, String)| {
                all.insert(rdkafka::message::Header { key, value: Some(value) })
            };
            let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic)
                .partition(partition)
                .headers(headers.iter().fold(OwnedHeaders::new(), add));
            record.payload = payload.as_deref();
            record.timestamp = timestamp;
            producer.send(record).map_err(|(error, _)| error)?;
            count += 1;
            if count % 1000 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        producer.flush(Duration::from_secs(30))?;
        Ok(count)
    }

    /// Produces `count` valid messages, spread over `partitions`, numbered from `first`.
    pub fn produce_valid(&self, partitions: i32, first: u64, count: u64) -> Result<()> {
        let message = |number: u64| NewMessage::valid((number % partitions as u64) as i32, number);
        self.produce((first..first + count).map(message)).map(|_| ())
    }

    /// Begins to produce so many valid messages a second, until the flow is stopped.
    pub fn flow(&self, partitions: i32, per_second: u32) -> Result<Flow> {
        let servers = self.bootstrap_servers()?;
        Flow::start(&servers, &self.topic, partitions, per_second, NewMessage::valid)
    }

    /// The same with messages of which a few thousand make an object of several parts.
    pub fn bulky_flow(&self, partitions: i32, per_second: u32) -> Result<Flow> {
        let servers = self.bootstrap_servers()?;
        Flow::start(&servers, &self.topic, partitions, per_second, NewMessage::bulky)
    }

    /// Everything in the topic.
    pub fn messages(&self) -> Result<BTreeMap<Coordinates, Sent>> {
        let messages = oracle::read_topic(&self.bootstrap_servers()?, &self.topic)?;
        if self.cluster.is_none() {
            oracle::check_from_the_start(&messages)?;
        }
        Ok(messages)
    }

    /// Everything in the dead-letter topic.
    pub fn dead_letters(&self) -> Result<Vec<Sent>> {
        let topic = format!("{}.dlq", self.topic);
        Ok(oracle::read_topic(&self.bootstrap_servers()?, &topic)?.into_values().collect())
    }

    /// The end of every test: a drain takes what is left, then each message that should be a row
    /// is one, exactly once and with its values, and the deep audit finds nothing. The messages
    /// stay beside the bucket, for readers in other languages.
    pub fn finish(&self, expected: impl Fn(&Sent) -> bool) -> Result<Verdict> {
        self.drain("last-drain", &[])?.wait_success()?;
        let messages = self.messages()?;
        oracle::write_messages(&messages, &self.folder)?;
        let verdict = oracle::judge(&messages, expected, &rows::read(&self.objects)?)?;
        ensure!(verdict.is_exactly_once(), "{verdict:#?}");
        self.audit()?;
        tally::count("topic whose every message is stored once, by oracle and by audit --deep")?;
        Ok(verdict)
    }

    /// Runs the deep audit; fails on any finding. Returns its JSON.
    pub fn audit(&self) -> Result<serde_json::Value> {
        let (status, audit) = self.run_audit()?;
        if !status {
            bail!("the audit has findings: {audit:#}");
        }
        Ok(audit)
    }

    /// Runs the deep audit: whether it is clean, and its JSON.
    pub fn run_audit(&self) -> Result<(bool, serde_json::Value)> {
        let mut audit =
            self.pipectl("audit", &["audit", "--deep", "--expect-drained", "--json"])?;
        let status = audit.wait()?;
        let output = audit.output()?;
        let json = serde_json::from_str(&output)
            .with_context(|| format!("{status}: {output}\n{}", audit.tail()))?;
        Ok((status.success(), json))
    }

    /// Where clients begin that are to meet no proxy. Embedded brokers that are created anew have
    /// other ports.
    pub fn bootstrap_servers(&self) -> Result<String> {
        match &self.cluster {
            Some(cluster) => Ok(cluster.facts().bootstrap_servers.clone()),
            None => {
                Ok(self.stack.kafka().context("the stack has no Kafka")?.bootstrap_servers()?)
            }
        }
    }
}

/// An empty folder below `target/`.
fn fresh_folder(name: &str) -> Result<PathBuf> {
    let folder = target_folder()?.join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// `target/` of the build that this binary belongs to.
pub fn target_folder() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let profile = this
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"))
        .context("no target folder")?;
    Ok(profile.parent().context("no target folder")?.to_owned())
}
