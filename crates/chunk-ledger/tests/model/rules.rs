//! The rules that a search follows, and what may happen in it.

use chunk_ledger::{Mark, Offset};

use crate::world::{Sink, World};

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
    pub(crate) lost_uploads_max: u8,
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
    /// It takes "your bytes are gone" for "created".
    IgnoresLosses,
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
    /// Parts of the open chunk are gone: somebody removed its upload.
    LoseOpen(usize),
    /// The upload is gone when it is to be completed, and there is no object.
    LoseUpload(usize),
    /// As before, but the upload is gone because a completion that was given up is under way.
    LoseUploadToItself(usize),
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
            lost_uploads_max: 0,
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
