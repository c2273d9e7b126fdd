//! The protocol of one partition: inputs in, actions out.
//!
//! ```text
//!            offer: first message            probed: nothing there
//! Resuming ───────────────────────► probing ───────────────────────► Appending
//!    ▲  ▲                              │                               │   ▲
//!    │  └── probed: a chunk, adopt it ─┘        stored: created, commit │   │
//!    └───────── stored: somebody else's chunk, adopt it ───────────────┴───┘
//! ```
//!
//! Where bytes of a chunk are lost on their way to the store, its messages are read again.
//!
//! The caller feeds inputs and then takes [`PartitionLedger::next_action`] until it gives none.
//! At most one chunk is being stored while the next one fills.

use std::time::Duration;

use crate::chunk::OpenChunk;
use crate::{
    Action, Appended, Chunk, Fault, Limits, Mark, Offset, Opening, Partition, SealReason,
    StoreOutcome, Verdict, WriterId,
};

/// How long a commit that failed waits for its repetition.
const COMMIT_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The state of one partition from its assignment to its revocation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartitionLedger {
    partition: Partition,
    writer: WriterId,
    limits: Limits,
    state: State,
    /// Everything below is stored: the end of the chain as far as this writer knows it.
    stored_end: Offset,
    commit: CommitState,
    /// Taken by the next [`PartitionLedger::next_action`].
    seek: Option<Offset>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    /// Nobody knows yet whether a chunk that starts at `stored_end` exists.
    Resuming,
    /// The first message is in hand and the store is asked, or about to be.
    Probing { first: Mark, asked: bool },
    /// The chain ends here; this writer prolongs it.
    Appending { open: Option<OpenChunk>, storing: Option<Chunk> },
    /// A [`Fault`] stopped the partition.
    Faulted(Fault),
    /// The partition belongs to somebody else; no action ever comes again.
    Revoked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct CommitState {
    /// What the group is known to hold.
    known: Option<Offset>,
    in_flight: Option<Offset>,
    not_before: Duration,
}

impl PartitionLedger {
    /// A partition that was just assigned.
    ///
    /// `position` is where consuming begins; `committed` is what the group holds. Without a
    /// commit, `position` (the start of the log) is committed before anything is stored, so that
    /// the chain's first start survives a crash even when retention moves the log's start.
    pub fn new(
        partition: Partition,
        writer: WriterId,
        limits: Limits,
        position: Offset,
        committed: Option<Offset>,
    ) -> Self {
        let commit = CommitState { known: committed, in_flight: None, not_before: Duration::ZERO };
        Self {
            partition,
            writer,
            limits,
            state: State::Resuming,
            stored_end: position,
            commit,
            seek: None,
        }
    }

    /// Decides about the next message of the partition. Messages must be offered in the order of
    /// their offsets; `now` is the caller's monotonic clock.
    pub fn offer(&mut self, message: Mark, now: Duration) -> Verdict {
        if !self.is_active() {
            return Verdict::Hold;
        }
        let position = self.position();
        if message.offset < position {
            let fault = Fault::OffsetWentBack {
                partition: self.partition,
                position,
                offset: message.offset,
            };
            self.state = State::Faulted(fault);
            return Verdict::Hold;
        }
        match &mut self.state {
            State::Resuming => {
                self.state = State::Probing { first: message, asked: false };
                Verdict::Hold
            }
            State::Appending { open, .. } => {
                let chunk = open.get_or_insert_with(|| OpenChunk {
                    start: position,
                    first: message,
                    next: position,
                    last_timestamp: message.timestamp,
                    rows: 0,
                    rejected: 0,
                    gaps: 0,
                    opened_at: now,
                    due: None,
                });
                // Only a later day seals: a late message stays with the chunk that is open, so
                // that time running backwards never shatters objects.
                if message.timestamp.day() > chunk.first.timestamp.day() {
                    chunk.due.get_or_insert(SealReason::Day);
                }
                if chunk.due.is_some() {
                    return Verdict::Hold;
                }
                chunk.gaps += message.offset.0.abs_diff(chunk.next.0);
                chunk.next = message.offset.next();
                chunk.last_timestamp = message.timestamp;
                Verdict::Append
            }
            State::Probing { .. } | State::Faulted(_) | State::Revoked => Verdict::Hold,
        }
    }

    /// Reports what became of the message that [`Verdict::Append`] was given for, and the size of
    /// the object so far.
    pub fn appended(&mut self, outcome: Appended, object_bytes: u64) {
        let State::Appending { open: Some(chunk), .. } = &mut self.state else { return };
        match outcome {
            Appended::Row => chunk.rows += 1,
            Appended::Rejected => chunk.rejected += 1,
        }
        if object_bytes >= self.limits.bytes_max {
            chunk.due.get_or_insert(SealReason::Bytes);
        } else if chunk.rows + chunk.rejected >= self.limits.rows_max {
            chunk.due.get_or_insert(SealReason::Rows);
        }
    }

    /// Asks for the open chunk, if there is one, to be sealed as soon as the store is free.
    pub fn seal(&mut self, reason: SealReason) {
        if let State::Appending { open: Some(chunk), .. } = &mut self.state {
            chunk.due.get_or_insert(reason);
        }
    }

    /// Answers [`Action::Probe`]: the chunk at the key, or `None`. The caller drops answers that
    /// belong to an earlier assignment of the partition.
    pub fn probed(&mut self, found: Option<Chunk>) {
        let State::Probing { first, asked: true } = self.state else { return };
        match found {
            None => self.state = State::Appending { open: None, storing: None },
            Some(chunk) => self.adopt(chunk, first),
        }
    }

    /// Answers [`Action::Store`]. The caller drops answers that belong to an earlier assignment of
    /// the partition.
    pub fn stored(&mut self, outcome: StoreOutcome) {
        let State::Appending { storing, .. } = &mut self.state else { return };
        let Some(chunk) = storing.take() else { return };
        match outcome {
            StoreOutcome::Created => self.stored_end = chunk.range.end,
            // Our own earlier try, whose answer was lost: the store did what we asked for.
            StoreOutcome::Exists(winner) if winner == chunk => self.stored_end = chunk.range.end,
            StoreOutcome::Exists(winner) => self.adopt(winner, chunk.first),
            // With it goes what was opened behind it: that is read again, too.
            StoreOutcome::Lost => {
                self.state = State::Appending { open: None, storing: None };
                self.seek = Some(self.stored_end);
            }
        }
    }

    /// Gives up the open chunk, if there is one, because bytes of it are gone: its messages are
    /// read again.
    pub fn lose_open(&mut self) {
        if let State::Appending { open, .. } = &mut self.state
            && open.take().is_some()
        {
            self.seek = Some(self.position());
        }
    }

    /// Answers [`Action::Commit`]. A commit that failed is repeated later.
    pub fn commit_done(&mut self, succeeded: bool, now: Duration) {
        let Some(offset) = self.commit.in_flight.take() else { return };
        if succeeded {
            self.commit.known = Some(offset);
        } else {
            self.commit.not_before = now + COMMIT_RETRY_DELAY;
        }
    }

    /// Stops the partition because of something that only the caller can see. What is stored is
    /// still committed; nothing else happens any more.
    pub fn fail(&mut self, fault: Fault) {
        if self.is_active() {
            self.state = State::Faulted(fault);
        }
    }

    /// Ends this writer's part in the partition: from now on there are no actions, whatever is
    /// answered late.
    pub fn revoke(&mut self) {
        self.state = State::Revoked;
    }

    /// What to do next; call it after each input, and when time has passed, until it gives `None`.
    pub fn next_action(&mut self, now: Duration) -> Option<Action> {
        if self.state == State::Revoked {
            return None;
        }
        if let Some(offset) = self.seek.take() {
            return Some(Action::Seek { offset });
        }
        if let Some(offset) = self.commit_due(now) {
            self.commit.in_flight = Some(offset);
            return Some(Action::Commit { offset });
        }
        match &mut self.state {
            State::Probing { first, asked: asked @ false } => {
                *asked = true;
                Some(Action::Probe { day: first.timestamp.day(), start: self.stored_end })
            }
            State::Appending { open, storing: storing @ None } => {
                let chunk = open.as_mut()?;
                if now.saturating_sub(chunk.opened_at) >= self.limits.age_max {
                    chunk.due.get_or_insert(SealReason::Age);
                }
                // Without a commit a crash would restart at the log's start, which may have moved.
                let reason = chunk.due.filter(|_| self.commit.known.is_some())?;
                let chunk = chunk.seal(self.partition, self.writer);
                (*open, *storing) = (None, Some(chunk));
                Some(Action::Store { chunk, reason })
            }
            _ => None,
        }
    }

    /// When [`PartitionLedger::next_action`] may have something to do although nothing happened:
    /// the open chunk's age limit or the repetition of a commit.
    pub fn next_deadline(&self) -> Option<Duration> {
        let age = match &self.state {
            // A due chunk waits for an answer, not for time.
            State::Appending { open: Some(chunk), storing: None } if chunk.due.is_none() => {
                Some(chunk.opened_at + self.limits.age_max)
            }
            _ => None,
        };
        let commit = self.wants_commit().then_some(self.commit.not_before);
        age.into_iter().chain(commit).min()
    }

    /// Whether a message may be offered now; where not, consuming the partition is paused.
    pub fn is_accepting(&self) -> bool {
        match &self.state {
            State::Resuming => true,
            State::Appending { open, .. } => open.as_ref().is_none_or(|chunk| chunk.due.is_none()),
            State::Probing { .. } | State::Faulted(_) | State::Revoked => false,
        }
    }

    /// Whether nothing is open or being stored.
    pub fn is_stored(&self) -> bool {
        match &self.state {
            State::Appending { open, storing } => open.is_none() && storing.is_none(),
            State::Resuming | State::Probing { .. } | State::Faulted(_) | State::Revoked => true,
        }
    }

    /// Whether nothing is open, being stored, or still to be committed.
    pub fn is_settled(&self) -> bool {
        self.is_stored() && !self.wants_commit() && self.commit.in_flight.is_none()
    }

    /// The lowest offset that can come next: the end of the open chunk, or of the one being
    /// stored, or of the chain.
    pub fn position(&self) -> Offset {
        match &self.state {
            State::Appending { open: Some(chunk), .. } => chunk.next,
            State::Appending { storing: Some(chunk), .. } => chunk.range.end,
            _ => self.stored_end,
        }
    }

    /// Everything below this offset is stored.
    pub fn stored_end(&self) -> Offset {
        self.stored_end
    }

    /// What the group is known to hold.
    pub fn committed(&self) -> Option<Offset> {
        self.commit.known
    }

    /// The partition.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The chunk whose [`Action::Store`] is not answered yet.
    pub fn storing(&self) -> Option<&Chunk> {
        match &self.state {
            State::Appending { storing, .. } => storing.as_ref(),
            _ => None,
        }
    }

    /// What is known of the open chunk.
    pub fn opening(&self) -> Option<Opening> {
        match &self.state {
            State::Appending { open: Some(chunk), .. } => Some(Opening {
                partition: self.partition,
                start: chunk.start,
                first: chunk.first,
                writer: self.writer,
            }),
            _ => None,
        }
    }

    /// When the open chunk's first message came.
    pub fn open_since(&self) -> Option<Duration> {
        match &self.state {
            State::Appending { open: Some(chunk), .. } => Some(chunk.opened_at),
            _ => None,
        }
    }

    /// Why the partition stopped, if it did.
    pub fn fault(&self) -> Option<Fault> {
        match self.state {
            State::Faulted(fault) => Some(fault),
            _ => None,
        }
    }

    fn is_active(&self) -> bool {
        !matches!(self.state, State::Faulted(_) | State::Revoked)
    }

    /// Takes over the end of a chunk that lies where ours would have, unless it is of another
    /// topic's life; `first` is the first message that Kafka gave from the chunk's start on.
    fn adopt(&mut self, found: Chunk, first: Mark) {
        self.state = match self.check(&found, first) {
            Err(fault) => State::Faulted(fault),
            Ok(()) => {
                self.stored_end = found.range.end;
                self.seek = Some(found.range.end);
                State::Resuming
            }
        };
    }

    fn check(&self, found: &Chunk, first: Mark) -> Result<(), Fault> {
        let Chunk { partition, range, .. } = *found;
        if partition != self.partition || range.start != self.stored_end || range.is_empty() {
            return Err(Fault::ForeignChunk {
                partition: self.partition,
                start: self.stored_end,
                found: range,
                found_partition: partition,
            });
        }
        // Retention or compaction may have removed the chunk's first message since: only the same
        // message can be compared.
        if found.first.offset == first.offset && found.first.timestamp != first.timestamp {
            return Err(Fault::TopicRecreated {
                partition,
                start: range.start,
                end: range.end,
                offset: first.offset,
                stored: found.first.timestamp.0,
                found: first.timestamp.0,
            });
        }
        Ok(())
    }

    fn wants_commit(&self) -> bool {
        self.state != State::Revoked
            && self.commit.in_flight.is_none()
            && self.commit.known.is_none_or(|known| known < self.stored_end)
    }

    fn commit_due(&self, now: Duration) -> Option<Offset> {
        (self.wants_commit() && now >= self.commit.not_before).then_some(self.stored_end)
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
