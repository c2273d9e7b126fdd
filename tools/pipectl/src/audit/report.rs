//! The result of an audit: a table for people, a JSON document for programs.

use std::fmt;

use chunk_ledger::Layout;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::finding::Finding;

/// The result of an audit. As JSON its fields stand under their own names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The topic.
    pub topic: String,
    /// What the keys of its chunks begin with.
    pub prefix: String,
    /// The consumer group whose commits were checked; null if Kafka was not asked.
    pub group: Option<String>,
    /// Whether every object was read.
    pub deep: bool,
    /// One entry a partition, ascending.
    pub partitions: Vec<PartitionReport>,
    /// Everything that is wrong; empty if all is well.
    pub findings: Vec<Finding>,
    /// What limits the audit, in words.
    pub notes: Vec<String>,
    /// Over all partitions.
    pub totals: Totals,
}

/// One partition. Offsets that name an end name the next offset, as Kafka does; what only Kafka
/// knows is null if it was not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    /// Its number.
    pub partition: i32,
    /// Chunks with readable metadata; they alone count below.
    pub chunks: u64,
    /// Messages that became rows.
    pub rows: u64,
    /// Messages that became dead letters, as the chunks count them.
    pub rejected: u64,
    /// Offsets at which Kafka gave no message.
    pub gaps: u64,
    /// Size of the objects.
    pub bytes: u64,
    /// Start of the first chunk; null without chunks.
    pub first: Option<i64>,
    /// End of the chain; null without chunks.
    pub end: Option<i64>,
    /// What the group has committed; null also if it has committed nothing.
    pub committed: Option<i64>,
    /// The first offset that Kafka still holds.
    pub log_start: Option<i64>,
    /// The end of Kafka's log.
    pub log_end: Option<i64>,
    /// Offsets that Kafka holds behind the end of the chain: what is not stored yet.
    pub lag: Option<u64>,
    /// Offsets of the partition for which the dead-letter topic holds a letter.
    pub dead_letters: Option<u64>,
    /// Offsets that are missing in the chain, or committed and not stored.
    pub lost: u64,
    /// Offsets that more than one object claims; counted once for each object too many.
    pub duplicated: u64,
    /// Number of findings that concern it.
    pub findings: u64,
}

/// Sums over all partitions; the fields mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Chunks.
    pub chunks: u64,
    /// Rows.
    pub rows: u64,
    /// Rejected messages.
    pub rejected: u64,
    /// Offsets without a message.
    pub gaps: u64,
    /// Bytes of the objects.
    pub bytes: u64,
    /// Offsets not stored yet; null if Kafka was not asked.
    pub lag: Option<u64>,
    /// Offsets with a dead letter; null if Kafka was not asked.
    pub dead_letters: Option<u64>,
    /// Offsets lost.
    pub lost: u64,
    /// Offsets stored twice.
    pub duplicated: u64,
    /// Findings, those that concern no single partition included.
    pub findings: u64,
}

impl Report {
    /// A report without partitions; `group` is `None` if Kafka was not asked.
    pub(super) fn new(layout: &Layout, group: Option<&str>, deep: bool) -> Self {
        Self {
            topic: layout.topic().to_owned(),
            prefix: layout.topic_prefix(),
            group: group.map(str::to_owned),
            deep,
            partitions: Vec::new(),
            findings: Vec::new(),
            notes: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Sums up, once everything is in.
    pub(super) fn total(&mut self) {
        let all = || self.partitions.iter();
        let known = |count: fn(&PartitionReport) -> Option<u64>| {
            self.group.as_ref().map(|_| sum(all().filter_map(count)))
        };
        self.totals = Totals {
            chunks: sum(all().map(|one| one.chunks)),
            rows: sum(all().map(|one| one.rows)),
            rejected: sum(all().map(|one| one.rejected)),
            gaps: sum(all().map(|one| one.gaps)),
            bytes: sum(all().map(|one| one.bytes)),
            lag: known(|one| one.lag),
            dead_letters: known(|one| one.dead_letters),
            lost: sum(all().map(|one| one.lost)),
            duplicated: sum(all().map(|one| one.duplicated)),
            findings: self.findings.len() as u64,
        };
    }

    /// Whether nothing is wrong.
    pub const fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// One line for people and for scripts.
    pub fn summary(&self) -> String {
        let Totals { chunks, rows, rejected, lost, duplicated, findings, .. } = self.totals;
        format!(
            "audit: {rows} rows + {rejected} dead letters in {chunks} chunks, \
             {lost} lost, {duplicated} duplicated, {findings} findings"
        )
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header([
            "partition",
            "chunks",
            "rows",
            "rejected",
            "gaps",
            "bytes",
            "first",
            "end",
            "committed",
            "log end",
            "lag",
            "findings",
        ]);
        for one in &self.partitions {
            table.add_row([
                one.partition.to_string(),
                one.chunks.to_string(),
                one.rows.to_string(),
                one.rejected.to_string(),
                one.gaps.to_string(),
                one.bytes.to_string(),
                or_dash(one.first),
                or_dash(one.end),
                or_dash(one.committed),
                or_dash(one.log_end),
                or_dash(one.lag),
                one.findings.to_string(),
            ]);
        }
        let totals = &self.totals;
        let none = || "-".to_owned();
        table.add_row([
            "all".to_owned(),
            totals.chunks.to_string(),
            totals.rows.to_string(),
            totals.rejected.to_string(),
            totals.gaps.to_string(),
            totals.bytes.to_string(),
            none(),
            none(),
            none(),
            none(),
            or_dash(totals.lag),
            totals.findings.to_string(),
        ]);
        for column in table.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, prefix, .. } = self;
        let depth = if self.deep { "every object read" } else { "objects not read" };
        let group = match &self.group {
            Some(group) => format!("group {group}"),
            None => "Kafka not asked".to_owned(),
        };
        writeln!(f, "{topic} below {prefix} ({group}, {depth})\n")?;
        writeln!(f, "{}\n", self.table().trim_fmt())?;
        if !self.findings.is_empty() {
            writeln!(f, "findings:")?;
            self.findings.iter().try_for_each(|finding| writeln!(f, "  {finding}"))?;
            writeln!(f)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))?;
        write!(f, "{}", self.summary())
    }
}

/// Counts come from metadata that anybody may have written: no sum of them may overflow.
pub(super) fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
