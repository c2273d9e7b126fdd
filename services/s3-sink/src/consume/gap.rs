//! Offsets without a message: no loss if they were compacted or are markers of transactions, but one
//! if retention removed them before they were consumed. Only the log's start tells.

use std::time::Duration;

use chunk_ledger::{Offset, OffsetRange, Partition};
use rdkafka::error::KafkaResult;
use tracing::{error, warn};

use super::{Event, Sink, Watermarks};

/// Shortest time between two questions about one partition: a compacted log has gaps everywhere.
const QUESTION_PERIOD: Duration = Duration::from_secs(1);
/// Questions of a lane that is leaving that may fail in a row before its gaps are given up.
const FAILURES_MAX: u32 = 3;

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
    fn new(range: OffsetRange) -> Self {
        Self { range, offsets: range.len() }
    }

    fn and(self, other: Self) -> Self {
        let range = hull(self.range, other.range);
        Self { range, offsets: (self.offsets + other.offsets).min(range.len()) }
    }

    /// What of it is missing because the log starts behind it, as an empty range if nothing is. It is
    /// the most that it can be: where the log's start lies between several gaps, and where it has
    /// passed offsets since that were compacted, or markers of transactions.
    fn before(self, log_start: Offset) -> Self {
        // The log's start may have moved on since, past what was consumed.
        let range = OffsetRange { end: log_start.min(self.range.end), ..self.range };
        Self { range, offsets: self.offsets.min(range.len()) }
    }
}

/// The gaps of one lane.
#[derive(Debug, Default)]
pub struct LaneGaps {
    /// Kafka is still to be asked about them.
    waiting: Option<Gap>,
    is_asked: bool,
    ask_not_before: Duration,
    failures: u32,
    /// The last loss in one piece that was told in this assignment: where the position goes back, as
    /// after a lost race, it is met again.
    told: Option<OffsetRange>,
}

impl LaneGaps {
    /// Takes a range of offsets without a message, which may be empty.
    pub fn note(&mut self, range: OffsetRange) {
        if !range.is_empty() {
            self.keep(Gap::new(range));
        }
    }

    fn keep(&mut self, gap: Gap) {
        self.waiting = Some(self.waiting.map_or(gap, |earlier| earlier.and(gap)));
    }

    /// What is to be asked about now.
    fn question(&mut self, now: Duration, is_urgent: bool) -> Option<Gap> {
        self.waiting?;
        let is_too_soon = now < self.ask_not_before && (!is_urgent || self.failures > 0);
        if self.is_asked || is_too_soon {
            return None;
        }
        self.is_asked = true;
        self.ask_not_before = now + QUESTION_PERIOD;
        self.waiting.take()
    }

    /// Takes an answer; returns what is lost, and was not told yet.
    fn answered(&mut self, gap: Gap, log_start: Offset) -> Gap {
        (self.is_asked, self.failures) = (false, 0);
        let lost = gap.before(log_start);
        let told = self.told.map_or(0, |told| overlap(told, lost.range));
        self.remember(lost);
        Gap { offsets: lost.offsets.min(lost.range.len() - told), ..lost }
    }

    fn remember(&mut self, lost: Gap) {
        let Gap { range, offsets } = lost;
        if offsets > 0 && offsets == range.len() {
            let touches = |told: &OffsetRange| told.start <= range.end && range.start <= told.end;
            self.told = Some(self.told.filter(touches).map_or(range, |told| hull(told, range)));
        }
    }

    /// Takes a failure to answer; returns whether it will be asked again: for ever, unless somebody
    /// waits for the lane to leave.
    fn failed(&mut self, gap: Gap, is_leaving: bool) -> bool {
        self.is_asked = false;
        self.failures = self.failures.saturating_add(1);
        let will_repeat = !is_leaving || self.failures < FAILURES_MAX;
        if will_repeat {
            self.keep(gap);
        } else {
            self.failures = 0;
        }
        will_repeat
    }
}

/// The smallest range that holds both.
fn hull(left: OffsetRange, right: OffsetRange) -> OffsetRange {
    OffsetRange { start: left.start.min(right.start), end: left.end.max(right.end) }
}

/// How many offsets lie in both.
fn overlap(left: OffsetRange, right: OffsetRange) -> u64 {
    OffsetRange { start: left.start.max(right.start), end: left.end.min(right.end) }.len()
}

impl Sink {
    /// Notes that Kafka went on behind the position of a lane.
    pub(super) fn note_gap(&mut self, partition: Partition, range: OffsetRange) {
        if !range.is_empty()
            && let Some(lane) = self.lanes.get_mut(&partition)
        {
            lane.gaps.note(range);
            self.explain_gaps(partition);
        }
    }

    /// Asks Kafka about a lane's gaps, if there are any and it is time to.
    pub(super) fn explain_gaps(&mut self, partition: Partition) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(&partition) else { return };
        if let Some(gap) = lane.gaps.question(now, lane.leaving) {
            let epoch = lane.epoch;
            self.ask_why(partition, epoch, gap);
        }
    }

    /// Asks about the gaps of a lane that goes.
    pub(super) fn explain_last_gaps(&mut self, partition: Partition, epoch: u64, gaps: &LaneGaps) {
        if let Some(gap) = gaps.waiting {
            self.ask_why(partition, epoch, gap);
        }
    }

    fn ask_why(&mut self, partition: Partition, epoch: u64, gap: Gap) {
        self.gaps_asked += 1;
        let (group, events) = (self.group.clone(), self.events());
        tokio::task::spawn_blocking(move || {
            let watermarks = group.watermarks(partition);
            let _ = events.send(Event::GapExplained { partition, epoch, gap, watermarks });
        });
    }

    pub(super) fn on_gap_explained(
        &mut self,
        partition: Partition,
        epoch: u64,
        gap: Gap,
        watermarks: KafkaResult<Watermarks>,
    ) {
        self.gaps_asked -= 1;
        let lane = self.lanes.get_mut(&partition).filter(|lane| lane.epoch == epoch);
        match watermarks {
            Ok(Watermarks { low, .. }) => {
                let lost = match lane {
                    Some(lane) => lane.gaps.answered(gap, low),
                    None => gap.before(low),
                };
                self.tell_loss(partition, lost);
            }
            Err(error) => {
                let will_repeat = lane.is_some_and(|lane| lane.gaps.failed(gap, lane.leaving));
                warn!(
                    %partition, offsets = %gap.range, %error, will_repeat,
                    "whether kafka removed messages could not be learnt"
                );
            }
        }
    }

    fn tell_loss(&self, partition: Partition, Gap { range, offsets: lost }: Gap) {
        if lost > 0 {
            error!(
                %partition, offsets = %range, lost,
                "kafka removed messages before they were consumed; going on behind them: raise the topic's retention"
            );
            self.metrics.offsets_lost.inc_by(lost);
        }
    }

    /// Whether no loss can come out any more.
    pub(super) fn is_every_gap_explained(&self) -> bool {
        self.gaps_asked == 0 && self.lanes.values().all(|lane| lane.gaps.waiting.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn range(start: i64, end: i64) -> OffsetRange {
        OffsetRange { start: Offset(start), end: Offset(end) }
    }

    fn gap(start: i64, end: i64) -> Gap {
        Gap::new(range(start, end))
    }

    fn lost(gaps: &mut LaneGaps, start: i64, end: i64, log_start: i64) -> u64 {
        gaps.answered(gap(start, end), Offset(log_start)).offsets
    }

    #[test]
    fn what_lies_before_the_logs_start_is_lost() {
        assert_eq!(gap(10, 40).before(Offset(40)), gap(10, 40));
        assert_eq!(gap(10, 40).before(Offset(70)), gap(10, 40), "it moved on since");
        assert_eq!(gap(10, 40).before(Offset(25)), gap(10, 25));
        for log_start in [10, 0, -1001] {
            assert_eq!(gap(10, 40).before(Offset(log_start)).offsets, 0);
        }
    }

    #[test]
    fn gaps_that_are_asked_about_together_count_what_is_missing_and_not_what_lies_between() {
        let both = gap(10, 40).and(gap(60, 100));
        assert_eq!((both.range, both.offsets), (range(10, 100), 70));
        assert_eq!(both.before(Offset(200)).offsets, 70);
        assert_eq!(both.before(Offset(60)).offsets, 50, "the most that it can be");
        assert_eq!(gap(10, 40).and(gap(10, 40)), gap(10, 40));
    }

    #[test]
    fn one_question_is_asked_at_a_time_and_a_second_and_the_last_at_once() {
        let mut gaps = LaneGaps::default();
        assert_eq!(gaps.question(NOW, false), None, "nothing to ask");
        gaps.note(range(10, 40));
        assert_eq!(gaps.question(NOW, false), Some(gap(10, 40)));
        gaps.note(range(50, 60));
        assert_eq!(gaps.question(NOW + QUESTION_PERIOD, true), None, "one is asked");
        gaps.answered(gap(10, 40), Offset(0));
        assert_eq!(gaps.question(NOW, false), None, "too soon");
        gaps.note(range(60, 70));
        assert_eq!(gaps.question(NOW, true), Some(gap(50, 70)));
    }

    #[test]
    fn a_question_that_fails_is_asked_again_with_what_came_since_and_by_a_leaving_lane_not_for_ever()
     {
        let mut gaps = LaneGaps::default();
        gaps.note(range(10, 40));
        for failure in 1..FAILURES_MAX {
            let asked = gaps.question(NOW * failure, true);
            assert_eq!(asked, Some(gap(10, 40)));
            assert!(gaps.failed(gap(10, 40), true));
            assert_eq!(gaps.question(NOW * failure, true), None, "too soon after a failure");
        }
        gaps.note(range(40, 50));
        assert_eq!(gaps.question(NOW * FAILURES_MAX, false), Some(gap(10, 50)));
        assert!(!gaps.failed(gap(10, 50), true));
        assert_eq!(gaps.waiting, None);
        for _ in 0..2 * FAILURES_MAX {
            assert!(gaps.failed(gap(10, 50), false), "nobody waits for it");
        }
    }

    #[test]
    fn a_loss_is_told_once_however_often_it_is_met() {
        let mut gaps = LaneGaps::default();
        assert_eq!(lost(&mut gaps, 100, 700, 700), 600);
        assert_eq!(lost(&mut gaps, 100, 700, 700), 0, "the position went back");
        assert_eq!(lost(&mut gaps, 50, 700, 700), 50, "what was consumed, but not stored, is gone");
        assert_eq!(lost(&mut gaps, 50, 900, 900), 200);
        assert_eq!(lost(&mut gaps, 950, 960, 900), 0, "markers of a transaction");
        assert_eq!(lost(&mut gaps, 1000, 1100, 1100), 100);
    }
}
