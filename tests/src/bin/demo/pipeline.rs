//! The embedded stack, and the services' processes on it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use e2e_tests::process::Process;
use e2e_tests::scenario::{TOPIC, target_folder};
use indicatif::HumanCount;
use local_stack::{ApiOptions, KafkaOptions, LocalStack, Options};
use tracing_subscriber::EnvFilter;

use crate::screen::{Look, Screen};

const PARTITIONS: u64 = 6;
/// Recorded responses of the API, in several of its versions and with users of many nations.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/randomuser");
/// So that rejects are seen, too.
const INVALID_RATIO: f64 = 0.002;
/// Users a request, time between requests, and how long: about 8000 messages, far below the 5 MiB a
/// partition at which the embedded Kafka drops the oldest ones.
const GENERATED: [(&str, &str); 3] =
    [("API_RESULTS", "100"), ("PAUSE_SECONDS", "0.1"), ("STREAMING_SECONDS", "8")];
/// Small chunks, and a group that settles soon.
const SINK: [(&str, &str); 2] = [
    ("CHUNK_AGE_SECONDS_MAX", "2"),
    ("KAFKA_CONFIG", "session.timeout.ms=6000,heartbeat.interval.ms=500"),
];
/// s3s reports each refusal that it sends, a lost conditional PUT included, as an error, and rdkafka
/// each end of a partition that the demo itself reads.
const STACK_LOG_FILTER: &str = "warn,local_stack=info,s3s=off,rdkafka=off";

/// Where the demo keeps everything: `target/demo`.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(target_folder()?.join("demo"))
}

/// The embedded stack in a fresh `target/demo`. The folder, with the bucket and every log, stays.
pub(crate) struct Pipeline {
    folder: PathBuf,
    stack: LocalStack,
    /// An API that answers with recorded responses.
    recorded: LocalStack,
    /// Held, not read: a second demo would wipe the folder of the first.
    _lock: File,
}

impl Pipeline {
    /// Wipes the folder and starts the stack.
    pub(crate) fn start(screen: &Screen) -> Result<Self> {
        let folder = folder()?;
        let lock = File::create(folder.with_extension("lock"))?;
        lock.try_lock().with_context(|| {
            format!("another demo is running in {}; wait for its end", folder.display())
        })?;
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("{} can't be emptied", folder.display()))?;
        }
        fs::create_dir_all(&folder)?;
        log_stack_to(&folder.join("stack.log"))?;

        let stack = LocalStack::start(Options {
            kafka: Some(KafkaOptions::with_topic(TOPIC, i32::try_from(PARTITIONS)?)),
            api: Some(ApiOptions { invalid_ratio: INVALID_RATIO, ..ApiOptions::default() }),
            ..Options::new(folder.join("stack"))
        })?;
        let recorded = LocalStack::start(Options {
            kafka: None,
            s3: None,
            api: Some(ApiOptions { replay: Some(RECORDED.into()), ..ApiOptions::default() }),
            control_port: None,
            ..Options::new(folder.join("recorded"))
        })?;
        let pipeline = Self { folder, stack, recorded, _lock: lock };
        screen.say(&format!(
            "topic {TOPIC} with {PARTITIONS} partitions; bucket and logs in {}",
            readable(&pipeline.folder).display()
        ));
        Ok(pipeline)
    }

    /// Where logs go.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the topic's objects lie as plain files.
    pub(crate) fn objects(&self) -> Result<PathBuf> {
        let s3 = self.stack.s3().context("the stack has no store")?;
        Ok(s3.objects_dir().join(&s3.options().bucket).join(TOPIC))
    }

    /// Where to reach Kafka.
    pub(crate) fn bootstrap_servers(&self) -> Result<String> {
        Ok(self.stack.kafka().context("the stack has no Kafka")?.bootstrap_servers()?)
    }

    /// Starts a binary on the stack; its log is `label.log`.
    pub(crate) fn process(
        &self,
        binary: &str,
        arguments: &[&str],
        settings: &[(&str, &str)],
        label: &str,
    ) -> Result<Process> {
        let mut environment = self.stack.env()?;
        // The later one of two with the same name counts.
        environment.extend(settings.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        Process::start(binary, arguments, &environment, &self.folder, label)
    }

    /// Starts two sinks.
    pub(crate) fn start_sinks(&self) -> Result<Sinks> {
        let sink = |label| self.service("s3-sink", &SINK, label);
        Ok(Sinks([sink("sink-1")?, sink("sink-2")?]))
    }

    /// Runs the ingestor through each recorded response once. Returns the messages delivered.
    pub(crate) fn ingest_recorded(&self, sinks: &mut Sinks, screen: &Screen) -> Result<u64> {
        let url = self.recorded.api().context("the recorded stack has no API")?.url();
        let requests = recorded_responses()?.to_string();
        let settings = [("API_URL", url), ("RUN_REQUESTS_MAX", &requests), ("PAUSE_SECONDS", "0")];
        self.ingest("recorded", &settings, 0, sinks, screen)
    }

    /// Runs the ingestor for some seconds at a visible rate. Returns the messages delivered, those
    /// `before` not counted.
    pub(crate) fn ingest_generated(
        &self,
        before: u64,
        sinks: &mut Sinks,
        screen: &Screen,
    ) -> Result<u64> {
        self.ingest("generated", &GENERATED, before, sinks, screen)
    }

    fn ingest(
        &self,
        users: &str,
        settings: &[(&str, &str)],
        before: u64,
        sinks: &mut Sinks,
        screen: &Screen,
    ) -> Result<u64> {
        let mut ingestor = self.service("ingestor", settings, &format!("ingestor-{users}"))?;
        screen.until("the end of the ingestor's run", || {
            sinks.refresh()?;
            ingestor.refresh()?;
            if !ingestor.process.is_running()? {
                return Ok(Look::Done(()));
            }
            let delivered = before + ingestor.count("ingestor_messages_delivered_total");
            Ok(Look::Waiting(sinks.progress(delivered)))
        })?;
        ingestor.process.wait_success()?;
        let output = ingestor.process.output()?;
        let summary: serde_json::Value = serde_json::from_str(output.trim())
            .with_context(|| format!("the ingestor's summary is no JSON: {output}"))?;
        let count = |name: &str| {
            summary[name].as_u64().with_context(|| format!("no {name} in the summary {summary}"))
        };
        let delivered = count("delivered")?;
        screen.say(&format!(
            "{} {users} users in {} requests: {} messages delivered, {}",
            HumanCount(count("users")?),
            count("requests")?,
            HumanCount(delivered),
            rejects(count("rejected")?, &summary["rejected_by_reason"]),
        ));
        Ok(delivered)
    }

    fn service(&self, binary: &str, settings: &[(&str, &str)], label: &str) -> Result<Service> {
        let settings = [&[("ADMIN_ADDR", "127.0.0.1:0")], settings].concat();
        let process = self.process(binary, &["run"], &settings, label)?;
        Ok(Service { process, metrics: BTreeMap::new() })
    }
}

/// Two sinks in one consumer group.
pub(crate) struct Sinks([Service; 2]);

impl Sinks {
    /// Waits until each has partitions, and no partition is without a sink.
    pub(crate) fn wait_joined(&mut self, screen: &Screen) -> Result<()> {
        screen.until("both sinks to share the partitions", || {
            self.refresh()?;
            let shares = self.shares();
            let is_shared = shares.iter().sum::<u64>() == PARTITIONS && !shares.contains(&0);
            let [first, second] = &self.0;
            if is_shared && first.is_ready()? && second.is_ready()? {
                return Ok(Look::Done(()));
            }
            Ok(Look::Waiting(format!("joining: {}", self.partitions())))
        })?;
        screen.say(&self.partitions());
        Ok(())
    }

    /// Waits until everything delivered is in the bucket.
    pub(crate) fn wait_stored(&mut self, delivered: u64, screen: &Screen) -> Result<()> {
        screen.until("every message to be stored", || {
            self.refresh()?;
            let done = self.count("s3_sink_rows_stored_total") >= delivered;
            Ok(if done { Look::Done(()) } else { Look::Waiting(self.progress(delivered)) })
        })?;
        screen.say(&self.progress(delivered));
        Ok(())
    }

    /// Asks both to leave, as an orchestrator does, and waits until they are gone.
    pub(crate) fn stop(mut self, screen: &Screen) -> Result<()> {
        for sink in &self.0 {
            sink.process.terminate()?;
        }
        screen.until("both sinks to end", || {
            let mut running = 0;
            for sink in &mut self.0 {
                running += u32::from(sink.process.is_running()?);
            }
            Ok(match running {
                0 => Look::Done(()),
                _ => Look::Waiting(format!("{running} of 2 sinks still to end after SIGTERM")),
            })
        })?;
        for sink in &mut self.0 {
            sink.process.wait_success()?;
        }
        screen.say("both ended with 0 after SIGTERM");
        Ok(())
    }

    fn refresh(&mut self) -> Result<()> {
        for sink in &mut self.0 {
            if !sink.process.is_running()? {
                bail!("a sink has ended before its time\n{}", sink.process.tail());
            }
            sink.refresh()?;
            ensure!(
                sink.count("s3_sink_partitions_stopped") == 0,
                "a sink stopped a partition\n{}",
                sink.process.tail()
            );
        }
        Ok(())
    }

    fn count(&self, metric: &str) -> u64 {
        self.0.iter().map(|sink| sink.count(metric)).sum()
    }

    fn shares(&self) -> [u64; 2] {
        self.0.each_ref().map(|sink| sink.count("s3_sink_partitions_assigned"))
    }

    fn partitions(&self) -> String {
        let [first, second] = self.shares();
        format!("sink-1 has {first} partitions, sink-2 has {second}")
    }

    fn progress(&self, delivered: u64) -> String {
        let rows = self.count("s3_sink_rows_stored_total");
        let chunks = self.count("s3_sink_chunks_total");
        format!(
            "{} messages delivered, {} rows stored in {chunks} {}; {}",
            HumanCount(delivered),
            HumanCount(rows),
            if chunks == 1 { "chunk" } else { "chunks" },
            self.partitions(),
        )
    }
}

/// A process with an admin server, and what that said last.
struct Service {
    process: Process,
    /// Each metric, added up over its labels.
    metrics: BTreeMap<String, f64>,
}

impl Service {
    /// Asks for the metrics; one that does not answer, as while it starts or ends, keeps its last.
    fn refresh(&mut self) -> Result<()> {
        let Some(answer) = self.process.get("/metrics")? else { return Ok(()) };
        self.metrics.clear();
        for line in answer.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) =
                line.rsplit_once(' ').with_context(|| format!("`{line}` is no metric"))?;
            let name = series.split('{').next().unwrap_or(series);
            let value: f64 = value.parse().with_context(|| format!("`{line}` has no value"))?;
            *self.metrics.entry(name.to_owned()).or_default() += value;
        }
        Ok(())
    }

    /// A count; 0 as long as the service has not answered.
    fn count(&self, name: &str) -> u64 {
        self.metrics.get(name).map_or(0, |value| *value as u64)
    }

    fn is_ready(&self) -> Result<bool> {
        Ok(self.process.get("/readyz")?.is_some())
    }
}

/// How many responses the folder of recorded ones holds.
fn recorded_responses() -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(RECORDED).with_context(|| format!("{RECORDED} can't be read"))? {
        count += usize::from(entry?.path().extension().is_some_and(|name| name == "json"));
    }
    Ok(count)
}

/// `path` from here, if it lies below.
pub(crate) fn readable(path: &Path) -> &Path {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path)
}

/// `2 rejects (missing_field 2)`.
fn rejects(count: u64, by_reason: &serde_json::Value) -> String {
    let reasons: Vec<_> = by_reason
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, count)| count.as_u64() != Some(0))
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    match count {
        0 => "no rejects".to_owned(),
        _ => format!("{count} rejects ({})", reasons.join(", ")),
    }
}

fn log_stack_to(file: &Path) -> Result<()> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(STACK_LOG_FILTER))
        .with_ansi(false)
        .with_writer(File::create(file)?);
    log.try_init().map_err(|error| anyhow::anyhow!("the stack's log can't be started: {error}"))
}
