//! Everything that the outcome depends on at one moment: the log, the store, the group's commit,
//! two sinks, and the requests that are on their way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chunk_ledger::{Chunk, Day, Mark, Offset, OffsetRange, PartitionLedger, Timestamp, WriterId};

/// One partition's world. Requests that outlive whoever sent them stay on their way for as long
/// as they like: that is how a paused owner's late PUT, or a commit that was given up, gets in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// Two sink processes, where they run.
    pub(crate) processes: [Option<Process>; 2],
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
    /// The process that the partition was last assigned to, in a group that fences.
    pub(crate) assignee: Option<usize>,
    /// How often the partition was assigned; numbers the writers, too.
    pub(crate) assignments: u8,
    /// PUTs that were given up and sent again.
    pub(crate) lost_answers: u8,
    /// Commits that were given up.
    pub(crate) lost_commits: u8,
    /// Chunks whose bytes were lost on their way to the store.
    pub(crate) lost_uploads: u8,
}

/// A sink process from its first assignment to its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) writer: WriterId,
    /// While it believes that the partition is its own.
    pub(crate) sink: Option<Sink>,
    /// What that sink waits for.
    pub(crate) requests: Requests,
}

/// The ledger of one assignment, and what the runtime holds for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sink {
    pub(crate) ledger: PartitionLedger,
    /// Where the consumer goes on reading.
    pub(crate) read: Offset,
    /// A message that the ledger did not want yet.
    pub(crate) held: Option<Mark>,
    /// The messages in the open chunk.
    pub(crate) open: Vec<Offset>,
}

/// What a process has sent and not heard of yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Requests {
    pub(crate) probe: Option<Probe>,
    pub(crate) put: Option<Put>,
    /// The offset to be committed. The group's answer comes at once: whatever a sink does between
    /// the two, it could have done before or after.
    pub(crate) commit: Option<Offset>,
}

/// A question to the store: which chunk lies at this key?
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Probe {
    pub(crate) key: (Day, Offset),
    /// The answer, once the store was read; it may be out of date when it is delivered.
    pub(crate) answer: Option<Option<Chunk>>,
}

/// A PUT that a process waits for, or the completion of an upload: either creates the object at
/// once, or does not.
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
    /// Whether a PUT that nobody waited for any more came too late for it.
    pub(crate) outran: bool,
    /// Whether its first message was gone from the log before it was created.
    pub(crate) outlived_first: bool,
}

impl World {
    /// Before the first assignment.
    pub(crate) fn new() -> Self {
        Self {
            processes: [None, None],
            objects: BTreeMap::new(),
            committed: None,
            late_puts: Vec::new(),
            late_commits: BTreeSet::new(),
            removed: 0,
            assignee: None,
            assignments: 0,
            lost_answers: 0,
            lost_commits: 0,
            lost_uploads: 0,
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

    /// The sinks that believe they own the partition, each with its process.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (&Process, &Sink)> {
        let running = self.processes.iter().flatten();
        running.filter_map(|process| process.sink.as_ref().map(|sink| (process, sink)))
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
