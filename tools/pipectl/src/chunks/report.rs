//! The list of chunks, for people and as JSON.

use std::fmt;

use chunk_ledger::{Chunk, Layout};
use serde::Serialize;

use crate::columns::{self, Column};
use crate::text::{clipped, rfc3339};

/// Characters of a problem in the text.
const PROBLEM_CHARS_MAX: usize = 200;

const COLUMNS: [Column<ListedChunk>; 9] = [
    Column { name: "key", right: false, value: |one| one.key.clone() },
    Column { name: "offsets", right: true, value: |one| format!("{}..{}", one.start, one.end) },
    Column { name: "rows", right: true, value: |one| one.rows.to_string() },
    Column { name: "rejected", right: true, value: |one| one.rejected.to_string() },
    Column { name: "gaps", right: true, value: |one| one.gaps.to_string() },
    Column { name: "bytes", right: true, value: |one| one.bytes.to_string() },
    Column {
        name: "first message",
        right: false,
        value: |one| or_dash(one.first_timestamp.as_ref()),
    },
    Column {
        name: "last message",
        right: false,
        value: |one| or_dash(one.last_timestamp.as_ref()),
    },
    Column { name: "writer", right: false, value: |one| one.writer.clone() },
];

/// Chunks by partition, in the order of their offsets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChunkList {
    /// The topic.
    pub topic: String,
    /// What the keys begin with.
    pub prefix: String,
    /// The chunks, as many as were asked for.
    pub chunks: Vec<ListedChunk>,
    /// Sums over the chunks.
    pub totals: Totals,
    /// Objects at keys of chunks whose metadata describe none.
    pub unreadable: Vec<Unreadable>,
    /// Objects at other keys.
    pub foreign: u64,
}

/// One chunk. Ends name the next offset, as Kafka does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedChunk {
    /// The object's key.
    pub key: String,
    /// The partition.
    pub partition: i32,
    /// Where the chunk before it ends.
    pub start: i64,
    /// Behind its last offset.
    pub end: i64,
    /// Messages that became rows.
    pub rows: u64,
    /// Messages that became dead letters.
    pub rejected: u64,
    /// Offsets at which Kafka gave no message.
    pub gaps: u64,
    /// Size of the object.
    pub bytes: u64,
    /// When its first message was stamped, in RFC 3339; null without a stamp.
    pub first_timestamp: Option<String>,
    /// When its last message was stamped.
    pub last_timestamp: Option<String>,
    /// The process that stored it.
    pub writer: String,
}

/// Sums over the chunks of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Chunks.
    pub chunks: u64,
    /// Rows.
    pub rows: u64,
    /// Dead letters.
    pub rejected: u64,
    /// Offsets without a message.
    pub gaps: u64,
    /// Bytes of the objects.
    pub bytes: u64,
}

/// An object that can't be listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Its key.
    pub key: String,
    /// What is wrong with its metadata.
    pub problem: String,
}

impl ListedChunk {
    pub(super) fn new(key: String, bytes: u64, chunk: &Chunk) -> Self {
        Self {
            key,
            partition: chunk.partition.0,
            start: chunk.range.start.0,
            end: chunk.range.end.0,
            rows: chunk.rows,
            rejected: chunk.rejected,
            gaps: chunk.gaps,
            bytes,
            first_timestamp: rfc3339(chunk.first.timestamp),
            last_timestamp: rfc3339(chunk.last_timestamp),
            writer: chunk.writer.to_string(),
        }
    }
}

impl ChunkList {
    pub(super) fn new(layout: &Layout) -> Self {
        Self {
            topic: layout.topic().to_owned(),
            prefix: layout.topic_prefix(),
            chunks: Vec::new(),
            totals: Totals::default(),
            unreadable: Vec::new(),
            foreign: 0,
        }
    }

    /// Sums up, once everything is in. Counts come from metadata that anybody may have written: no
    /// sum of them overflows.
    pub(super) fn total(&mut self) {
        self.totals = self.chunks.iter().fold(Totals::default(), |sum, chunk| Totals {
            chunks: sum.chunks + 1,
            rows: sum.rows.saturating_add(chunk.rows),
            rejected: sum.rejected.saturating_add(chunk.rejected),
            gaps: sum.gaps.saturating_add(chunk.gaps),
            bytes: sum.bytes.saturating_add(chunk.bytes),
        });
    }
}

impl fmt::Display for ChunkList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.chunks.is_empty() {
            columns::write(f, &COLUMNS, &self.chunks)?;
            writeln!(f)?;
        }
        for Unreadable { key, problem } in &self.unreadable {
            writeln!(f, "note: {key}: {}", clipped(problem, PROBLEM_CHARS_MAX))?;
        }
        if self.foreign > 0 {
            let Self { foreign, topic, prefix, .. } = self;
            writeln!(f, "note: {foreign} objects below {prefix} are no chunks of {topic}")?;
        }
        let Totals { chunks, rows, rejected, gaps, bytes } = self.totals;
        write!(
            f,
            "chunks: {rows} rows + {rejected} dead letters + {gaps} gaps in {chunks} chunks, \
             {bytes} bytes"
        )
    }
}

fn or_dash(text: Option<&String>) -> String {
    text.map_or_else(|| "-".to_owned(), String::clone)
}
