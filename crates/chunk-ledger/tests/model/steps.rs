//! What may happen next, and the runtime around the ledger: what a sink does with its actions and
//! when it reports back.

use std::sync::Arc;
use std::time::Duration;

use chunk_ledger::{
    Action, Appended, Limits, Mark, Offset, Partition, PartitionLedger, StoreOutcome, Verdict,
    WriterId,
};
use stateright::{Model, Property};

use crate::properties;
use crate::world::{Answer, Content, Object, Probe, Process, Put, Requests, Sink, World};

const PARTITION: Partition = Partition(0);
/// Chunks are sealed by day and by age alone; as age may strike at any moment, every end of a
/// chunk is tried.
const AGE_MAX: Duration = Duration::from_secs(3600);
const LIMITS: Limits = Limits { bytes_max: u64::MAX, rows_max: u64::MAX, age_max: AGE_MAX };
/// Messages come at this time, so that the clock adds no states.
pub(crate) const T0: Duration = Duration::ZERO;
/// Long enough for a failed commit to be repeated, too short for a chunk to be too old.
const COMMIT_RETRY: Duration = Duration::from_secs(1);
/// The message at this offset becomes a dead letter.
const REJECTED: Offset = Offset(1);

/// The rules of a world. The true protocol is [`Rules::new`]; the other values break it.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The partition's messages.
    pub(crate) log: Vec<Mark>,
    pub(crate) store: Store,
    pub(crate) group: Group,
    pub(crate) runtime: Runtime,
    /// Bounds of the search.
    pub(crate) assignments_max: u8,
    pub(crate) lost_answers_max: u8,
    pub(crate) lost_commits_max: u8,
    pub(crate) removed_max: usize,
    /// Whether to look for examples, too: that takes a third of the time.
    pub(crate) with_examples: bool,
}

/// How the store treats a PUT to a key that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// It refuses.
    Conditional,
    /// It overwrites, and says that it created the object.
    Unconditional,
}

/// Whose commits the group takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Anybody's, so that what is committed may even go back.
    Unfenced,
    /// Only those of the latest assignment, as Kafka does by the group's generation.
    Fenced,
}

/// What the sink makes of the ledger's actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// What it is told.
    Obedient,
    /// It commits a chunk's end as soon as the chunk is sealed.
    CommitsBeforeStore,
    /// It takes "there is one already" for "created".
    IgnoresConflicts,
}

/// One thing that happens. Numbers name the process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// The partition is assigned to a process, which may have had it before; whoever has it may
    /// not know.
    Assign(usize),
    /// The partition is assigned to a process that crashed and was started again.
    AssignRestarted(usize),
    /// The process crashes, or learns that the partition is no longer its own: from here on it
    /// does nothing, but what it has sent travels on.
    Leave(usize),
    /// The next message is offered, or the one in hand again.
    Deliver(usize),
    /// The open chunk reaches its age limit.
    Age(usize),
    /// A failed commit has waited long enough.
    RetryCommit(usize),
    /// The store reads a key for a probe.
    ReadProbe(usize),
    /// The probe's answer arrives.
    AnswerProbe(usize),
    /// The store takes or refuses a PUT.
    ApplyPut(usize),
    /// The PUT's answer arrives.
    AnswerPut(usize),
    /// The sink gives up waiting, before or after the store saw the PUT, and sends it again.
    LosePut(usize),
    /// The group takes or refuses a commit, and says so.
    Commit(usize),
    /// A commit never reaches the group; the process gives up waiting.
    LoseCommit(usize),
    /// The group takes or refuses a commit, but its answer never arrives.
    LoseCommitAnswer(usize),
    /// A PUT that nobody waits for arrives at the store; by its place in the list.
    ApplyLatePut(usize),
    /// A commit that nobody waits for arrives at the group.
    ApplyLateCommit(Offset),
    /// Retention removes the log's first message.
    Retain,
}

impl Rules {
    /// The true protocol over `log`, in a group that fences nobody and a log without retention.
    pub(crate) fn new(log: Vec<Mark>) -> Self {
        Self {
            log,
            store: Store::Conditional,
            group: Group::Unfenced,
            runtime: Runtime::Obedient,
            assignments_max: 3,
            lost_answers_max: 1,
            lost_commits_max: 1,
            removed_max: 0,
            with_examples: false,
        }
    }

    /// Where the log begins.
    pub(crate) fn log_start(&self, world: &World) -> Offset {
        match world.removed {
            0 => self.log[0].offset,
            removed => self.log[removed - 1].offset.next(),
        }
    }

    /// The messages that retention left.
    pub(crate) fn remaining(&self, world: &World) -> &[Mark] {
        &self.log[world.removed..]
    }

    /// The message that the sink would be given next.
    pub(crate) fn next_message(&self, world: &World, sink: &Sink) -> Option<Mark> {
        let unread = || self.remaining(world).iter().find(|message| message.offset >= sink.read);
        sink.held.or_else(|| unread().copied())
    }
}

impl Model for Rules {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for (index, slot) in world.processes.iter().enumerate() {
            let owns = slot.as_ref().is_some_and(|process| process.sink.is_some());
            // Of two empty slots the first is taken: they are the same but for their number.
            let is_twin = slot.is_none() && world.processes[..index].contains(&None);
            let may_assign = !owns && !is_twin && world.assignments < self.assignments_max;
            if may_assign {
                steps.push(Step::Assign(index));
            }
            let Some(process) = slot else { continue };
            if may_assign {
                steps.push(Step::AssignRestarted(index));
            }
            if owns {
                steps.push(Step::Leave(index));
            }
            if process.requests.put.is_some() && world.lost_answers < self.lost_answers_max {
                steps.push(Step::LosePut(index));
            }
            if process.requests.commit.is_some() && world.lost_commits < self.lost_commits_max {
                steps.extend([Step::LoseCommit(index), Step::LoseCommitAnswer(index)]);
            }
            self.own_steps(world, index, process, steps);
        }
        steps.extend((0..world.late_puts.len()).map(Step::ApplyLatePut));
        steps.extend(world.late_commits.iter().copied().map(Step::ApplyLateCommit));
        if world.removed < self.removed_max {
            steps.push(Step::Retain);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut world = world.clone();
        match step {
            Step::Assign(index) => self.assign(&mut world, index),
            Step::AssignRestarted(index) => {
                world.processes[index] = None;
                self.assign(&mut world, index);
            }
            Step::Leave(index) => {
                let process = world.processes[index].as_mut()?;
                process.sink = None;
                let requests = std::mem::take(&mut process.requests);
                self.abandon(&mut world, index, requests);
            }
            Step::Deliver(index) => {
                let sink = world.processes[index].as_ref()?.sink.as_ref()?;
                let message = self.next_message(&world, sink)?;
                self.report(&mut world, index, T0, |sink| sink.offer(message));
            }
            Step::Age(index) => self.report(&mut world, index, AGE_MAX, |_| ()),
            Step::RetryCommit(index) => self.report(&mut world, index, COMMIT_RETRY, |_| ()),
            Step::ReadProbe(index) => {
                let probe = world.processes[index].as_mut()?.requests.probe.as_mut()?;
                let object = world.objects.get(&probe.key);
                probe.answer = Some(object.map(|object| object.now.chunk));
            }
            Step::AnswerProbe(index) => {
                let probe = world.processes[index].as_mut()?.requests.probe.take()?;
                let found = probe.answer?;
                self.report(&mut world, index, T0, |sink| sink.ledger.probed(found));
            }
            Step::ApplyPut(index) => {
                let requests = &mut world.processes[index].as_mut()?.requests;
                let content = Arc::clone(&requests.put.as_ref()?.content);
                let answer = self.store(&mut world, &content, false);
                world.processes[index].as_mut()?.requests.put.as_mut()?.answer = Some(answer);
            }
            Step::AnswerPut(index) => {
                let put = world.processes[index].as_mut()?.requests.put.take()?;
                let outcome = self.outcome(put.answer?);
                self.report(&mut world, index, T0, |sink| sink.ledger.stored(outcome));
            }
            Step::LosePut(index) => {
                world.lost_answers += 1;
                let put = world.processes[index].as_mut()?.requests.put.as_mut()?;
                if put.answer.take().is_none() {
                    let content = Arc::clone(&put.content);
                    self.abandon_put(&mut world, content);
                }
            }
            Step::Commit(index) => {
                let taken = self.commit(&mut world, index)?;
                self.report(&mut world, index, T0, |sink| sink.ledger.commit_done(taken, T0));
            }
            Step::LoseCommit(index) => {
                world.lost_commits += 1;
                world.processes[index].as_mut()?.requests.commit = None;
                self.report(&mut world, index, T0, |sink| sink.ledger.commit_done(false, T0));
            }
            Step::LoseCommitAnswer(index) => {
                world.lost_commits += 1;
                self.commit(&mut world, index)?;
                self.report(&mut world, index, T0, |sink| sink.ledger.commit_done(false, T0));
            }
            Step::ApplyLatePut(place) => {
                let content = world.late_puts.remove(place);
                self.store(&mut world, &content, true);
            }
            Step::ApplyLateCommit(offset) => {
                world.late_commits.remove(&offset);
                world.committed = Some(offset);
            }
            Step::Retain => world.removed += 1,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = properties::invariants();
        if self.with_examples {
            properties.extend(properties::examples());
        }
        if self.removed_max > 0 {
            properties.extend(properties::examples_of_k1());
        }
        properties
    }
}

impl Rules {
    /// The steps by which a process gets on when nothing goes wrong.
    pub(crate) fn own_steps(
        &self,
        world: &World,
        index: usize,
        process: &Process,
        steps: &mut Vec<Step>,
    ) {
        if let Some(sink) = &process.sink {
            if sink.ledger.is_accepting() && self.next_message(world, sink).is_some() {
                steps.push(Step::Deliver(index));
            }
            let deadline = sink.ledger.next_deadline();
            if deadline.is_some_and(|deadline| deadline <= COMMIT_RETRY) {
                steps.push(Step::RetryCommit(index));
            }
            if deadline.is_some() && sink.ledger.open_since().is_some() {
                steps.push(Step::Age(index));
            }
        }
        match &process.requests.probe {
            Some(Probe { answer: None, .. }) => steps.push(Step::ReadProbe(index)),
            Some(Probe { answer: Some(_), .. }) => steps.push(Step::AnswerProbe(index)),
            None => {}
        }
        match &process.requests.put {
            Some(Put { answer: None, .. }) => steps.push(Step::ApplyPut(index)),
            Some(Put { answer: Some(_), .. }) => steps.push(Step::AnswerPut(index)),
            None => {}
        }
        if process.requests.commit.is_some() {
            steps.push(Step::Commit(index));
        }
    }

    /// Starts a ledger where the group's commit stands, or at the log's start. A process that had
    /// the partition before keeps its name.
    fn assign(&self, world: &mut World, index: usize) {
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

    /// Tells the ledger something, unless the partition is gone, and takes its actions until there
    /// are none.
    fn report(&self, world: &mut World, index: usize, now: Duration, tell: impl FnOnce(&mut Sink)) {
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

    /// The group takes or refuses a commit.
    fn commit(&self, world: &mut World, index: usize) -> Option<bool> {
        let offset = world.processes[index].as_mut()?.requests.commit.take()?;
        let taken = self.takes_commits_of(world, index);
        if taken {
            world.committed = Some(offset);
        }
        Some(taken)
    }

    fn takes_commits_of(&self, world: &World, index: usize) -> bool {
        self.group == Group::Unfenced || world.assignee == Some(index)
    }

    /// What a process has sent travels on without it.
    fn abandon(&self, world: &mut World, index: usize, requests: Requests) {
        if let Some(Put { content, answer: None }) = requests.put {
            self.abandon_put(world, content);
        }
        if self.takes_commits_of(world, index) {
            world.late_commits.extend(requests.commit);
        }
    }

    fn abandon_put(&self, world: &mut World, content: Arc<Content>) {
        // Nobody will hear that it is refused, and nothing else comes of it.
        if self.store == Store::Conditional && world.objects.contains_key(&content.key()) {
            return;
        }
        world.late_puts.push(content);
        // One order for what has none, so that equal worlds are equal.
        world.late_puts.sort_by_key(|content| (content.chunk.range, content.chunk.writer));
    }

    /// What the runtime makes of the store's answer.
    fn outcome(&self, answer: Answer) -> StoreOutcome {
        match answer {
            Answer::Exists(winner) if self.runtime != Runtime::IgnoresConflicts => {
                StoreOutcome::Exists(winner)
            }
            Answer::Created | Answer::Exists(_) => StoreOutcome::Created,
        }
    }

    /// The store takes or refuses a PUT.
    fn store(&self, world: &mut World, content: &Arc<Content>, late: bool) -> Answer {
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
}

impl Sink {
    fn offer(&mut self, message: Mark) {
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
