//! Everything that the outcome depends on at one moment: the log, the store, the group's commit,
//! two sinks, and the requests that are on their way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chunk_ledger::{Chunk, Day, Mark, Offset, OffsetRange, PartitionLedger, Timestamp, WriterId};

/// One partition's world. Requests that outlive whoever sent them stay on their way for as long
/// as they like: that is how a paused owner's late PUT, or a commit that was given up, gets in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// Two processes; `None` where none runs, or one runs that never had the partition.
    pub(crate) sinks: [Option<Sink>; 2],
    /// The store: objects by the day and the start in their keys.
    pub(crate) objects: BTreeMap<(Day, Offset), Object>,
    /// What the group holds.
    pub(crate) committed: Option<Offset>,
    /// PUTs under way that nobody waits for any more.
    pub(crate) late_puts: Vec<Arc<Content>>,
    /// Commits under way that nobody waits for any more.
    pub(crate) late_commits: BTreeSet<Offset>,
    /// Messages that retention removed, counted from the log's first.
    pub(crate) removed: usize,
    /// The sink that the partition was last assigned to.
    pub(crate) assignee: Option<usize>,
    /// How often the partition was assigned; numbers the processes, too.
    pub(crate) assignments: u8,
    /// Answers of the store that were lost.
    pub(crate) lost_answers: u8,
    /// Commits that were lost, or whose answer was.
    pub(crate) lost_commits: u8,
}

/// A sink process that was assigned the partition, and what its runtime holds for the ledger.
/// After a revocation it stays, since answers may still come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sink {
    pub(crate) ledger: PartitionLedger,
    /// The process; a new assignment to the same process keeps it.
    pub(crate) writer: WriterId,
    /// Whether it believes that the partition is its own.
    pub(crate) is_owner: bool,
    /// Where its consumer goes on reading.
    pub(crate) read: Offset,
    /// A message that the ledger did not want yet.
    pub(crate) held: Option<Mark>,
    /// The messages in the open chunk.
    pub(crate) open: Vec<Offset>,
    pub(crate) probe: Option<Probe>,
    pub(crate) put: Option<Put>,
    pub(crate) commit: Option<Commit>,
}

/// A question to the store: which chunk lies at this key?
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Probe {
    pub(crate) key: (Day, Offset),
    /// The answer, once the store was read; it may be out of date when it is delivered.
    pub(crate) answer: Option<Option<Chunk>>,
}

/// A PUT that the sink waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Put {
    pub(crate) content: Arc<Content>,
    /// `None` while the store has not seen it.
    pub(crate) answer: Option<Answer>,
}

/// What the store says to a PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Created,
    Exists(Chunk),
}

/// A commit that the sink waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Commit {
    pub(crate) offset: Offset,
    pub(crate) applied: bool,
}

/// The body of an object: its metadata, and the messages that were really appended to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    pub(crate) chunk: Chunk,
    pub(crate) offsets: Vec<Offset>,
}

/// An object in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Object {
    /// As it was created.
    pub(crate) created: Arc<Content>,
    /// As it is now.
    pub(crate) now: Arc<Content>,
    /// Whether it was created by a PUT that nobody waited for any more.
    pub(crate) late: bool,
    /// Whether its first message was gone from the log before it was created.
    pub(crate) outlived_first: bool,
}

impl World {
    /// Before the first assignment.
    pub(crate) fn new() -> Self {
        Self {
            sinks: [None, None],
            objects: BTreeMap::new(),
            committed: None,
            late_puts: Vec::new(),
            late_commits: BTreeSet::new(),
            removed: 0,
            assignee: None,
            assignments: 0,
            lost_answers: 0,
            lost_commits: 0,
        }
    }

    /// The chunks in the store, sorted by their start.
    pub(crate) fn chunks(&self) -> Vec<Chunk> {
        let mut chunks: Vec<_> = self.objects.values().map(|object| object.now.chunk).collect();
        chunks.sort_by_key(|chunk| chunk.range);
        chunks
    }

    /// Their ranges.
    pub(crate) fn ranges(&self) -> Vec<OffsetRange> {
        self.chunks().iter().map(|chunk| chunk.range).collect()
    }

    /// The sinks that are there, revoked ones included.
    pub(crate) fn present(&self) -> impl Iterator<Item = &Sink> {
        self.sinks.iter().flatten()
    }

    /// A PUT travels on although nobody waits for it any more.
    pub(crate) fn abandon_put(&mut self, content: Arc<Content>) {
        self.late_puts.push(content);
        // One order for what has none, so that equal worlds are equal.
        self.late_puts.sort_by_key(|content| (content.chunk.range, content.chunk.writer));
    }
}

impl Content {
    /// The object's key.
    pub(crate) fn key(&self) -> (Day, Offset) {
        (self.chunk.day(), self.chunk.range.start)
    }
}

/// A log of messages at these offsets and days.
pub(crate) fn log(messages: &[(i64, i64)]) -> Vec<Mark> {
    const MILLIS_PER_DAY: i64 = 86_400_000;
    let mark = |&(offset, day): &(i64, i64)| Mark {
        offset: Offset(offset),
        timestamp: Timestamp(day * MILLIS_PER_DAY),
    };
    messages.iter().map(mark).collect()
}
