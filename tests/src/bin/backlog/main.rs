//! A backlog on real brokers and a real store: does the sink stay within its memory, how large do
//! objects get, and is every message stored exactly once? Fails where one of the three is not so.

mod topic;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use e2e_tests::process::Process;
use e2e_tests::scenario::target_folder;
use e2e_tests::wait_for;
use indicatif::{HumanBytes, HumanCount};
use serde_json::Value;

const USAGE: &str = "usage: backlog MESSAGES PARTITIONS
The brokers and the bucket come from the environment, as for s3-sink: KAFKA_BOOTSTRAP_SERVERS,
S3_BUCKET, AWS_*. So do MEMORY_LIMIT, CHUNK_BYTES_MAX and its other settings. The topic is made for
the run and deleted afterwards; the objects stay below S3_PREFIX.";
/// What the process may take beside `MEMORY_LIMIT`, in bytes.
const MARGIN_BYTES: u64 = 128 << 20;
/// Longest time for the sink to take the backlog, and for the audit to read every object.
const PATIENCE: Duration = Duration::from_secs(3600);
/// A backlog is stored by size; objects that are sealed by age would say nothing about memory.
const CHUNK_AGE: &str = "1h";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let numbers = match &arguments[..] {
        [messages, partitions] => messages.parse().ok().zip(partitions.parse().ok()),
        _ => None,
    };
    let Some((messages, partitions @ 1..)) = numbers else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(messages, partitions) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backlog: failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(messages: u64, partitions: i32) -> Result<()> {
    let world = World::new(partitions)?;
    world.command(&["topics", "ensure", "--partitions", &partitions.to_string()], "topics")?;
    let topic = topic::Topic::of(&world.environment)?;
    let produced = topic.produce(messages, partitions).and_then(|()| {
        println!("{} messages over {partitions} partitions", HumanCount(messages));
        let consumed = world.consume(messages)?;
        consumed.print();
        consumed.judge()?;
        world.audit(messages)
    });
    // Whatever came of it: the next run begins with a topic of its own.
    produced.and(topic.delete())
}

/// Where everything runs.
struct World {
    environment: Vec<(String, String)>,
    folder: PathBuf,
}

/// What the sink did.
struct Consumed {
    elapsed: Duration,
    messages: u64,
    peak_bytes: u64,
    limit_bytes: u64,
    /// By the metrics, before the sink was told to leave.
    sealed: BTreeMap<String, u64>,
    /// Sizes of all objects, ascending.
    objects: Vec<u64>,
}

impl World {
    fn new(partitions: i32) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let topic = format!("backlog_{partitions}_{now}");
        let is_setting = |name: &str| {
            ["KAFKA_", "S3_", "AWS_", "CHUNK_"].iter().any(|prefix| name.starts_with(prefix))
                || ["MEMORY_LIMIT", "DRAIN_TIMEOUT_SECONDS"].contains(&name)
        };
        let mut environment = BTreeMap::from([
            ("CHUNK_AGE_SECONDS_MAX".to_owned(), CHUNK_AGE.to_owned()),
            ("DRAIN_TIMEOUT_SECONDS".to_owned(), "10m".to_owned()),
        ]);
        environment.extend(std::env::vars().filter(|(name, _)| is_setting(name)));
        for (name, value) in [
            ("KAFKA_TOPIC", topic.as_str()),
            ("KAFKA_GROUP_ID", &topic),
            ("RUNS_TOPIC", &format!("{topic}.runs")),
            ("ADMIN_ADDR", "127.0.0.1:0"),
            ("LOG_FORMAT", "json"),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        let folder = target_folder()?.join("backlog").join(topic);
        std::fs::create_dir_all(&folder)?;
        Ok(Self { environment: environment.into_iter().collect(), folder })
    }

    /// Lets a sink take everything, and leave.
    fn consume(&self, messages: u64) -> Result<Consumed> {
        let started = Instant::now();
        let mut sink =
            Process::start("s3-sink", &["run"], &self.environment, &self.folder, "sink")?;
        wait_for("the sink to take the backlog", PATIENCE, || {
            ensure!(sink.is_running()?, "the sink has ended\n{}", sink.tail());
            Ok(sink
                .metric("s3_sink_messages_total")?
                .filter(|taken| *taken as u64 >= messages)
                .map(|_| ()))
        })
        .with_context(|| sink.tail())?;
        let elapsed = started.elapsed();
        let sealed = seal_reasons(&sink.get("/metrics")?.context("the sink does not answer")?);
        let limit = sink.metric("s3_sink_memory_limit_bytes")?.context("no limit")?;
        sink.terminate()?;
        let mut peak_bytes = sink.peak_memory_bytes()?;
        let status = wait_for("the sink to leave", PATIENCE, || {
            // Gone with the process.
            peak_bytes = sink.peak_memory_bytes().unwrap_or(peak_bytes);
            sink.ended()
        })?;
        ensure!(status.success(), "the sink ended with {status}\n{}", sink.tail());
        let mut objects = stored_objects(&sink.log()?);
        objects.sort_unstable();
        let limit_bytes = limit as u64;
        Ok(Consumed { elapsed, messages, peak_bytes, limit_bytes, sealed, objects })
    }

    /// Fails unless the deep audit finds each message once.
    fn audit(&self, messages: u64) -> Result<()> {
        let output = self.command(&["audit", "--deep", "--expect-drained", "--json"], "audit")?;
        let report: Value = serde_json::from_str(&output)?;
        let total = |name: &str| report["totals"][name].as_u64().context("no totals");
        let (rows, lost, duplicated) = (total("rows")?, total("lost")?, total("duplicated")?);
        println!("audit: {rows} rows, {lost} lost, {duplicated} duplicated");
        ensure!(rows == messages, "{messages} messages became {rows} rows");
        Ok(())
    }

    /// Runs `pipectl`; fails unless it succeeds. Returns what it printed.
    fn command(&self, arguments: &[&str], label: &str) -> Result<String> {
        let mut command =
            Process::start("pipectl", arguments, &self.environment, &self.folder, label)?;
        let status = wait_for(&format!("pipectl {label}"), PATIENCE, || command.ended())?;
        if !status.success() {
            bail!("pipectl {label} ended with {status}: {}\n{}", command.output()?, command.tail());
        }
        command.output()
    }
}

impl Consumed {
    fn print(&self) {
        let rate = self.messages as f64 / self.elapsed.as_secs_f64();
        println!("taken in {:.0} s, {rate:.0} messages/s", self.elapsed.as_secs_f64());
        println!(
            "peak resident memory: {} with MEMORY_LIMIT={}",
            HumanBytes(self.peak_bytes),
            HumanBytes(self.limit_bytes)
        );
        println!("chunks sealed before the end, by reason: {:?}", self.sealed);
        let at = |share: f64| {
            let last = self.objects.len().saturating_sub(1);
            HumanBytes(self.objects.get((last as f64 * share) as usize).copied().unwrap_or(0))
        };
        println!(
            "{} objects of {}: smallest {}, median {}, largest {}",
            self.objects.len(),
            HumanBytes(self.objects.iter().sum()),
            at(0.0),
            at(0.5),
            at(1.0)
        );
    }

    fn judge(&self) -> Result<()> {
        ensure!(
            self.peak_bytes <= self.limit_bytes + MARGIN_BYTES,
            "{} were resident, {} more than MEMORY_LIMIT and the margin of {} allow",
            HumanBytes(self.peak_bytes),
            HumanBytes(self.peak_bytes - self.limit_bytes - MARGIN_BYTES),
            HumanBytes(MARGIN_BYTES)
        );
        Ok(())
    }
}

/// `s3_sink_chunks_total` by its label, without those at zero.
fn seal_reasons(metrics: &str) -> BTreeMap<String, u64> {
    let chunks = |line: &str| {
        let (reason, count) =
            line.strip_prefix("s3_sink_chunks_total{reason=\"")?.split_once("\"} ")?;
        Some((reason.to_owned(), count.parse().ok().filter(|count| *count > 0)?))
    };
    metrics.lines().filter_map(chunks).collect()
}

/// The sizes in the log's lines of stored chunks.
fn stored_objects(log: &str) -> Vec<u64> {
    let bytes = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        let is_stored = line["message"].as_str()? == "chunk stored";
        is_stored.then(|| line["object_bytes"].as_u64()).flatten()
    };
    log.lines().filter_map(bytes).collect()
}
