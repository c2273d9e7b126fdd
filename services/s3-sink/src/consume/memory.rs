//! Staying within the budget: room for what comes, and giving memory back where there is none.

use chunk_ledger::{Partition, SealReason};

use super::{Lane, Sink, SinkError};

/// A share of the budget that is worth waiting for while it is on its way to the store.
const LEAVING_SHARE: u64 = 4;

impl Sink {
    /// Makes room in the budget for `more` bytes in the partition's open chunk. Where there is
    /// none, and none can be made at once, consuming waits until chunks have left memory.
    pub(super) fn reserve(&mut self, partition: Partition, more: u64) -> Result<bool, SinkError> {
        loop {
            let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(false) };
            let Some(bytes) = lane.reservation_for(more) else { return Ok(true) };
            if self.budget.admits(bytes - lane.reserved_bytes()) {
                lane.reserve(bytes);
                self.budget.set_open(partition, bytes);
                return Ok(true);
            }
            // What gives way may be this very chunk: look again.
            if !self.relieve()? {
                self.memory_blocked = true;
                return Ok(false);
            }
        }
    }

    /// Lets consuming go on when enough has left, and not for each chunk: to fetch partitions again
    /// costs what was fetched of them already.
    pub(super) fn unblock_memory(&mut self) {
        let is_due =
            |lane: &Lane| lane.ledger.open_since().is_some() && !lane.ledger.is_accepting();
        let will_leave = self.budget.leaving() > 0 || self.lanes.values().any(is_due);
        let room = self.budget.bytes_max().saturating_sub(self.budget.bytes());
        if room >= self.budget.bytes_max() / LEAVING_SHARE || !will_leave {
            self.memory_blocked = false;
        }
    }

    /// Gives memory back, by what harms objects least; false if only waiting helps.
    fn relieve(&mut self) -> Result<bool, SinkError> {
        // What was compressed elsewhere may be done.
        let before = self.budget.bytes();
        self.take_encoded()?;
        if self.budget.bytes() < before {
            return Ok(true);
        }
        // Rows that are compressed before their time make smaller row groups, and nothing else.
        let waiting = self.lanes.iter().filter_map(|(partition, lane)| {
            lane.compressible_bytes().map(|bytes| (bytes, *partition))
        });
        if let Some((_, partition)) = waiting.max() {
            if let Some(lane) = self.lanes.get_mut(&partition) {
                lane.compress()?;
            }
            self.send_parts(partition)?;
            return Ok(true);
        }
        // Rows that are being compressed leave memory in a moment.
        let encoding = self.lanes.iter_mut().find(|(_, lane)| lane.is_encoding());
        if let Some((&partition, lane)) = encoding {
            lane.finish_encoding()?;
            self.send_parts(partition)?;
            return Ok(true);
        }
        // What is on its way leaves soon; to seal more chunks would make small objects of them.
        if self.budget.leaving() >= self.budget.bytes_max() / LEAVING_SHARE {
            return Ok(false);
        }
        let Some(largest) = self.budget.relief() else { return Ok(false) };
        if let Some(lane) = self.lanes.get_mut(&largest) {
            lane.ledger.seal(SealReason::Memory);
        }
        let before = self.budget.bytes();
        self.pump(largest)?;
        Ok(self.budget.bytes() < before)
    }

    /// Stops fetching the partition until its lane takes messages again.
    pub(super) fn hold(&mut self, partition: Partition) -> Result<(), SinkError> {
        if let Some(lane) = self.lanes.get_mut(&partition)
            && lane.ledger.open_since().is_none()
        {
            // Nothing was opened with what the message in hand had reserved.
            lane.reserve(0);
            self.budget.set_open(partition, 0);
        }
        self.pause(partition);
        self.pump(partition)
    }
}
