//! Joining and leaving: assignments, revocations, and what the group reports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chunk_ledger::{Fault, OffsetRange, Partition, SealReason};
use rdkafka::error::KafkaResult;
use tracing::{info, warn};

use super::{Event, Lane, Mode, Resume, Sink, SinkError, Watermarks};

/// The name of the group's reason for not being ready.
pub(super) const READINESS: &str = "consumer_group";
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// An assignment whose first offsets are still to be learnt from the brokers.
pub(super) struct Assigning {
    epoch: u64,
    partitions: Vec<Partition>,
    /// When to ask again, after a failure.
    retry_at: Option<Duration>,
}

/// What a drain knows of the partitions.
#[derive(Default)]
pub(super) struct Drained {
    /// Stored up to their ends.
    partitions: BTreeSet<Partition>,
    /// When to ask about those of other members again.
    ask_not_before: Duration,
    /// It was said whom the drain waits for.
    is_wait_told: bool,
}

/// A revocation that waits for open chunks to be stored.
pub(super) struct Revoking {
    partitions: Vec<Partition>,
    deadline: Duration,
}

impl Sink {
    pub(super) fn on_assigned(&mut self, mut partitions: Vec<Partition>) -> Result<(), SinkError> {
        self.metrics.rebalances("assigned").inc();
        info!(partitions = ?numbers(&partitions), "partitions assigned");
        self.fetch_anew(&[]);
        self.epoch += 1;
        // A change of the topic's partitions may bring another assignment while one is prepared.
        if let Some(assigning) = self.assigning.take() {
            partitions.extend(assigning.partitions);
        }
        if partitions.is_empty() {
            self.group.assign(&[])?;
            self.note_joined();
            return Ok(());
        }
        self.ask_resume_points(partitions.clone(), self.epoch);
        self.assigning = Some(Assigning { epoch: self.epoch, partitions, retry_at: None });
        Ok(())
    }

    /// Has every lane that stays fetched from its position. A rebalance pauses the client's
    /// partitions, and it goes on with each from what it believes to have returned of it: while a
    /// batch is being taken that is less than the batch holds, and its messages would come again.
    fn fetch_anew(&mut self, except: &[Partition]) {
        let is_fetched = |(_, lane): &(&Partition, &Lane)| !lane.paused && !lane.leaving;
        let fetched = self.lanes.iter().filter(is_fetched).map(|(partition, _)| *partition);
        for partition in fetched.filter(|other| !except.contains(other)).collect::<Vec<_>>() {
            self.pause(partition);
            self.steer(partition);
        }
    }

    fn ask_resume_points(&self, partitions: Vec<Partition>, epoch: u64) {
        let (group, events) = (self.group.clone(), self.events());
        tokio::task::spawn_blocking(move || {
            let points = group.resume_points(&partitions);
            let _ = events.send(Event::Resolved { epoch, points });
        });
    }

    pub(super) fn on_resolved(
        &mut self,
        epoch: u64,
        points: KafkaResult<Vec<Resume>>,
    ) -> Result<(), SinkError> {
        let now = self.now();
        let Some(assigning) = self.assigning.as_mut().filter(|assigning| assigning.epoch == epoch)
        else {
            return Ok(());
        };
        match points {
            Ok(mut points) => {
                // Some may have been revoked meanwhile.
                points.retain(|point| assigning.partitions.contains(&point.partition));
                self.assigning = None;
                self.begin(&points)
            }
            Err(error) => {
                warn!(%error, "the group's offsets could not be learnt, will ask again");
                assigning.retry_at = Some(now + RETRY_DELAY);
                Ok(())
            }
        }
    }

    pub(super) fn retry_assignment(&mut self) {
        let now = self.now();
        let Some(assigning) = &mut self.assigning else { return };
        if assigning.retry_at.is_some_and(|retry_at| now >= retry_at) {
            assigning.retry_at = None;
            let (partitions, epoch) = (assigning.partitions.clone(), assigning.epoch);
            self.ask_resume_points(partitions, epoch);
        }
    }

    /// Opens a lane for each partition and lets Kafka fetch.
    fn begin(&mut self, points: &[Resume]) -> Result<(), SinkError> {
        let mut swept = self.sweep_uploads(points.iter().map(|point| point.partition));
        for Resume { partition, committed, position, log } in points.iter().copied() {
            // The eager protocol may assign again what it has not revoked.
            self.drop_lane(partition);
            info!(%partition, %position, committed = committed.map(|offset| offset.0), "partition begins");
            let Some(swept) = swept.remove(&partition) else { continue };
            let config = self.lane_config.clone();
            let mut lane = Lane::new(config, self.epoch, partition, position, committed, swept);
            if let Mode::Drain(ends) = &self.mode {
                // A partition that is newer than the drain is none of its business.
                let end = ends.get(&partition).copied().unwrap_or(position);
                lane.drain_until = Some(end);
                let log_start = log.map_or(position, |log| log.low);
                lane.leaving = position.max(log_start) >= end;
                if let Some(log_end) = log.map(|log| log.high).filter(|end| position > *end) {
                    lane.ledger.fail(Fault::BeyondLogEnd { partition, position, log_end });
                }
                if lane.leaving {
                    // No message will come from behind the gap, so that it would be noticed.
                    lane.gaps.note(OffsetRange { start: position, end: log_start });
                }
            }
            lane.leaving |= self.stop_at.is_some();
            self.lanes.insert(partition, lane);
        }
        self.metrics.partitions_assigned.set(self.lanes.len() as i64);
        let positions: Vec<_> =
            points.iter().map(|point| (point.partition, point.position)).collect();
        self.group.assign(&positions)?;
        self.group.resume(&positions)?;
        self.note_joined();
        for (partition, _) in positions {
            self.pump(partition)?;
        }
        Ok(())
    }

    /// Ready at once: the next report may be a second away. Reports take it back, and give it again.
    fn note_joined(&mut self) {
        self.has_joined = true;
        self.health.ready(READINESS);
    }

    pub(super) fn on_revoked(
        &mut self,
        partitions: Vec<Partition>,
        lost: bool,
    ) -> Result<(), SinkError> {
        self.metrics.rebalances(if lost { "lost" } else { "revoked" }).inc();
        info!(partitions = ?numbers(&partitions), lost, "partitions revoked");
        self.fetch_anew(&partitions);
        // Nothing was taken over yet of an assignment that is still being prepared.
        if let Some(assigning) = &mut self.assigning {
            assigning.partitions.retain(|partition| !partitions.contains(partition));
        }
        let patience = if lost { Duration::ZERO } else { self.drain_timeout };
        let deadline = self.now() + patience;
        self.revoking.push(Revoking { partitions: partitions.clone(), deadline });
        if !lost {
            for partition in partitions {
                self.leave(partition, SealReason::Revoked)?;
            }
        }
        self.finish_revocations()
    }

    /// Lets go of revoked partitions whose chunks are stored, or whose time is up.
    pub(super) fn finish_revocations(&mut self) -> Result<(), SinkError> {
        let now = self.now();
        let is_done = |lanes: &BTreeMap<Partition, Lane>, revoking: &Revoking| {
            let mut lanes = revoking.partitions.iter().filter_map(|partition| lanes.get(partition));
            now >= revoking.deadline || lanes.all(|lane| lane.ledger.is_settled())
        };
        while let Some(index) =
            self.revoking.iter().position(|revoking| is_done(&self.lanes, revoking))
        {
            let Revoking { mut partitions, .. } = self.revoking.swap_remove(index);
            // Only what was taken over can be released; releasing nothing lets the group go on, too.
            partitions.retain(|partition| self.lanes.contains_key(partition));
            for partition in &partitions {
                self.drop_lane(*partition);
            }
            self.metrics.partitions_assigned.set(self.lanes.len() as i64);
            self.group.unassign(&partitions)?;
        }
        Ok(())
    }

    /// Whether every partition has come to its end: ours by their lanes, others by the group's
    /// commits.
    pub(super) fn is_drained(&mut self) -> bool {
        let Mode::Drain(ends) = &self.mode else { return false };
        // One that is revoked leaves as well, wherever it is; its next owner brings it to its end.
        let is_done = |partition: Partition, lane: &Lane| {
            lane.leaving && lane.ledger.is_settled() && !self.must_leave(partition)
        };
        let done = self.lanes.iter().filter(|(partition, lane)| is_done(**partition, lane));
        let done: Vec<_> = done.map(|(partition, _)| *partition).collect();
        self.drained.partitions.extend(done);
        let is_idle = self.assigning.is_none() && self.revoking.is_empty();
        is_idle
            && self.has_joined
            && ends.keys().all(|partition| self.drained.partitions.contains(partition))
    }

    /// Asks now and then how far other members have come with what a drain waits for.
    pub(super) fn follow_drain(&mut self) {
        let now = self.now();
        let Mode::Drain(ends) = &self.mode else { return };
        if !self.has_joined || now < self.drained.ask_not_before {
            return;
        }
        let is_open = |partition: &&Partition| {
            !self.drained.partitions.contains(partition) && !self.lanes.contains_key(partition)
        };
        let others: Vec<_> = ends.keys().filter(is_open).copied().collect();
        if others.is_empty() {
            return;
        }
        self.drained.ask_not_before = now + RETRY_DELAY;
        if !std::mem::replace(&mut self.drained.is_wait_told, true) {
            info!(partitions = ?numbers(&others), "waiting until other members have committed the ends of their partitions");
        }
        let (group, events) = (self.group.clone(), self.events());
        tokio::task::spawn_blocking(move || {
            let points = group.resume_points(&others);
            let _ = events.send(Event::Progress { points });
        });
    }

    pub(super) fn on_progress(&mut self, points: KafkaResult<Vec<Resume>>) {
        let Mode::Drain(ends) = &self.mode else { return };
        match points {
            Ok(points) => {
                for Resume { partition, position, log, .. } in points {
                    let Some(end) = ends.get(&partition).copied() else { continue };
                    let log_start = log.map_or(position, |log| log.low);
                    if position >= end {
                        self.drained.partitions.insert(partition);
                    } else if log_start >= end {
                        // No commit needs to come any more; its owner may still store what it has.
                        let offsets = OffsetRange { start: position, end };
                        warn!(%partition, %offsets, "kafka removed what another member has not committed; waiting no longer for it");
                        self.drained.partitions.insert(partition);
                    }
                }
            }
            Err(error) => {
                warn!(%error, "the progress of other members could not be learnt, will ask again")
            }
        }
    }

    /// Takes no more messages for the partition and has its open chunk stored.
    pub(super) fn leave(
        &mut self,
        partition: Partition,
        reason: SealReason,
    ) -> Result<(), SinkError> {
        if let Some(lane) = self.lanes.get_mut(&partition) {
            lane.leaving = true;
            lane.ledger.seal(reason);
        }
        self.pump(partition)
    }

    /// Whether nothing more may be taken for the partition, wherever a drain of it ends.
    pub(super) fn must_leave(&self, partition: Partition) -> bool {
        let is_revoked = |revoking: &Revoking| revoking.partitions.contains(&partition);
        self.stop_at.is_some() || self.revoking.iter().any(is_revoked)
    }

    fn drop_lane(&mut self, partition: Partition) {
        if let Some(mut lane) = self.lanes.remove(&partition) {
            if lane.ledger.fault().is_some() {
                self.metrics.partitions_stopped.dec();
            }
            lane.ledger.revoke();
            self.committer.withdraw(partition);
            self.explain_last_gaps(partition, lane.epoch, &lane.gaps);
            // A PUT that is under way may still win; that is as good as its loss. An upload that
            // is not completed yet is removed.
            if let Some(storing) = lane.storing.take() {
                storing.task.abort();
            }
        }
        self.budget.remove(partition);
        // Absent when the partition never had a report.
        let _ = self.metrics.lag.remove_label_values(&[&partition.to_string()]);
        if self.lanes.values().all(|lane| lane.ledger.fault().is_none()) {
            self.health.ready("partitions");
        }
    }

    pub(super) fn on_report(&mut self, logs: &[Watermarks], steady: bool) -> Result<(), SinkError> {
        let taken = self.group.taken()?;
        for Watermarks { partition, low, high } in logs.iter().copied() {
            let Some(lane) = self.lanes.get(&partition) else { continue };
            // Below the log's start nothing is left that could be taken.
            let taken = taken.get(&partition).copied().unwrap_or(low).max(low);
            let lag = lane.lag(high, taken) as f64;
            self.metrics.lag.with_label_values(&[&partition.to_string()]).set(lag);
            // A drain ends even where no message is at the end, as behind markers of transactions.
            let offered = lane.offered(taken);
            if lane.is_accepting() && lane.drain_until.is_some_and(|end| offered >= end) {
                // No message came from behind this gap.
                let gap = OffsetRange { start: lane.ledger.position(), end: offered };
                self.note_gap(partition, gap);
                self.leave(partition, SealReason::Shutdown)?;
            }
        }
        self.group.forward(self.lanes.keys().copied());
        if steady && self.has_joined && self.assigning.is_none() {
            self.health.ready(READINESS);
        } else if self.stop_at.is_none() {
            self.health.not_ready(READINESS, "the consumer group is rebalancing or not reachable");
        }
        Ok(())
    }
}

/// For logs: sorted, and without the type's name.
fn numbers(partitions: &[Partition]) -> Vec<i32> {
    let mut numbers: Vec<_> = partitions.iter().map(|partition| partition.0).collect();
    numbers.sort_unstable();
    numbers
}
