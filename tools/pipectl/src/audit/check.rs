//! The audit itself, as a pure function: what was seen in the store and in Kafka → a report.

use std::collections::{BTreeMap, BTreeSet};

use chunk_ledger::{Chunk, Layout, MetadataError, ObjectName, Offset, Partition};
use pipeline_model::dead_letter;

use super::finding::{Check, Finding};
use super::partition::PartitionAudit;
use super::report::Report;
use crate::kafka::{DeadLetterLog, PartitionOffsets};

/// Everything that an audit has seen.
///
/// On a running pipeline the order of looking matters: first the commits, then the objects, then
/// the dead letters and the logs. Then each commit is covered by the objects seen, and their chain
/// lies inside the log seen, unless something is wrong.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Where the chunks of the topic lie.
    pub layout: &'a Layout,
    /// Every object below the topic's prefix, in any order.
    pub objects: &'a [Object],
    /// What Kafka says; `None` if it was not asked.
    pub kafka: Option<&'a KafkaFacts>,
    /// What the objects are like inside; `None` if nobody looked.
    pub contents: Option<Contents>,
    /// The consumer group of the sink.
    pub group: &'a str,
    /// Whether everything should be stored by now.
    pub expect_drained: bool,
}

/// One object below the topic's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// What it is.
    pub kind: ObjectKind,
}

/// What an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectKind {
    /// Its key is that of a chunk.
    Chunk {
        /// What the key says.
        name: ObjectName,
        /// What the object's metadata say.
        metadata: Result<Chunk, MetadataError>,
    },
    /// Its key is that of a chunk, but it was gone when its metadata were asked for.
    Vanished {
        /// What the key says.
        name: ObjectName,
    },
    /// Its key is that of no chunk.
    Foreign,
}

/// What Kafka says of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaFacts {
    /// Every partition of the topic.
    pub partitions: BTreeMap<Partition, PartitionOffsets>,
    /// Partitions of which Kafka has offsets behind the last chunk, but no message there: the
    /// offsets are those of transactions, such as replays of dead letters, or of what compaction
    /// removed. Nothing waits there.
    pub nothing_waits: BTreeSet<Partition>,
    /// Its dead letters.
    pub dead_letters: DeadLetterLog,
}

/// What the objects are like inside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// Everything that is wrong with single objects.
    pub findings: Vec<Finding>,
    /// Chunks that lost messages.
    pub dropped: Vec<Dropped>,
    /// Whether there were more gaps than could be held against Kafka.
    pub gaps_truncated: bool,
}

/// A chunk without some of its messages: Kafka has them, but they are neither rows nor dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The partition.
    pub partition: Partition,
    /// The object's key.
    pub key: String,
    /// The first of them.
    pub first: Offset,
    /// How many there are.
    pub count: u64,
}

/// Checks everything seen. Findings come by partition, in the order of offsets; those that concern
/// no single partition come last.
pub fn check(evidence: Evidence<'_>) -> Report {
    let Evidence { layout, objects, kafka, contents, group, expect_drained } = evidence;
    let deep = contents.is_some();
    let mut report = Report::new(layout, kafka.map(|_| group), deep);
    let mut by_partition: BTreeMap<Partition, Vec<&Object>> = BTreeMap::new();
    for partition in kafka.iter().flat_map(|kafka| kafka.partitions.keys()) {
        by_partition.entry(*partition).or_default();
    }
    let mut elsewhere = Vec::new();
    for object in objects {
        match object.partition() {
            Some(partition) => by_partition.entry(partition).or_default().push(object),
            None => elsewhere.push(foreign(layout, &object.key)),
        }
    }
    let Contents { findings, dropped, gaps_truncated } = contents.unwrap_or_default();
    let mut inside: BTreeMap<Option<Partition>, Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        inside.entry(finding.partition).or_default().push(finding);
    }
    for (partition, objects) in by_partition {
        let mut audit = PartitionAudit::new(layout, partition, objects);
        audit.objects();
        audit.chain();
        if let Some(kafka) = kafka {
            audit.log(kafka, group, expect_drained);
            audit.dead_letters(&kafka.dead_letters);
        }
        audit.inside(inside.remove(&Some(partition)).unwrap_or_default());
        audit.dropped(dropped.iter().filter(|dropped| dropped.partition == partition));
        audit.finish(kafka, &mut report);
    }
    report.findings.extend(inside.into_values().flatten());
    report.findings.extend(elsewhere);
    match kafka {
        Some(kafka) => letters(layout.topic(), &kafka.dead_letters, &mut report),
        None => report.notes.push(
            "Kafka was not asked: commits, lag, dead letters and the chains' ends are unchecked"
                .to_owned(),
        ),
    }
    report.total();
    if let Some(lag) = report.totals.lag.filter(|lag| *lag > 0 && !expect_drained) {
        let note = format!(
            "{lag} offsets wait to be stored: the sink is behind or not running; --expect-drained \
             makes a finding of it"
        );
        report.notes.push(note);
    }
    if kafka.is_some() && !deep && report.totals.gaps > 0 {
        let note = format!("only --deep asks Kafka about the {} gaps", report.totals.gaps);
        report.notes.push(note);
    }
    if gaps_truncated {
        report.notes.push("there are too many gaps to ask Kafka about each of them".to_owned());
    }
    report
}

impl Object {
    /// The chunk, where the object's metadata describe one.
    pub const fn chunk(&self) -> Option<&Chunk> {
        match &self.kind {
            ObjectKind::Chunk { metadata: Ok(chunk), .. } => Some(chunk),
            _ => None,
        }
    }

    /// The partition whose rows the object holds: by its metadata, else by its key.
    fn partition(&self) -> Option<Partition> {
        match &self.kind {
            ObjectKind::Chunk { metadata: Ok(chunk), .. } => Some(chunk.partition),
            ObjectKind::Chunk { name, .. } | ObjectKind::Vanished { name } => Some(name.partition),
            ObjectKind::Foreign => None,
        }
    }
}

fn foreign(layout: &Layout, key: &str) -> Finding {
    let (topic, prefix) = (layout.topic(), layout.topic_prefix());
    let message =
        format!("{key} is no chunk of {topic}: readers take it for data, move it out of {prefix}");
    Finding::about(Check::Foreign, None, key, message)
}

/// What concerns the dead-letter topic as a whole.
fn letters(topic: &str, log: &DeadLetterLog, report: &mut Report) {
    let letters = dead_letter::topic_of(topic);
    for unreadable in &log.unreadable {
        let (partition, offset) = (unreadable.partition, unreadable.offset);
        let message = format!(
            "the message at offset {offset} of partition {partition} of {letters} is no dead letter \
             of {topic}: {}",
            unreadable.problem
        );
        let (check, keys) = (Check::DeadLetters, Vec::new());
        report.findings.push(Finding { check, partition: None, offsets: None, keys, message });
    }
    if log.exists && !log.complete {
        report.notes.push(format!(
            "{letters} no longer holds its first messages: missing dead letters can't be told from \
             removed ones, and are no findings"
        ));
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
