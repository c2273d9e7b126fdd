//! The runtime around the ledger: what a sink process does with its actions, and what becomes of
//! its requests in the store and in the group.

use std::sync::Arc;
use std::time::Duration;

use chunk_ledger::{
    Action, Appended, Limits, Mark, Offset, Partition, PartitionLedger, StoreOutcome, Verdict,
    WriterId,
};

use crate::rules::{Group, Rules, Runtime, Store};
use crate::world::{Answer, Content, Object, Probe, Process, Put, Requests, Sink, World};

const PARTITION: Partition = Partition(0);
/// Chunks are sealed by day and by age alone; as age may strike at any moment, every end of a
/// chunk is tried.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(3600);
const LIMITS: Limits = Limits { bytes_max: u64::MAX, rows_max: u64::MAX, age_max: AGE_MAX };
/// Whatever is not about time happens at this one, so that the clock adds no worlds.
pub(crate) const T0: Duration = Duration::ZERO;
/// Long enough for a failed commit to be repeated, too short for a chunk to be too old.
pub(crate) const COMMIT_RETRY: Duration = Duration::from_secs(1);
/// The message at this offset becomes a dead letter.
const REJECTED: Offset = Offset(3);

impl Rules {
    /// Starts a ledger where the group's commit stands, or at the log's start. A process that
    /// runs already keeps its name.
    pub(crate) fn assign(&self, world: &mut World, index: usize) {
        let position = world.committed.unwrap_or(self.log_start(world));
        let process = world.processes[index].get_or_insert_with(|| Process {
            writer: WriterId(u128::from(world.assignments)),
            sink: None,
            requests: Requests::default(),
        });
        let ledger =
            PartitionLedger::new(PARTITION, process.writer, LIMITS, position, world.committed);
        process.sink = Some(Sink { ledger, read: position, held: None, open: Vec::new() });
        world.assignments += 1;
        if self.group == Group::Fenced {
            world.assignee = Some(index);
            world.late_commits.clear();
        }
        self.report(world, index, T0, |_| ());
    }

    /// Tells the ledger something, and does what it asks for until it asks for nothing.
    pub(crate) fn report(
        &self,
        world: &mut World,
        index: usize,
        now: Duration,
        tell: impl FnOnce(&mut Sink),
    ) {
        let Some(Process { sink: Some(sink), requests, .. }) = &mut world.processes[index] else {
            return;
        };
        tell(sink);
        while let Some(action) = sink.ledger.next_action(now) {
            match action {
                Action::Probe { day, start } => {
                    requests.probe = Some(Probe { key: (day, start), answer: None });
                }
                Action::Store { chunk, .. } => {
                    let offsets = std::mem::take(&mut sink.open);
                    let content = Arc::new(Content { chunk, offsets });
                    requests.put = Some(Put { content, answer: None });
                    if self.runtime == Runtime::CommitsBeforeStore {
                        world.late_commits.insert(chunk.range.end);
                    }
                }
                Action::Seek { offset } => {
                    sink.held = None;
                    sink.open.clear();
                    sink.read = offset;
                }
                Action::Commit { offset } => requests.commit = Some(offset),
            }
        }
    }

    /// What the process makes of the store's answer.
    pub(crate) fn outcome(&self, answer: Answer) -> StoreOutcome {
        match answer {
            Answer::Exists(winner) if self.runtime != Runtime::IgnoresConflicts => {
                StoreOutcome::Exists(winner)
            }
            Answer::Created | Answer::Exists(_) => StoreOutcome::Created,
        }
    }

    /// What a process has sent travels on without it.
    pub(crate) fn abandon(&self, world: &mut World, index: usize, requests: Requests) {
        if let Some(Put { content, answer: None }) = requests.put {
            self.abandon_put(world, content);
        }
        if self.takes_commits_of(world, index) {
            world.late_commits.extend(requests.commit);
        }
    }

    pub(crate) fn abandon_put(&self, world: &mut World, content: Arc<Content>) {
        // Nobody will hear that it is refused, and nothing else comes of it.
        if self.store == Store::Conditional && world.objects.contains_key(&content.key()) {
            return;
        }
        world.late_puts.push(content);
        // One order for what has none, so that equal worlds are equal.
        world.late_puts.sort_by_key(|content| (content.chunk.range, content.chunk.writer));
    }

    /// The store takes or refuses a PUT.
    pub(crate) fn store(&self, world: &mut World, content: &Arc<Content>, late: bool) -> Answer {
        let key = content.key();
        if let Some(object) = world.objects.get_mut(&key) {
            if self.store == Store::Conditional {
                return Answer::Exists(object.now.chunk);
            }
            object.now = Arc::clone(content);
            return Answer::Created;
        }
        let removed = &self.log[..world.removed];
        let mut object = Object {
            created: Arc::clone(content),
            now: Arc::clone(content),
            late,
            outran: false,
            outlived_first: removed.contains(&content.chunk.first),
        };
        if self.store == Store::Conditional {
            // As in `abandon_put`.
            let under_way = world.late_puts.len();
            world.late_puts.retain(|put| put.key() != key);
            object.outran = world.late_puts.len() < under_way;
        }
        world.objects.insert(key, object);
        Answer::Created
    }

    pub(crate) fn takes_commits_of(&self, world: &World, index: usize) -> bool {
        self.group == Group::Unfenced || world.assignee == Some(index)
    }
}

impl Sink {
    /// Offers a message, and appends it if the ledger says so.
    pub(crate) fn offer(&mut self, message: Mark) {
        self.read = message.offset.next();
        self.held = None;
        match self.ledger.offer(message, T0) {
            Verdict::Hold => self.held = Some(message),
            Verdict::Append => {
                self.open.push(message.offset);
                let rejected = message.offset == REJECTED;
                let outcome = if rejected { Appended::Rejected } else { Appended::Row };
                self.ledger.appended(outcome, 1);
            }
        }
    }
}
