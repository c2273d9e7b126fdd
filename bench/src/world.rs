//! Where a benchmark runs: the brokers and the store of the environment, a topic, a folder for logs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use e2e_tests::process::Process;
use e2e_tests::scenario::target_folder;
use e2e_tests::wait_for;
use serde::Deserialize;

use crate::topic::Topic;

/// Longest time for sinks to take a backlog, and for the audit to read every object.
pub const PATIENCE: Duration = Duration::from_secs(3600);

/// One run of a benchmark, with a consumer group and a prefix of its own.
#[derive(Debug)]
pub struct World {
    environment: BTreeMap<String, String>,
    topic: String,
    folder: PathBuf,
}

/// What the deep audit has counted.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Totals {
    /// Objects.
    pub chunks: u64,
    /// Rows in them.
    pub rows: u64,
    /// Size of the objects.
    pub bytes: u64,
    /// Offsets that are not stored.
    pub lost: u64,
    /// Offsets that are stored more than once.
    pub duplicated: u64,
    /// Whatever else is wrong, these included.
    pub findings: u64,
}

impl World {
    /// For the topic `topic`, or for one that is yet to be made. The services' settings come from the
    /// environment.
    pub fn new(label: &str, topic: Option<&str>) -> Result<Self> {
        let run = format!("{label}-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
        let topic = topic.unwrap_or(&run).to_owned();
        let is_setting = |name: &str| {
            ["KAFKA_", "S3_", "AWS_", "CHUNK_"].iter().any(|prefix| name.starts_with(prefix))
                || ["MEMORY_LIMIT", "DRAIN_TIMEOUT_SECONDS"].contains(&name)
        };
        let mut environment: BTreeMap<_, _> =
            std::env::vars().filter(|(name, _)| is_setting(name)).collect();
        let prefix = match environment.get("S3_PREFIX") {
            Some(prefix) => format!("{prefix}/{run}"),
            None => run.clone(),
        };
        for (name, value) in [
            ("KAFKA_TOPIC", topic.as_str()),
            ("KAFKA_GROUP_ID", &run),
            ("RUNS_TOPIC", &format!("{topic}.runs")),
            ("S3_PREFIX", &prefix),
            ("ADMIN_ADDR", "127.0.0.1:0"),
            ("LOG_FORMAT", "json"),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        let folder = target_folder()?.join("bench/runs").join(run);
        std::fs::create_dir_all(&folder)?;
        Ok(Self { environment, topic, folder })
    }

    /// The same with a default for a setting that the environment does not have.
    #[must_use]
    pub fn with_default(mut self, name: &str, value: &str) -> Self {
        self.environment.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        self
    }

    /// The same with a setting, whatever the environment says.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The value of a setting.
    pub fn setting(&self, name: &str) -> Result<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .with_context(|| format!("{name} is not set; `make cluster-up` says where it is"))
    }

    /// Where the logs are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The topic.
    pub fn topic(&self) -> Result<Topic> {
        Ok(Topic::new(self.setting("KAFKA_BOOTSTRAP_SERVERS")?, &self.topic))
    }

    /// The name of the topic.
    pub fn topic_name(&self) -> &str {
        &self.topic
    }

    /// Creates the topic, does something with it, and deletes it, whatever came of that.
    pub fn with_topic<T>(
        &self,
        partitions: i32,
        work: impl FnOnce(&Topic) -> Result<T>,
    ) -> Result<T> {
        let topic = self.ensure_topic(partitions)?;
        let done = work(&topic);
        let deleted = topic.delete();
        done.and_then(|done| deleted.map(|()| done))
    }

    /// Creates the topic with so many partitions, and those that belong to it, where they are missing.
    pub fn ensure_topic(&self, partitions: i32) -> Result<Topic> {
        let partitions = partitions.to_string();
        let (status, output) =
            self.pipectl(&["topics", "ensure", "--partitions", &partitions], "topics")?;
        ensure!(
            status.success(),
            "the topics can't be made, {status}: {output}; the log is in {}",
            self.folder.display()
        );
        self.topic()
    }

    /// Starts a binary of this workspace; its log is `label.log`.
    pub fn start(&self, binary: &str, arguments: &[&str], label: &str) -> Result<Process> {
        let environment: Vec<_> = self.environment.clone().into_iter().collect();
        Process::start(binary, arguments, &environment, &self.folder, label)
    }

    /// Reads every object: what is there, and whether anything is wrong.
    pub fn audit(&self) -> Result<Totals> {
        #[derive(Deserialize)]
        struct Report {
            totals: Totals,
        }
        let (status, output) =
            self.pipectl(&["audit", "--deep", "--expect-drained", "--json"], "audit")?;
        let report: Report = serde_json::from_str(&output)
            .with_context(|| format!("the audit ended with {status}: {output}"))?;
        Ok(report.totals)
    }

    /// Runs `pipectl`: how it ended, and what it printed.
    fn pipectl(&self, arguments: &[&str], label: &str) -> Result<(ExitStatus, String)> {
        let mut command = self.start("pipectl", arguments, label)?;
        let status = wait_for(&format!("pipectl {label}"), PATIENCE, || command.ended())?;
        Ok((status, command.output()?))
    }
}
