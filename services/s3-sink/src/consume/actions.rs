//! Carrying out what the ledgers decide, and feeding back what came of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chunk_ledger::{Action, Chunk, Fault, ObjectName, Offset, Partition, SealReason, StoreOutcome};
use tracing::{debug, error, info, warn};

use super::uploads::Sending;
use super::{Commit, Event, Mode, Sealed, Sink, SinkError, Storing};
use crate::encode::Closed;
use crate::store::{Found, UnreadableObject};

/// How long a partition that could not be resumed waits for the next try.
const RESUME_RETRY_DELAY: Duration = Duration::from_secs(1);

impl Sink {
    /// Carries out everything the partition's ledger wants done now, and then fetches or pauses
    /// the partition as its lane allows.
    pub(super) fn pump(&mut self, partition: Partition) -> Result<(), SinkError> {
        let now = self.now();
        while let Some(action) =
            self.lanes.get_mut(&partition).and_then(|lane| lane.ledger.next_action(now))
        {
            match action {
                Action::Probe { day, start } => self.probe(ObjectName { partition, start, day }),
                Action::Store { chunk, reason } => self.store_chunk(chunk, reason)?,
                Action::Commit { offset } => self.commit(partition, offset)?,
                Action::Seek { offset } => {
                    debug!(%partition, %offset, "seeking");
                    self.budget.discard_open(partition);
                    let must_leave = self.must_leave(partition);
                    if let Some(lane) = self.lanes.get_mut(&partition) {
                        lane.discard_chunk();
                        // Fetching goes on from the new position, below.
                        lane.paused = true;
                        // A drain had come to its end with messages that it now has to take again.
                        if !must_leave && lane.drain_until.is_some_and(|end| offset < end) {
                            lane.leaving = false;
                        }
                    }
                }
            }
        }
        self.steer(partition);
        self.notice_fault(partition)
    }

    /// Makes a partition that stopped visible, once. A drain can't complete without it; a service
    /// goes on with the others.
    fn notice_fault(&mut self, partition: Partition) -> Result<(), SinkError> {
        let Some(lane) = self.lanes.get_mut(&partition).filter(|lane| !lane.is_fault_reported)
        else {
            return Ok(());
        };
        let Some(fault) = lane.ledger.fault() else { return Ok(()) };
        lane.is_fault_reported = true;
        // The ledger has given up the open chunk.
        lane.discard_chunk();
        self.budget.discard_open(partition);
        error!(error = %fault, "partition stopped");
        self.metrics.partitions_stopped.inc();
        self.health.not_ready("partitions", fault.to_string());
        if self.mode == Mode::Run { Ok(()) } else { Err(SinkError::Fault(fault)) }
    }

    /// Fetches the partition if its lane takes messages and there is room for them.
    pub(super) fn steer(&mut self, partition: Partition) {
        let (now, is_blocked) = (self.now(), self.memory_blocked || self.letters_blocked);
        let Some(lane) = self.lanes.get_mut(&partition) else { return };
        if lane.paused && lane.is_accepting() && !is_blocked {
            if now < lane.resume_not_before {
                return;
            }
            match self.group.resume_at(partition, lane.ledger.position()) {
                Ok(()) => {
                    lane.paused = false;
                    lane.fetched_anew_in = Some(self.batches);
                }
                Err(error) => {
                    warn!(%partition, %error, "partition could not be resumed, will repeat");
                    lane.resume_not_before = now + RESUME_RETRY_DELAY;
                }
            }
        } else if is_blocked || !lane.is_accepting() {
            self.pause(partition);
        }
    }

    /// Stops fetching the partition, unless it is stopped already.
    pub(super) fn pause(&mut self, partition: Partition) {
        let Some(lane) = self.lanes.get_mut(&partition).filter(|lane| !lane.paused) else { return };
        lane.paused = true;
        if let Err(error) = self.group.pause(partition) {
            // Messages that still come are dropped, and fetched again from the position.
            warn!(%partition, %error, "partition could not be paused");
        }
    }

    fn probe(&self, name: ObjectName) {
        let (store, events) = (self.store.clone(), self.events());
        let partition = name.partition;
        let Some(epoch) = self.lanes.get(&partition).map(|lane| lane.epoch) else { return };
        tokio::spawn(async move {
            let found = store.find(name).await;
            let _ = events.send(Event::Probed { partition, epoch, found });
        });
    }

    pub(super) fn on_probed(
        &mut self,
        partition: Partition,
        epoch: u64,
        found: Found,
    ) -> Result<(), SinkError> {
        let Some(lane) = self.lanes.get_mut(&partition).filter(|lane| lane.epoch == epoch) else {
            return Ok(());
        };
        match found {
            Ok(found) => {
                if let Some(chunk) = found {
                    self.metrics.adoptions.inc();
                    info!(%partition, range = %chunk.range, writer = %chunk.writer, "adopted a chunk that was stored already");
                }
                lane.ledger.probed(found);
            }
            Err(unreadable) => {
                error!(%partition, error = %unreadable, "an object is in the way");
                lane.ledger
                    .fail(Fault::UnreadableChunk { partition, start: lane.ledger.stored_end() });
            }
        }
        self.pump(partition)
    }

    /// Closes the open chunk's object and creates it elsewhere, once its dead letters are
    /// acknowledged.
    fn store_chunk(&mut self, chunk: Chunk, reason: SealReason) -> Result<(), SinkError> {
        let partition = chunk.partition;
        let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(()) };
        let Sealed { object: Closed { rest, object_bytes }, upload, letters } =
            lane.close_chunk(&chunk)?;
        let (epoch, swept) = (lane.epoch, lane.swept.clone());
        self.budget.set_storing(partition, rest.iter().map(|part| part.len() as u64).sum());
        let sending = self.send_rest(&chunk.opening(), upload, rest, swept);
        let upload = match &sending {
            Sending::InOnePiece(_) => None,
            Sending::InParts(id, _) => Some(*id),
        };
        let (store, events) = (self.store.clone(), self.events());
        let task = tokio::spawn(async move {
            let created = match (letters.acknowledged().await, sending) {
                (Err(broken), _) => Err(broken),
                (Ok(()), Sending::InOnePiece(object)) => Ok(store.create(&chunk, object).await),
                (Ok(()), Sending::InParts(_, upload)) => Ok(upload.complete(&chunk).await),
            };
            let _ = events.send(match created {
                Ok(outcome) => Event::Stored { epoch, chunk, reason, object_bytes, outcome },
                Err(broken) => Event::Broken(broken),
            });
        });
        if let Some(lane) = self.lanes.get_mut(&partition) {
            lane.storing = Some(Storing { task: task.abort_handle(), upload });
        }
        Ok(())
    }

    pub(super) fn on_stored(
        &mut self,
        epoch: u64,
        chunk: &Chunk,
        reason: SealReason,
        object_bytes: u64,
        outcome: Result<StoreOutcome, UnreadableObject>,
    ) -> Result<(), SinkError> {
        let partition = chunk.partition;
        let Some(lane) = self.lanes.get_mut(&partition).filter(|lane| lane.epoch == epoch) else {
            return Ok(());
        };
        lane.storing = None;
        self.budget.release_storing(partition);
        match outcome {
            Ok(outcome) => {
                lane.ledger.stored(outcome);
                match outcome {
                    StoreOutcome::Exists(winner) if winner != *chunk => {
                        self.metrics.conflicts.inc();
                        let (ours, theirs) = (chunk.range, winner.range);
                        info!(%partition, %ours, %theirs, writer = %winner.writer, "lost the race for a chunk, adopting the winner's");
                    }
                    StoreOutcome::Lost => {}
                    outcome => self.count_stored(chunk, reason, object_bytes, outcome),
                }
            }
            Err(unreadable) => {
                error!(%partition, error = %unreadable, "an object is in the way");
                lane.ledger.fail(Fault::UnreadableChunk { partition, start: chunk.range.start });
            }
        }
        self.pump(partition)
    }

    fn count_stored(
        &self,
        chunk: &Chunk,
        reason: SealReason,
        object_bytes: u64,
        outcome: StoreOutcome,
    ) {
        if outcome != StoreOutcome::Created {
            self.metrics.own_retries.inc();
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.metrics.chunks(reason).inc();
        self.metrics.rows_stored.inc_by(chunk.rows);
        self.metrics.gaps_stored.inc_by(chunk.gaps);
        self.metrics.chunk_bytes.observe(object_bytes as f64);
        self.metrics.chunk_rows.observe(chunk.rows as f64);
        self.metrics
            .freshness_seconds
            .observe((now - chunk.first.timestamp.0 as f64 / 1000.0).max(0.0));
        self.metrics.last_stored.set(now);
        let Chunk { partition, range, rows, rejected, gaps, .. } = chunk;
        info!(%partition, %range, rows, rejected, gaps, object_bytes, reason = reason.code(), "chunk stored");
    }

    fn commit(&self, partition: Partition, offset: Offset) -> Result<(), SinkError> {
        let Some(lane) = self.lanes.get(&partition) else { return Ok(()) };
        let commit = Commit { partition, epoch: lane.epoch, offset };
        let is_queued = self.committer.commit(commit);
        if is_queued {
            Ok(())
        } else {
            Err(SinkError::Broken("the committing thread has ended".to_owned()))
        }
    }

    pub(super) fn on_commit_done(
        &mut self,
        commit: Commit,
        outcome: Result<(), String>,
    ) -> Result<(), SinkError> {
        let Commit { partition, epoch, offset } = commit;
        let now = self.now();
        match &outcome {
            Ok(()) => self.metrics.commits.inc(),
            Err(error) => {
                self.metrics.commit_failures.inc();
                warn!(%partition, %offset, error, "commit failed; what is stored stays stored, will repeat");
            }
        }
        if let Some(lane) = self.lanes.get_mut(&partition).filter(|lane| lane.epoch == epoch) {
            lane.ledger.commit_done(outcome.is_ok(), now);
        }
        self.pump(partition)
    }
}
