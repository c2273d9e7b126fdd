//! One object, read: are its rows those that its metadata claim?

use std::collections::BTreeSet;
use std::fmt::Display;

use arrow::array::AsArray;
use arrow::datatypes::{Field, Fields, Int32Type, Int64Type};
use chunk_ledger::{Chunk, FOOTER_PREFIX, Offset, OffsetRange, from_metadata, to_metadata};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{PARQUET_FIELD_ID_META_KEY, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use pipeline_model::schema::{KAFKA_OFFSET, KAFKA_PARTITION, schema};

use super::finding::{Check, Finding};
use super::remote::Source;

/// The columns that are read.
const READ: [&str; 2] = [KAFKA_PARTITION, KAFKA_OFFSET];
/// What is asked for at first: the footer of an object of some ten row groups.
const FOOTER_BYTES: u64 = 64 << 10;
/// Rows decoded at a time, two integers each.
const BATCH_ROWS: usize = 16 << 10;

/// What one object is like inside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Contents {
    /// Everything that is wrong.
    pub(super) findings: Vec<Finding>,
    /// The offsets of the chunk that are neither a row nor a dead letter, ascending. Only Kafka can
    /// tell whether it has messages there.
    pub(super) missing: Vec<OffsetRange>,
}

/// Reads `object`, which lies at `key` and is to hold `chunk` of `topic`. `letters` are the offsets
/// of the chunk that have a dead letter. One row group is held at a time, and of it two columns.
pub(super) fn verify<S: Source>(
    topic: &str,
    key: &str,
    object: S,
    chunk: &Chunk,
    letters: &BTreeSet<Offset>,
) -> Contents {
    let footer = object
        .prefetch(object.len().saturating_sub(FOOTER_BYTES)..object.len())
        .and_then(|()| ArrowReaderMetadata::load(&object, ArrowReaderOptions::new()));
    let footer = match footer {
        Ok(footer) => footer,
        Err(error) => return unreadable(key, chunk, &error).into(),
    };
    let pairs = footer.metadata().file_metadata().key_value_metadata();
    let problems = [
        footer_problem(topic, pairs.map_or(&[], Vec::as_slice), chunk),
        schema_problem(footer.schema().fields()),
    ];
    let mut findings: Vec<Finding> = problems
        .into_iter()
        .flatten()
        .map(|problem| found(Check::Parquet, chunk, key, format!("{key}: {problem}")))
        .collect();
    match Rows::read(&object, &footer, chunk, letters) {
        Ok(mut rows) => {
            let missing = std::mem::take(&mut rows.missing);
            findings.extend(rows.findings(key, chunk));
            Contents { findings, missing }
        }
        Err(error) => {
            findings.push(unreadable(key, chunk, &error));
            findings.into()
        }
    }
}

impl From<Vec<Finding>> for Contents {
    fn from(findings: Vec<Finding>) -> Self {
        Self { findings, missing: Vec::new() }
    }
}

impl From<Finding> for Contents {
    fn from(finding: Finding) -> Self {
        vec![finding].into()
    }
}

/// The finding for an object that no reader takes.
pub(super) fn unreadable(key: &str, chunk: &Chunk, error: &dyn Display) -> Finding {
    found(Check::Parquet, chunk, key, format!("{key} can't be read as Parquet: {error}"))
}

fn found(check: Check, chunk: &Chunk, key: &str, message: String) -> Finding {
    Finding::at(check, chunk.partition, chunk.range, &[key], message)
}

/// How the footer's key-value pairs differ from the object's metadata.
fn footer_problem(topic: &str, pairs: &[KeyValue], chunk: &Chunk) -> Option<String> {
    let get = |name: &str| {
        let mut pairs = pairs.iter();
        let pair = pairs.find(|pair| pair.key.strip_prefix(FOOTER_PREFIX) == Some(name))?;
        pair.value.as_deref()
    };
    let footer = match from_metadata(topic, get) {
        Ok(footer) => footer,
        Err(error) => return Some(format!("as to the footer, {error}")),
    };
    let (stored, described) = (to_metadata(topic, &footer), to_metadata(topic, chunk));
    let differing = stored.iter().zip(&described).filter(|(stored, described)| stored != described);
    let differing: Vec<String> = differing
        .map(|((name, stored), (_, described))| format!("{name}={stored}, not {described}"))
        .collect();
    (!differing.is_empty())
        .then(|| format!("its footer differs from its metadata: {}", differing.join("; ")))
}

fn schema_problem(found: &Fields) -> Option<String> {
    let wanted = schema();
    let wanted = wanted.fields();
    if found == wanted {
        return None;
    }
    let differing = found.iter().zip(wanted).find(|(found, wanted)| found != wanted);
    Some(match differing {
        Some((found, wanted)) => {
            format!("it has a column {}, where {} should be", column(found), column(wanted))
        }
        None => format!("it has {} columns, not {}", found.len(), wanted.len()),
    })
}

/// `zip Utf8 (required, id 6)`.
fn column(field: &Field) -> String {
    let presence = if field.is_nullable() { "nullable" } else { "required" };
    let id = field.metadata().get(PARQUET_FIELD_ID_META_KEY).map_or("none", String::as_str);
    format!("{} {} ({presence}, id {id})", field.name(), field.data_type())
}

/// What was seen of the rows; of each kind of mistake the first one is kept as an example.
#[derive(Debug, Default)]
struct Rows {
    count: u64,
    previous: Option<i64>,
    missing: Vec<OffsetRange>,
    wrong_partition: Mistakes,
    not_increasing: Mistakes,
    outside: Mistakes,
    also_letter: Mistakes,
}

#[derive(Debug, Default)]
struct Mistakes {
    count: u64,
    first: Option<String>,
}

impl Rows {
    fn read<S: Source>(
        object: &S,
        footer: &ArrowReaderMetadata,
        chunk: &Chunk,
        letters: &BTreeSet<Offset>,
    ) -> Result<Self, ParquetError> {
        let wanted = ProjectionMask::columns(footer.parquet_schema(), READ);
        let mut rows = Self::default();
        for (index, group) in footer.metadata().row_groups().iter().enumerate() {
            let ranges = group.columns().iter().filter_map(|column| {
                let (start, length) = column.byte_range();
                let is_read = READ.contains(&column.column_path().string().as_str());
                is_read.then_some(start..start.saturating_add(length))
            });
            // They lie side by side.
            let span = ranges.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
            object.prefetch(span.unwrap_or_default())?;
            let group =
                ParquetRecordBatchReaderBuilder::new_with_metadata(object.clone(), footer.clone());
            let group = group.with_row_groups(vec![index]).with_projection(wanted.clone());
            rows.read_group(group.with_batch_size(BATCH_ROWS).build()?, chunk, letters)?;
        }
        rows.skip_to(chunk.range.end, chunk, letters);
        Ok(rows)
    }

    fn read_group(
        &mut self,
        batches: ParquetRecordBatchReader,
        chunk: &Chunk,
        letters: &BTreeSet<Offset>,
    ) -> Result<(), ParquetError> {
        for batch in batches {
            let batch = batch?;
            let partitions = batch
                .column_by_name(KAFKA_PARTITION)
                .and_then(|column| column.as_primitive_opt::<Int32Type>());
            let offsets = batch
                .column_by_name(KAFKA_OFFSET)
                .and_then(|column| column.as_primitive_opt::<Int64Type>());
            let (Some(partitions), Some(offsets)) = (partitions, offsets) else {
                let problem = format!("it has no {KAFKA_PARTITION} int32 or {KAFKA_OFFSET} int64");
                return Err(ParquetError::General(problem));
            };
            for (partition, offset) in partitions.values().iter().zip(offsets.values()) {
                self.see(*partition, *offset, chunk, letters);
            }
        }
        Ok(())
    }

    fn see(&mut self, partition: i32, offset: i64, chunk: &Chunk, letters: &BTreeSet<Offset>) {
        self.count += 1;
        if partition != chunk.partition.0 {
            self.wrong_partition.add(|| format!("partition {partition} at offset {offset}"));
        }
        self.skip_to(Offset(offset), chunk, letters);
        if let Some(previous) = self.previous.replace(offset)
            && offset <= previous
        {
            self.not_increasing.add(|| format!("{offset} after {previous}"));
        }
        if offset < chunk.range.start.0 || offset >= chunk.range.end.0 {
            self.outside.add(|| format!("offset {offset}"));
        }
        if letters.contains(&Offset(offset)) {
            self.also_letter.add(|| format!("offset {offset}"));
        }
    }

    /// Remembers what lies between the last row and `offset`, but for the dead letters.
    fn skip_to(&mut self, offset: Offset, chunk: &Chunk, letters: &BTreeSet<Offset>) {
        let mut start = match self.previous {
            Some(previous) => Offset(previous.saturating_add(1)).max(chunk.range.start),
            None => chunk.range.start,
        };
        let end = offset.min(chunk.range.end);
        if start >= end {
            return;
        }
        for letter in letters.range(start..end).copied().chain([end]) {
            let missing = OffsetRange { start, end: letter };
            if !missing.is_empty() {
                self.missing.push(missing);
            }
            start = letter.next();
        }
    }

    fn findings(self, key: &str, chunk: &Chunk) -> Vec<Finding> {
        let Chunk { partition, range, rows, .. } = chunk;
        let kinds = [
            (self.wrong_partition, format!("rows of another partition than {partition}")),
            (self.not_increasing, "rows whose offset does not increase".to_owned()),
            (self.outside, format!("rows outside of {range}")),
            (self.also_letter, "rows that are dead letters, too".to_owned()),
        ];
        let mut findings: Vec<Finding> = kinds
            .into_iter()
            .filter_map(|(mistakes, kind)| {
                let (count, first) = (mistakes.count, mistakes.first?);
                let message = format!("{key} holds {count} {kind}, first {first}");
                Some(found(Check::Rows, chunk, key, message))
            })
            .collect();
        if self.count != *rows {
            let message = format!("{key} holds {} rows, its metadata say {rows}", self.count);
            findings.push(found(Check::Rows, chunk, key, message));
        }
        findings
    }
}

impl Mistakes {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(example);
    }
}

#[cfg(test)]
#[path = "deep_tests.rs"]
mod tests;
