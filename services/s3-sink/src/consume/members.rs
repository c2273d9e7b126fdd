//! Joining and leaving: assignments, revocations, and what the group reports.

use std::time::Duration;

use chunk_ledger::{Fault, Offset, Partition, SealReason};
use rdkafka::error::KafkaResult;
use tracing::{info, warn};

use super::{Event, Lane, Mode, Resume, Sink, SinkError};

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

/// A revocation that waits for open chunks to be stored.
pub(super) struct Revoking {
    partitions: Vec<Partition>,
    deadline: Duration,
}

impl Sink {
    pub(super) fn on_assigned(&mut self, partitions: Vec<Partition>) -> Result<(), SinkError> {
        self.metrics.rebalances("assigned").inc();
        info!(?partitions, "partitions assigned");
        self.epoch += 1;
        if partitions.is_empty() {
            self.has_joined = true;
            self.group.assign(&[])?;
            return Ok(());
        }
        self.ask_resume_points(partitions.clone());
        self.assigning = Some(Assigning { epoch: self.epoch, partitions, retry_at: None });
        Ok(())
    }

    fn ask_resume_points(&self, partitions: Vec<Partition>) {
        let (group, events, epoch) = (self.group.clone(), self.events(), self.epoch);
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
            Ok(points) => {
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
            let partitions = assigning.partitions.clone();
            self.ask_resume_points(partitions);
        }
    }

    /// Opens a lane for each partition and lets Kafka fetch.
    fn begin(&mut self, points: &[Resume]) -> Result<(), SinkError> {
        for Resume { partition, committed, position } in points.iter().copied() {
            info!(%partition, %position, committed = committed.map(|offset| offset.0), "partition begins");
            let mut lane =
                Lane::new(self.lane_config.clone(), self.epoch, partition, position, committed);
            if let Mode::Drain(ends) = &self.mode {
                let end = ends.get(&partition).copied().unwrap_or(Offset(0));
                lane.drain_until = Some(end);
                if position > end {
                    lane.ledger.fail(Fault::BeyondLogEnd { partition, position, log_end: end });
                }
                lane.leaving = position >= end;
            }
            lane.leaving |= self.stop_at.is_some();
            self.lanes.insert(partition, lane);
        }
        self.has_joined = true;
        self.metrics.partitions_assigned.set(self.lanes.len() as i64);
        let positions: Vec<_> =
            points.iter().map(|point| (point.partition, point.position)).collect();
        self.group.assign(&positions)?;
        for (partition, _) in positions {
            self.pump(partition)?;
        }
        Ok(())
    }

    pub(super) fn on_revoked(
        &mut self,
        partitions: Vec<Partition>,
        lost: bool,
    ) -> Result<(), SinkError> {
        self.metrics.rebalances(if lost { "lost" } else { "revoked" }).inc();
        info!(?partitions, lost, "partitions revoked");
        // Nothing was taken over yet of an assignment that is still being prepared.
        self.assigning = None;
        let mut deadline = self.now();
        if !lost {
            deadline += self.drain_timeout;
            for partition in &partitions {
                self.leave(*partition, SealReason::Revoked)?;
            }
        }
        self.revoking.push(Revoking { partitions, deadline });
        self.finish_revocations()
    }

    /// Lets go of revoked partitions whose chunks are stored, or whose time is up.
    pub(super) fn finish_revocations(&mut self) -> Result<(), SinkError> {
        let now = self.now();
        let is_done = |lanes: &std::collections::BTreeMap<Partition, Lane>, revoking: &Revoking| {
            let mut lanes = revoking.partitions.iter().filter_map(|partition| lanes.get(partition));
            now >= revoking.deadline || lanes.all(|lane| lane.ledger.is_settled())
        };
        while let Some(index) =
            self.revoking.iter().position(|revoking| is_done(&self.lanes, revoking))
        {
            let Revoking { partitions, .. } = self.revoking.swap_remove(index);
            for partition in &partitions {
                self.drop_lane(*partition);
            }
            self.metrics.partitions_assigned.set(self.lanes.len() as i64);
            if let Err(error) = self.group.unassign(&partitions) {
                warn!(%error, "partitions could not be released");
            }
        }
        Ok(())
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

    fn drop_lane(&mut self, partition: Partition) {
        if let Some(mut lane) = self.lanes.remove(&partition) {
            if lane.ledger.fault().is_some() {
                self.metrics.partitions_stopped.dec();
            }
            lane.ledger.revoke();
            // A PUT that is under way may still win; that is as good as its loss.
            if let Some(task) = lane.storing.take() {
                task.abort();
            }
        }
        self.budget.remove(partition);
        self.memory_blocked = false;
        // Absent when the partition never had a report.
        let _ = self.metrics.lag.remove_label_values(&[&partition.to_string()]);
        if self.lanes.values().all(|lane| lane.ledger.fault().is_none()) {
            self.health.ready("partitions");
        }
    }

    pub(super) fn on_report(&mut self, log_ends: &[(Partition, Offset)], steady: bool) {
        for (partition, end) in log_ends {
            if let Some(lane) = self.lanes.get(partition) {
                let lag = end.0.saturating_sub(lane.ledger.stored_end().0).max(0);
                self.metrics.lag.with_label_values(&[&partition.to_string()]).set(lag as f64);
            }
        }
        if steady && self.has_joined && self.assigning.is_none() {
            self.health.ready(READINESS);
        } else if self.stop_at.is_none() {
            self.health.not_ready(READINESS, "the consumer group is rebalancing or not reachable");
        }
    }
}
