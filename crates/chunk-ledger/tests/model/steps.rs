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
use crate::world::{Answer, Commit, Content, Object, Probe, Put, Sink, World};

const PARTITION: Partition = Partition(0);
/// Chunks are sealed by day and by age alone; as age may strike at any moment, every end of a
/// chunk is tried.
const AGE_MAX: Duration = Duration::from_secs(3600);
const LIMITS: Limits = Limits { bytes_max: u64::MAX, rows_max: u64::MAX, age_max: AGE_MAX };
/// Messages come at this time, so that the clock adds no states.
const T0: Duration = Duration::ZERO;
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
    /// It hands the answers to an earlier assignment's requests to the present one.
    MixesAssignments,
}

/// One thing that happens. Numbers name the sink.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// The partition is assigned; whoever had it may not know.
    Assign(usize),
    /// The sink learns that the partition is no longer its own.
    Revoke(usize),
    /// The process dies.
    Crash(usize),
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
    /// The group takes or refuses a commit.
    ApplyCommit(usize),
    /// The commit's answer arrives.
    AnswerCommit(usize),
    /// The sink gives up waiting, before or after the group saw the commit.
    LoseCommit(usize),
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
        for (index, slot) in world.sinks.iter().enumerate() {
            let idle = slot.as_ref().is_none_or(|sink| !sink.is_owner);
            // Of two empty slots the first is taken: they are the same but for their number.
            let twin = slot.is_none() && world.sinks[..index].contains(&None);
            if idle && !twin && world.assignments < self.assignments_max {
                steps.push(Step::Assign(index));
            }
            let Some(sink) = slot else { continue };
            if sink.is_owner {
                steps.push(Step::Revoke(index));
            }
            steps.push(Step::Crash(index));
            if sink.put.is_some() && world.lost_answers < self.lost_answers_max {
                steps.push(Step::LosePut(index));
            }
            if sink.commit.is_some() && world.lost_commits < self.lost_commits_max {
                steps.push(Step::LoseCommit(index));
            }
            self.own_steps(world, index, sink, steps);
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
            Step::Revoke(index) => world.sink(index).revoke(),
            Step::Crash(index) => {
                let sink = world.sinks[index].take()?;
                self.abandon_requests(&mut world, sink);
            }
            Step::Deliver(index) => {
                let message = self.next_message(&world, world.sinks[index].as_ref()?)?;
                world.sink(index).offer(message);
                self.obey(&mut world, index, T0);
            }
            Step::Age(index) => self.obey(&mut world, index, AGE_MAX),
            Step::RetryCommit(index) => self.obey(&mut world, index, COMMIT_RETRY),
            Step::ReadProbe(index) => {
                let World { sinks, objects, .. } = &mut world;
                let probe = sinks[index].as_mut()?.probe.as_mut()?;
                probe.answer = Some(objects.get(&probe.key).map(|object| object.now.chunk));
            }
            Step::AnswerProbe(index) => {
                let sink = world.sink(index);
                sink.ledger.probed(sink.probe.take()?.answer?);
                self.obey(&mut world, index, T0);
            }
            Step::ApplyPut(index) => {
                let content = Arc::clone(&world.sink(index).put.as_ref()?.content);
                let answer = Some(self.store(&mut world, &content, false));
                world.sink(index).put = Some(Put { content, answer });
            }
            Step::AnswerPut(index) => {
                let answer = world.sink(index).put.take()?.answer?;
                let outcome = match answer {
                    Answer::Exists(winner) if self.runtime != Runtime::IgnoresConflicts => {
                        StoreOutcome::Exists(winner)
                    }
                    Answer::Created | Answer::Exists(_) => StoreOutcome::Created,
                };
                world.sink(index).ledger.stored(outcome);
                self.obey(&mut world, index, T0);
            }
            Step::LosePut(index) => {
                world.lost_answers += 1;
                let put = world.sink(index).put.take()?;
                let again = Put { content: Arc::clone(&put.content), answer: None };
                world.sink(index).put = Some(again);
                if put.answer.is_none() {
                    world.abandon_put(put.content);
                }
            }
            Step::ApplyCommit(index) => {
                let offset = world.sink(index).commit.as_ref()?.offset;
                if self.group == Group::Fenced && world.assignee != Some(index) {
                    self.fail_commit(&mut world, index);
                } else {
                    world.committed = Some(offset);
                    world.sink(index).commit = Some(Commit { offset, applied: true });
                }
            }
            Step::AnswerCommit(index) => {
                let sink = world.sink(index);
                sink.commit = None;
                sink.ledger.commit_done(true, T0);
                self.obey(&mut world, index, T0);
            }
            Step::LoseCommit(index) => {
                world.lost_commits += 1;
                let commit = world.sink(index).commit.clone()?;
                if !commit.applied {
                    world.late_commits.insert(commit.offset);
                }
                self.fail_commit(&mut world, index);
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
        let mut properties = properties::all();
        if self.removed_max > 0 {
            properties.extend(properties::of_retention());
        }
        properties
    }
}

impl Rules {
    /// The steps by which a sink gets on when nothing goes wrong.
    pub(crate) fn own_steps(
        &self,
        world: &World,
        index: usize,
        sink: &Sink,
        steps: &mut Vec<Step>,
    ) {
        if sink.ledger.is_accepting() && self.next_message(world, sink).is_some() {
            steps.push(Step::Deliver(index));
        }
        if let Some(deadline) = sink.ledger.next_deadline() {
            if deadline <= COMMIT_RETRY {
                steps.push(Step::RetryCommit(index));
            }
            if sink.ledger.open_since().is_some() {
                steps.push(Step::Age(index));
            }
        }
        match &sink.probe {
            Some(Probe { answer: None, .. }) => steps.push(Step::ReadProbe(index)),
            Some(Probe { answer: Some(_), .. }) => steps.push(Step::AnswerProbe(index)),
            None => {}
        }
        match &sink.put {
            Some(Put { answer: None, .. }) => steps.push(Step::ApplyPut(index)),
            Some(Put { answer: Some(_), .. }) => steps.push(Step::AnswerPut(index)),
            None => {}
        }
        match &sink.commit {
            Some(Commit { applied: false, .. }) => steps.push(Step::ApplyCommit(index)),
            Some(Commit { applied: true, .. }) => steps.push(Step::AnswerCommit(index)),
            None => {}
        }
    }

    /// Starts a ledger where the group's commit stands, or at the log's start.
    fn assign(&self, world: &mut World, index: usize) {
        let position = world.committed.unwrap_or(self.log_start(world));
        let former = world.sinks[index].take();
        let writer = match &former {
            Some(process) => process.writer,
            None => WriterId(u128::from(world.assignments)),
        };
        let ledger = PartitionLedger::new(PARTITION, writer, LIMITS, position, world.committed);
        let mut sink = Sink {
            ledger,
            writer,
            is_owner: true,
            read: position,
            held: None,
            open: Vec::new(),
            probe: None,
            put: None,
            commit: None,
        };
        match former {
            Some(Sink { probe, put, .. }) if self.runtime == Runtime::MixesAssignments => {
                (sink.probe, sink.put) = (probe, put);
            }
            Some(former) => self.abandon_requests(world, former),
            None => {}
        }
        world.sinks[index] = Some(sink);
        world.assignments += 1;
        world.assignee = Some(index);
        if self.group == Group::Fenced {
            world.late_commits.clear();
        }
        self.obey(world, index, T0);
    }

    /// What the sink has sent travels on without it.
    fn abandon_requests(&self, world: &mut World, sink: Sink) {
        if let Some(Put { content, answer: None }) = sink.put {
            world.abandon_put(content);
        }
        if let Some(Commit { offset, applied: false }) = sink.commit {
            world.late_commits.insert(offset);
        }
    }

    /// Takes the ledger's actions until there are none.
    fn obey(&self, world: &mut World, index: usize, now: Duration) {
        while let Some(action) = world.sink(index).ledger.next_action(now) {
            let sink = world.sink(index);
            match action {
                Action::Probe { day, start } => {
                    sink.probe = Some(Probe { key: (day, start), answer: None });
                }
                Action::Store { chunk, .. } => {
                    let offsets = std::mem::take(&mut sink.open);
                    let content = Arc::new(Content { chunk, offsets });
                    sink.put = Some(Put { content, answer: None });
                    if self.runtime == Runtime::CommitsBeforeStore {
                        world.late_commits.insert(chunk.range.end);
                    }
                }
                Action::Seek { offset } => {
                    sink.held = None;
                    sink.open.clear();
                    sink.read = offset;
                }
                Action::Commit { offset } => sink.commit = Some(Commit { offset, applied: false }),
            }
        }
    }

    /// The store takes or refuses a PUT.
    fn store(&self, world: &mut World, content: &Arc<Content>, late: bool) -> Answer {
        let outlived_first =
            self.log[..world.removed].iter().any(|gone| gone.offset == content.chunk.first.offset);
        match (world.objects.get_mut(&content.key()), self.store) {
            (Some(object), Store::Conditional) => return Answer::Exists(object.now.chunk),
            (Some(object), Store::Unconditional) => object.now = Arc::clone(content),
            (None, _) => {
                let (created, now) = (Arc::clone(content), Arc::clone(content));
                let object = Object { created, now, late, outlived_first };
                world.objects.insert(content.key(), object);
            }
        }
        Answer::Created
    }

    fn fail_commit(&self, world: &mut World, index: usize) {
        let sink = world.sink(index);
        sink.commit = None;
        sink.ledger.commit_done(false, T0);
        self.obey(world, index, T0);
    }
}

impl World {
    /// The sink that a step names.
    fn sink(&mut self, index: usize) -> &mut Sink {
        self.sinks[index]
            .as_mut()
            .unwrap_or_else(|| panic!("a step of sink {index}, which is not there"))
    }
}

impl Sink {
    fn revoke(&mut self) {
        self.ledger.revoke();
        self.is_owner = false;
        self.held = None;
        self.open.clear();
    }

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
