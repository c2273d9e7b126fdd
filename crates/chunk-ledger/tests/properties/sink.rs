//! A sink over some partitions, with its store and its group in memory. It does one thing at a
//! time, says when, and checks the invariants after each.

mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chunk_ledger::{
    Action, Appended, Budget, Chunk, Layout, Limits, Mark, Offset, OffsetRange, Partition,
    PartitionLedger, SealReason, StoreOutcome, Verdict, WriterId, invariants,
};

/// Another process that stores chunks of its own.
const RIVAL: WriterId = WriterId(u128::MAX);

/// A message of a partition's log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    pub(crate) mark: Mark,
    /// What it takes of the memory.
    pub(crate) bytes: u64,
    /// Whether it becomes a dead letter.
    pub(crate) is_rejected: bool,
}

/// How a request to the store or to the group ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// It is done, and its answer arrives.
    Answered,
    /// It is done, but its answer is lost.
    AnswerLost,
    /// It is not done, and somebody says so; a PUT may still arrive later.
    Failed,
    /// It can't be done any more: an upload is gone. A commit just fails.
    Lost,
}

/// The world of one sink.
pub(crate) struct World {
    layout: Layout,
    limits: Limits,
    now: Duration,
    processes: u128,
    budget: Budget,
    largest_message: u64,
    lanes: Vec<Lane>,
    /// The store, by key.
    objects: BTreeMap<String, Content>,
    /// Each object as it was created.
    created: BTreeMap<String, Content>,
    /// PUTs of processes that are gone, or that were given up.
    late_puts: Vec<Content>,
    /// What happened, to know that it did.
    met: BTreeSet<&'static str>,
}

/// A partition: its log, what the group holds, and the sink's part in it.
struct Lane {
    partition: Partition,
    log: Vec<Message>,
    log_start: Offset,
    committed: Option<Offset>,
    /// `None` while the partition is not assigned.
    owned: Option<Owned>,
}

/// What the sink holds of a partition.
struct Owned {
    ledger: PartitionLedger,
    read: Offset,
    held: Option<Message>,
    open: Vec<Offset>,
    /// Of the open chunk: its size, and the share of that which is held here and on its way.
    open_bytes: u64,
    held_bytes: u64,
    part_bytes: u64,
    probe: Option<String>,
    put: Option<Content>,
    commit: Option<Offset>,
}

#[derive(Debug, Clone, PartialEq)]
struct Content {
    chunk: Chunk,
    offsets: Vec<Offset>,
}

impl World {
    /// Each log begins at its offset; the memory is shared by all partitions. Assigns them all.
    pub(crate) fn new(logs: Vec<(Offset, Vec<Message>)>, limits: Limits, bytes_max: u64) -> Self {
        let messages = logs.iter().flat_map(|(_, log)| log);
        let largest_message = messages.map(|message| message.bytes).max().unwrap_or(0);
        let lane = |(index, (log_start, log))| Lane {
            partition: Partition(index),
            log,
            log_start,
            committed: None,
            owned: None,
        };
        let mut world = Self {
            layout: Layout::new("prefix", "topic"),
            limits,
            now: Duration::ZERO,
            processes: 0,
            budget: Budget::new(bytes_max),
            largest_message,
            lanes: (0..).zip(logs).map(lane).collect(),
            objects: BTreeMap::new(),
            created: BTreeMap::new(),
            late_puts: Vec::new(),
            met: BTreeSet::new(),
        };
        world.crash();
        world
    }

    /// What happened so far, by name.
    pub(crate) fn met(&self) -> &BTreeSet<&'static str> {
        &self.met
    }

    pub(crate) fn partitions(&self) -> usize {
        self.lanes.len()
    }

    /// The process dies and is started anew; all partitions are assigned to it.
    pub(crate) fn crash(&mut self) {
        self.processes += 1;
        self.budget = Budget::new(self.budget.bytes_max());
        for index in 0..self.lanes.len() {
            if let Some(owned) = self.lanes[index].owned.take() {
                self.late_puts.extend(owned.put);
            }
            self.assign(index);
        }
    }

    /// Assigns the partition, unless it is.
    pub(crate) fn assign(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        if lane.owned.is_some() {
            return;
        }
        let read = lane.committed.unwrap_or(lane.log_start);
        let writer = WriterId(self.processes);
        let ledger =
            PartitionLedger::new(lane.partition, writer, self.limits, read, lane.committed);
        lane.owned = Some(Owned {
            ledger,
            read,
            held: None,
            open: Vec::new(),
            open_bytes: 0,
            held_bytes: 0,
            part_bytes: 0,
            probe: None,
            put: None,
            commit: None,
        });
        self.obey(index);
    }

    /// Takes the partition away. Whatever is answered from now on, nothing comes of it (L6).
    pub(crate) fn revoke(&mut self, index: usize) {
        let Some(Owned { mut ledger, put, .. }) = self.lanes[index].owned.take() else { return };
        ledger.revoke();
        let found = put.as_ref().map(|put| put.chunk);
        ledger.probed(found);
        ledger.stored(found.map_or(StoreOutcome::Created, StoreOutcome::Exists));
        ledger.stored(StoreOutcome::Lost);
        ledger.lose_open();
        ledger.commit_done(false, self.now);
        ledger.seal(SealReason::Revoked);
        assert!(invariants::silent(ledger.next_action(self.now + 2 * self.limits.age_max)), "L6");
        self.late_puts.extend(put);
        self.budget.remove(self.lanes[index].partition);
    }

    /// Time passes.
    pub(crate) fn sleep(&mut self, duration: Duration) {
        self.now += duration;
        for index in 0..self.lanes.len() {
            self.obey(index);
        }
    }

    /// Offers the next message; returns whether there was one that the sink could take. Where
    /// memory is short, another chunk is sealed instead.
    pub(crate) fn deliver(&mut self, index: usize) -> bool {
        let Lane { log, owned: Some(owned), partition, .. } = &mut self.lanes[index] else {
            return false;
        };
        let unread = || log.iter().find(|message| message.mark.offset >= owned.read).copied();
        let Some(message) = owned.held.or_else(unread) else { return false };
        if !owned.ledger.is_accepting() {
            return false;
        }
        if !self.budget.admits(message.bytes) {
            self.relieve();
            return false;
        }
        owned.read = message.mark.offset.next();
        match owned.ledger.offer(message.mark, self.now) {
            Verdict::Hold => owned.held = Some(message),
            Verdict::Append => {
                owned.held = None;
                owned.open.push(message.mark.offset);
                owned.open_bytes += message.bytes;
                owned.held_bytes += message.bytes;
                self.budget.set_open(*partition, owned.held_bytes);
                let rejected = message.is_rejected;
                let outcome = if rejected { Appended::Rejected } else { Appended::Row };
                owned.ledger.appended(outcome, owned.open_bytes);
            }
        }
        self.obey(index);
        true
    }

    /// Seals the chunk that frees most memory. It can be stored at once, but for the first commit.
    fn relieve(&mut self) {
        let relief = self.budget.relief();
        let Some(index) = relief.and_then(|found| usize::try_from(found.0).ok()) else { return };
        assert_eq!(self.storing(index), None, "another chunk would make room sooner");
        self.seal(index, SealReason::Memory);
        let owned = self.lanes[index].owned.as_ref();
        let waits = owned.is_some_and(|owned| owned.ledger.committed().is_none());
        assert!(waits || self.storing(index).is_some(), "what is to make room is not stored");
    }

    fn storing(&self, index: usize) -> Option<Chunk> {
        self.lanes[index].owned.as_ref().and_then(|owned| owned.ledger.storing().copied())
    }

    /// Seals the open chunk.
    pub(crate) fn seal(&mut self, index: usize, reason: SealReason) {
        if let Some(owned) = &mut self.lanes[index].owned {
            owned.ledger.seal(reason);
            self.obey(index);
        }
    }

    /// Whether every message is stored and committed.
    pub(crate) fn is_complete(&self) -> bool {
        self.lanes.iter().all(|lane| {
            let end = lane.log.last().map_or(lane.log_start, |last| last.mark.offset.next());
            let settled = lane.owned.as_ref().is_some_and(|owned| owned.ledger.is_settled());
            settled && lane.committed == Some(end)
        })
    }

    /// Does what the ledger asks for until it asks for nothing.
    fn obey(&mut self, index: usize) {
        let Lane { owned: Some(owned), partition, .. } = &mut self.lanes[index] else { return };
        while let Some(action) = owned.ledger.next_action(self.now) {
            match action {
                Action::Probe { day, start } => {
                    owned.probe = Some(self.layout.key(*partition, day, start));
                }
                Action::Store { chunk, reason } => {
                    self.met.insert(reason.code());
                    let offsets = std::mem::take(&mut owned.open);
                    owned.put = Some(Content { chunk, offsets });
                    // Closing the encoder makes it smaller rather than larger.
                    let rest = owned.held_bytes.div_ceil(2);
                    (owned.open_bytes, owned.held_bytes, owned.part_bytes) = (0, 0, 0);
                    self.budget.set_storing(*partition, rest);
                }
                Action::Seek { offset } => {
                    (owned.held, owned.read) = (None, offset);
                    owned.open.clear();
                    (owned.open_bytes, owned.held_bytes, owned.part_bytes) = (0, 0, 0);
                    self.budget.discard_open(*partition);
                }
                Action::Commit { offset } => owned.commit = Some(offset),
            }
        }
        assert!(invariants::sealed_in_time(&owned.ledger, self.limits.age_max, self.now), "L7");
        let deadline = owned.ledger.next_deadline();
        assert!(deadline.is_none_or(|at| at > self.now), "a deadline that has nothing to do");
    }

    fn create(&mut self, content: Content) -> StoreOutcome {
        let chunk = content.chunk;
        let key = self.layout.key(chunk.partition, chunk.day(), chunk.range.start);
        if let Some(winner) = self.objects.get(&key) {
            return StoreOutcome::Exists(winner.chunk);
        }
        self.created.insert(key.clone(), content.clone());
        self.objects.insert(key, content);
        StoreOutcome::Created
    }

    fn contents<'a>(&'a self, lane: &'a Lane) -> impl Iterator<Item = &'a Content> {
        self.objects.values().filter(|content| content.chunk.partition == lane.partition)
    }

    fn ranges(&self, lane: &Lane) -> Vec<OffsetRange> {
        let mut ranges: Vec<_> = self.contents(lane).map(|content| content.chunk.range).collect();
        ranges.sort_unstable();
        ranges
    }

    /// Asserts every invariant.
    pub(crate) fn check(&self) {
        assert_eq!(self.objects.len(), self.created.len());
        let pairs = self.created.values().zip(self.objects.values());
        assert!(pairs.into_iter().all(|(before, now)| invariants::unchanged(before, now)), "L4");
        assert!(invariants::bounded(&self.budget, self.largest_message), "L5: {:?}", self.budget);
        for lane in &self.lanes {
            self.check_lane(lane);
        }
    }

    fn check_lane(&self, lane: &Lane) {
        let ranges = self.ranges(lane);
        assert_eq!(invariants::chain_breaks(&ranges), [], "L1, L2: {ranges:?}");
        if let Some(committed) = lane.committed {
            let uncovered = invariants::uncovered_commit(&ranges, committed, lane.log_start);
            assert_eq!(uncovered, None, "L1, L3");
        }
        let ledger = lane.owned.as_ref().map(|owned| &owned.ledger);
        assert!(ledger.is_none_or(invariants::commit_follows_store), "L3");
        assert_eq!(ledger.and_then(PartitionLedger::fault), None);
        for content in self.contents(lane) {
            assert!(invariants::adds_up(&content.chunk), "{content:?}");
        }
        // L1 and L2 by content: below what is taken for stored each message is there, once.
        let mut stored: Vec<_> =
            self.contents(lane).flat_map(|content| content.offsets.iter().copied()).collect();
        stored.sort_unstable();
        let ends = ranges.iter().map(|range| range.end);
        let believed = ledger.map(PartitionLedger::stored_end);
        let reached = ends.chain(believed).chain(lane.committed).max().unwrap_or(lane.log_start);
        let offsets = lane.log.iter().map(|message| message.mark.offset);
        let expected: Vec<_> = offsets.filter(|offset| *offset < reached).collect();
        assert_eq!(stored, expected, "L1, L2");
    }
}
