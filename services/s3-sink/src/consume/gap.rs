//! Offsets without a message: no loss if they were compacted or are markers of transactions, but one
//! if retention removed them before they were consumed. Only the log's start tells.

use std::time::Duration;

use chunk_ledger::{Offset, OffsetRange, Partition};
use rdkafka::error::KafkaResult;
use tracing::{error, warn};

use super::{Event, Sink, Watermarks};

/// Shortest time between two questions of one partition why offsets are missing: a compacted log
/// has gaps everywhere.
const QUESTION_PERIOD: Duration = Duration::from_secs(1);

/// One gap, or several of one partition that are asked about together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// From the first missing offset to behind the last one.
    pub range: OffsetRange,
    /// How many are missing.
    pub offsets: u64,
}

impl Gap {
    /// Every offset of `range` is missing.
    pub fn new(range: OffsetRange) -> Self {
        Self { range, offsets: range.len() }
    }

    /// Both.
    fn and(self, other: Self) -> Self {
        let range = OffsetRange {
            start: self.range.start.min(other.range.start),
            end: self.range.end.max(other.range.end),
        };
        Self { range, offsets: (self.offsets + other.offsets).min(range.len()) }
    }

    /// What of it is missing because the log starts behind it; of several gaps that the log's start
    /// lies between, the most that it can be.
    fn before(self, log_start: Offset) -> Option<Self> {
        // The log's start may have moved on since, past what was consumed.
        let range = OffsetRange { end: log_start.min(self.range.end), ..self.range };
        (!range.is_empty()).then(|| Self { range, offsets: self.offsets.min(range.len()) })
    }
}

impl Sink {
    /// Notes that Kafka went on behind the position of a lane.
    pub(super) fn note_gap(&mut self, partition: Partition, range: OffsetRange) {
        if let Some(lane) = self.lanes.get_mut(&partition).filter(|_| !range.is_empty()) {
            let gap = Gap::new(range);
            lane.unexplained = Some(lane.unexplained.map_or(gap, |earlier| earlier.and(gap)));
            self.explain_gaps(partition);
        }
    }

    /// Asks Kafka about a lane's gaps, if it is time to.
    pub(super) fn explain_gaps(&mut self, partition: Partition) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(&partition) else { return };
        if (now >= lane.ask_gap_not_before || lane.leaving)
            && let Some(gap) = lane.unexplained.take()
        {
            lane.ask_gap_not_before = now + QUESTION_PERIOD;
            self.ask_why(partition, gap);
        }
    }

    pub(super) fn ask_why(&mut self, partition: Partition, gap: Gap) {
        self.gaps_asked += 1;
        let (group, events) = (self.group.clone(), self.events());
        tokio::task::spawn_blocking(move || {
            let watermarks = group.watermarks(partition);
            let _ = events.send(Event::GapExplained { gap, watermarks });
        });
    }

    /// Whether no loss can come out any more.
    pub(super) fn is_every_gap_explained(&self) -> bool {
        self.gaps_asked == 0 && self.lanes.values().all(|lane| lane.unexplained.is_none())
    }

    pub(super) fn on_gap_explained(&self, gap: Gap, watermarks: KafkaResult<Watermarks>) {
        match watermarks {
            Ok(Watermarks { partition, low, .. }) => {
                if let Some(Gap { range, offsets: lost }) = gap.before(low) {
                    error!(
                        %partition, offsets = %range, lost,
                        "kafka removed messages before they were consumed; going on behind them: raise the topic's retention"
                    );
                    self.metrics.offsets_lost.inc_by(lost);
                }
            }
            Err(error) => {
                warn!(offsets = %gap.range, %error, "whether kafka removed messages could not be learnt");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn gap(start: i64, end: i64) -> Gap {
        Gap::new(OffsetRange { start: Offset(start), end: Offset(end) })
    }

    #[test]
    fn what_lies_before_the_logs_start_is_lost() {
        assert_eq!(gap(10, 40).before(Offset(40)), Some(gap(10, 40)));
        assert_eq!(gap(10, 40).before(Offset(70)), Some(gap(10, 40)), "it moved on since");
        assert_eq!(gap(10, 40).before(Offset(25)), Some(gap(10, 25)));
        assert_eq!(gap(10, 40).before(Offset(10)), None);
        assert_eq!(gap(10, 40).before(Offset(0)), None);
    }

    #[test]
    fn gaps_that_are_asked_about_together_count_what_is_missing_and_not_what_lies_between() {
        let both = gap(10, 40).and(gap(60, 100));
        assert_eq!((both.range, both.offsets), (gap(10, 100).range, 70));
        assert_eq!(both.before(Offset(200)).unwrap().offsets, 70);
        assert_eq!(both.before(Offset(60)).unwrap().offsets, 50, "the most that it can be");
        // After a position that went back they may overlap.
        assert_eq!(gap(10, 40).and(gap(10, 40)), gap(10, 40));
    }
}
