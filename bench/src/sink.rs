//! Sinks that take a backlog: how fast, for how much CPU, in how much memory, and is all of it there?

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use serde_json::Value;

use crate::topic::{Contents, Topic};
use crate::usage::{Usage, until_they_end};
use crate::world::{PATIENCE, Totals, World};

/// What `s3-sink drain` has done with a backlog.
#[derive(Debug)]
pub struct Drained {
    /// From the first process's start to the last one's end, in seconds: the group's forming included.
    pub seconds: f64,
    /// One entry for each process.
    pub usages: Vec<Usage>,
    /// Sizes of all objects, ascending.
    pub object_bytes: Vec<u64>,
    /// Number of chunks, by why they were sealed.
    pub sealed: BTreeMap<String, u64>,
}

/// A line of the comparison. Programs read its fields by name.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whose figures these are.
    pub name: String,
    /// Size of the backlog.
    pub messages: u64,
    /// Number of the topic's partitions.
    pub partitions: i32,
    /// Number of processes, which share the partitions.
    pub processes: usize,
    /// User and system time of all processes, for each million of messages.
    pub cpu_seconds_per_million: f64,
    /// Over the whole life of the processes.
    pub messages_per_second: f64,
    /// The largest of one process.
    pub peak_rss_bytes: u64,
    /// Number of objects.
    pub objects: u64,
    /// Size of all objects.
    pub object_bytes: u64,
    /// Rows that the audit has read.
    pub rows: u64,
    /// Offsets that are not stored.
    pub lost: u64,
    /// Offsets that are stored more than once.
    pub duplicated: u64,
}

/// Lets so many sinks store a topic, and audits that. What the audit has found is yet to be judged.
pub fn measure(world: &World, topic: &Topic, sinks: usize) -> Result<(Report, Totals)> {
    let Contents { messages, partitions } = topic.contents()?;
    ensure!(messages > 0, "the topic {} has no messages", world.topic_name());
    let drained = drain(world, sinks)?;
    let totals = world.audit().context("audit")?;
    Ok((Report::new(messages, partitions, &drained, &totals), totals))
}

/// Lets so many sinks of one group take everything that is on the topic, and leave.
pub fn drain(world: &World, sinks: usize) -> Result<Drained> {
    let started = Instant::now();
    let start = |number| world.start("s3-sink", &["drain"], &format!("sink-{number}"));
    let mut processes = (1..=sinks).map(start).collect::<Result<Vec<_>>>()?;
    let usages = until_they_end(&mut processes, PATIENCE)?;
    let seconds = started.elapsed().as_secs_f64();
    let (mut object_bytes, mut sealed) = (Vec::new(), BTreeMap::new());
    for process in &processes {
        for (bytes, reason) in stored_chunks(&process.log()?) {
            object_bytes.push(bytes);
            *sealed.entry(reason).or_default() += 1;
        }
    }
    object_bytes.sort_unstable();
    Ok(Drained { seconds, usages, object_bytes, sealed })
}

/// Size and reason in the log's lines of stored chunks.
fn stored_chunks(log: &str) -> Vec<(u64, String)> {
    let chunk = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        let is_stored = line["message"].as_str()? == "chunk stored";
        let reason = || line["reason"].as_str().map(str::to_owned);
        is_stored.then(|| line["object_bytes"].as_u64().zip(reason())).flatten()
    };
    log.lines().filter_map(chunk).collect()
}

impl Drained {
    /// The most memory that one of the processes has had resident.
    pub fn peak_memory_bytes(&self) -> u64 {
        self.usages.iter().map(|usage| usage.peak_memory_bytes).max().unwrap_or(0)
    }
}

impl Report {
    /// Of a backlog that was drained and audited.
    pub fn new(messages: u64, partitions: i32, drained: &Drained, totals: &Totals) -> Self {
        let cpu_seconds: f64 = drained.usages.iter().map(|usage| usage.cpu_seconds).sum();
        Self {
            name: "s3-sink".to_owned(),
            messages,
            partitions,
            processes: drained.usages.len(),
            cpu_seconds_per_million: cpu_seconds * 1e6 / messages as f64,
            messages_per_second: messages as f64 / drained.seconds,
            peak_rss_bytes: drained.peak_memory_bytes(),
            objects: totals.chunks,
            object_bytes: totals.bytes,
            rows: totals.rows,
            lost: totals.lost,
            duplicated: totals.duplicated,
        }
    }

    /// For people.
    pub fn summary(&self) -> String {
        format!(
            "{} messages over {} partitions: {:.2} CPU seconds per million, {} messages/s, {} resident, \
             {} objects of {}",
            HumanCount(self.messages),
            self.partitions,
            self.cpu_seconds_per_million,
            HumanCount(self.messages_per_second as u64),
            HumanBytes(self.peak_rss_bytes),
            self.objects,
            HumanBytes(self.object_bytes),
        )
    }
}

impl Totals {
    /// Fails unless each of `messages` is stored exactly once.
    pub fn judge(&self, messages: u64) -> Result<()> {
        let Self { rows, lost, duplicated, findings, .. } = self;
        ensure!(
            (*rows, *findings) == (messages, 0),
            "{messages} messages became {rows} rows, {lost} lost, {duplicated} duplicated; the audit has \
             {findings} findings"
        );
        Ok(())
    }
}
