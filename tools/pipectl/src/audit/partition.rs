//! One partition under audit: its objects, their chain, and what Kafka says of it.

use chunk_ledger::invariants::{Break, Invariant, adds_up, chain_breaks, uncovered_commit};
use chunk_ledger::{Chunk, Layout, ObjectName, Offset, OffsetRange, Partition};
use pipeline_model::dead_letter;

use super::check::{Dropped, KafkaFacts, Object, ObjectKind};
use super::finding::{Check, Finding};
use super::report::{PartitionReport, Report, sum};
use crate::kafka::{DeadLetterLog, PartitionOffsets};

/// One partition under audit.
pub(super) struct PartitionAudit<'a> {
    layout: &'a Layout,
    partition: Partition,
    objects: Vec<&'a Object>,
    /// The chunks whose metadata can be read, by start.
    chunks: Vec<(&'a Object, &'a Chunk)>,
    ranges: Vec<OffsetRange>,
    findings: Vec<Finding>,
    lost: u64,
    duplicated: u64,
}

impl<'a> PartitionAudit<'a> {
    pub(super) fn new(layout: &'a Layout, partition: Partition, objects: Vec<&'a Object>) -> Self {
        let mut chunks: Vec<(&Object, &Chunk)> =
            objects.iter().filter_map(|object| Some((*object, object.chunk()?))).collect();
        chunks.sort_by(|(a, one), (b, other)| (one.range, &a.key).cmp(&(other.range, &b.key)));
        let ranges = chunks.iter().map(|(_, chunk)| chunk.range).collect();
        let findings = Vec::new();
        Self { layout, partition, objects, chunks, ranges, findings, lost: 0, duplicated: 0 }
    }

    /// Each object for itself.
    pub(super) fn objects(&mut self) {
        for object in &self.objects {
            let key = &object.key;
            let found = match &object.kind {
                ObjectKind::Chunk { name, metadata: Ok(chunk) } => {
                    self.findings.extend(check_chunk(self.layout, key, name, chunk));
                    continue;
                }
                ObjectKind::Chunk { metadata: Err(error), .. } => format!("{key}: {error}"),
                ObjectKind::Vanished { .. } => {
                    format!("{key} was listed and is gone: somebody deletes chunks")
                }
                ObjectKind::Foreign => continue,
            };
            let finding = Finding::about(Check::Metadata, Some(self.partition), key, found);
            self.findings.push(finding);
        }
    }

    /// L1 and L2 between the objects.
    pub(super) fn chain(&mut self) {
        let partition = self.partition;
        for found in chain_breaks(&self.ranges) {
            let (word, offsets, one, other) = match found {
                Break::Gap { missing, before, after } => {
                    self.lost = self.lost.saturating_add(missing.len());
                    ("gap", missing, before, after)
                }
                Break::Overlap { twice, first, second } => {
                    self.duplicated = self.duplicated.saturating_add(twice.len());
                    ("overlap", twice, first, second)
                }
            };
            let (one, other) = (&self.chunks[one].0.key, &self.chunks[other].0.key);
            let message =
                format!("{word} {offsets} in partition {partition} between {one} and {other}");
            let check = Check::Invariant(found.invariant());
            self.findings.push(Finding::at(check, partition, offsets, &[one, other], message));
        }
    }

    /// The chain against the partition's log and commit.
    pub(super) fn log(&mut self, kafka: &KafkaFacts, group: &str, expect_drained: bool) {
        let Some(PartitionOffsets { committed, log }) = kafka.partitions.get(&self.partition)
        else {
            return self.unknown_partition(kafka.partitions.len());
        };
        if !self.end(*committed, *log) {
            self.start(*log);
        }
        if let Some(committed) = committed {
            self.commit(*committed, *log, group);
        }
        let waiting = self.waiting(*log, kafka);
        if expect_drained && !waiting.is_empty() {
            let message = format!(
                "{waiting} of partition {} is not stored: {} offsets wait",
                self.partition,
                waiting.len()
            );
            self.found(Check::Lag, waiting, &[], message);
        }
    }

    fn unknown_partition(&mut self, partitions: usize) {
        let message = format!(
            "partition {} has chunks, but {} has {partitions} partitions",
            self.partition,
            self.layout.topic()
        );
        let keys = self.objects.iter().map(|object| object.key.clone()).take(1).collect();
        let (check, partition) = (Check::Log, Some(self.partition));
        self.findings.push(Finding { check, partition, offsets: None, keys, message });
    }

    /// L1 in front of the chain: what Kafka still holds there was never stored.
    fn start(&mut self, log: OffsetRange) {
        let Some((object, chunk)) = self.chunks.first() else { return };
        let missing = OffsetRange { start: log.start, end: chunk.range.start };
        if missing.is_empty() {
            return;
        }
        self.lost = self.lost.saturating_add(missing.len());
        let (partition, key) = (self.partition, object.key.as_str());
        let message = format!(
            "gap {missing} in partition {partition} before {key}: Kafka still holds these offsets"
        );
        self.found(Check::Invariant(Invariant::L1), missing, &[key], message);
    }

    /// L1 behind the chain: what is committed is never read again.
    fn commit(&mut self, committed: Offset, log: OffsetRange, group: &str) {
        let Some(missing) = uncovered_commit(&self.ranges, committed, log.start) else { return };
        self.lost = self.lost.saturating_add(missing.len());
        let last = self.last().map(|(object, _)| object.key.as_str());
        let place = match last {
            Some(key) => format!("after {key}"),
            None => "which has no chunk".to_owned(),
        };
        let message = format!(
            "gap {missing} in partition {}, {place}: group {group} has committed {committed}",
            self.partition
        );
        self.found(Check::Invariant(Invariant::L1), missing, last.as_slice(), message);
    }

    /// The chain's end lies inside the log, or the objects and Kafka have parted: then its start
    /// says nothing. Returns whether they have.
    fn end(&mut self, committed: Option<Offset>, log: OffsetRange) -> bool {
        let partition = self.partition;
        let last = self.last();
        let stored = last.map(|(_, chunk)| chunk.range.end);
        if let Some((object, Chunk { range, .. })) = last
            && range.end > log.end
        {
            let beyond = OffsetRange { start: log.end, end: range.end };
            let message = format!(
                "partition {partition} is stored up to {}, but Kafka's log ends at {}: \
                 the topic was created anew or truncated",
                range.end, log.end
            );
            self.found(Check::Log, beyond, &[object.key.as_str()], message);
            return true;
        }
        if let Some(stored) = stored.max(committed)
            && stored < log.start
        {
            let removed = OffsetRange { start: stored, end: log.start };
            let message = format!(
                "Kafka has removed {removed} of partition {partition} before it was stored: \
                 its retention is too short for the sink's lag"
            );
            self.found(Check::Log, removed, &[], message);
        }
        false
    }

    /// Rejected offsets against the dead letters of the same range.
    pub(super) fn dead_letters(&mut self, log: &DeadLetterLog) {
        if log.exists && !log.complete {
            return;
        }
        let topic = dead_letter::topic_of(self.layout.topic());
        for (object, chunk) in &self.chunks {
            let letters = log.letters(self.partition, chunk.range).count() as u64;
            // More letters than rejected offsets are no loss: a repetition after a crash may have
            // found the message removed, or readable by then.
            if letters < chunk.rejected {
                let (partition, keys) = (self.partition, [object.key.as_str()]);
                let message = format!(
                    "{} counts {} rejected offsets, but {topic} holds letters of {letters}",
                    object.key, chunk.rejected
                );
                let check = Check::DeadLetters;
                self.findings.push(Finding::at(check, partition, chunk.range, &keys, message));
            }
        }
    }

    /// What is wrong inside the objects.
    pub(super) fn inside(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
    }

    /// L1 inside the objects: messages that a chunk spans and does not hold.
    pub(super) fn dropped<'b>(&mut self, dropped: impl Iterator<Item = &'b Dropped>) {
        for Dropped { partition, key, first, count } in dropped {
            self.lost = self.lost.saturating_add(*count);
            let message = format!(
                "{key} lacks {count} messages that Kafka holds, first offset {first} of partition \
                 {partition}: neither a row nor a dead letter"
            );
            let check = Check::Invariant(Invariant::L1);
            self.findings.push(Finding::about(check, Some(*partition), key, message));
        }
    }

    /// Adds the partition to the report.
    pub(super) fn finish(self, kafka: Option<&KafkaFacts>, report: &mut Report) {
        let chunks = self.chunks.iter().map(|(_, chunk)| *chunk);
        let offsets = kafka.and_then(|kafka| kafka.partitions.get(&self.partition)).copied();
        let every = OffsetRange { start: Offset(0), end: Offset(i64::MAX) };
        let letters =
            |kafka: &KafkaFacts| kafka.dead_letters.letters(self.partition, every).count();
        report.partitions.push(PartitionReport {
            partition: self.partition.0,
            chunks: self.chunks.len() as u64,
            rows: sum(chunks.clone().map(|chunk| chunk.rows)),
            rejected: sum(chunks.clone().map(|chunk| chunk.rejected)),
            gaps: sum(chunks.map(|chunk| chunk.gaps)),
            bytes: self.chunks.iter().map(|(object, _)| object.bytes).sum(),
            first: self.ranges.first().map(|range| range.start.0),
            end: self.last().map(|(_, chunk)| chunk.range.end.0),
            committed: offsets.and_then(|offsets| offsets.committed).map(|offset| offset.0),
            log_start: offsets.map(|offsets| offsets.log.start.0),
            log_end: offsets.map(|offsets| offsets.log.end.0),
            lag: kafka.zip(offsets).map(|(kafka, offsets)| self.waiting(offsets.log, kafka).len()),
            dead_letters: kafka.map(|kafka| letters(kafka) as u64),
            lost: self.lost,
            duplicated: self.duplicated,
            findings: self.findings.len() as u64,
        });
        report.findings.extend(self.findings);
    }

    /// The chunk that reaches furthest.
    fn last(&self) -> Option<(&'a Object, &'a Chunk)> {
        self.chunks.iter().copied().max_by_key(|(_, chunk)| chunk.range.end)
    }

    /// What Kafka holds behind the chain.
    fn waiting(&self, log: OffsetRange, kafka: &KafkaFacts) -> OffsetRange {
        let stored = self.last().map_or(log.start, |(_, chunk)| chunk.range.end);
        let start = match kafka.nothing_waits.contains(&self.partition) {
            true => log.end,
            false => stored.max(log.start),
        };
        OffsetRange { start, end: log.end }
    }

    fn found(&mut self, check: Check, offsets: OffsetRange, keys: &[&str], message: String) {
        self.findings.push(Finding::at(check, self.partition, offsets, keys, message));
    }
}

/// One chunk for itself: its key, its counts and its marks.
fn check_chunk(layout: &Layout, key: &str, name: &ObjectName, chunk: &Chunk) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |check, message| {
        findings.push(Finding::at(check, chunk.partition, chunk.range, &[key], message));
    };
    let range = chunk.range;
    if (name.partition, name.start) != (chunk.partition, range.start) {
        let message = format!(
            "{key} describes offsets {range} of partition {}: it was copied or renamed by hand",
            chunk.partition
        );
        found(Check::Key, message);
    } else if name.day != chunk.day() {
        let right = layout.key(chunk.partition, chunk.day(), range.start);
        let message = format!("{key} begins with a message of {}, its key is {right}", chunk.day());
        found(Check::Key, message);
    }
    if !adds_up(chunk) {
        let Chunk { rows, rejected, gaps, .. } = chunk;
        let message = format!(
            "{key} counts {rows} rows + {rejected} rejected + {gaps} gaps, but {range} are {} offsets",
            range.len()
        );
        found(Check::Counts, message);
    }
    let first = chunk.first.offset;
    if first < range.start || first >= range.end {
        let message = format!("{key} says that its first message is {first}, outside of {range}");
        found(Check::Metadata, message);
    }
    findings
}
