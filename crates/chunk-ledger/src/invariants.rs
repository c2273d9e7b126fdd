//! What must always hold, each by its name and with one definition, which serves the property
//! tests, the exhaustive model and the audit of real buckets.

use std::fmt;
use std::time::Duration;

use crate::{Action, Budget, Chunk, Offset, OffsetRange, PartitionLedger};

/// The names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// No loss: no offset below a committed or adopted end is missing from the chain.
    L1,
    /// No overlap: no offset is in two objects.
    L2,
    /// A commit follows the store: what is committed is stored.
    L3,
    /// One object for each start, and its content never changes.
    L4,
    /// Open and storing bytes never pass the budget.
    L5,
    /// After a revocation nothing is done for the partition.
    L6,
    /// While the store answers, a chunk older than its age limit is sealed.
    L7,
}

/// Two neighbours in a chain that should meet and do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Break {
    /// L1: nobody stored `missing`; it lies between the objects at these positions of the input.
    Gap {
        /// The offsets.
        missing: OffsetRange,
        /// Index of the object in front.
        before: usize,
        /// Index of the object behind.
        after: usize,
    },
    /// L2: both objects claim `twice`.
    Overlap {
        /// The offsets.
        twice: OffsetRange,
        /// Index of the object that reaches further back.
        first: usize,
        /// Index of the other object.
        second: usize,
    },
}

impl Break {
    /// The invariant that is broken.
    pub const fn invariant(&self) -> Invariant {
        match self {
            Self::Gap { .. } => Invariant::L1,
            Self::Overlap { .. } => Invariant::L2,
        }
    }
}

/// L1 and L2 between the objects of one partition: every place where `ranges`, sorted by start,
/// do not tile.
pub fn chain_breaks(ranges: &[OffsetRange]) -> Vec<Break> {
    let mut breaks = Vec::new();
    // The object that reaches furthest so far: an overlap may span several neighbours.
    let mut furthest = 0;
    for (index, range) in ranges.iter().enumerate().skip(1) {
        let reached = ranges[furthest].end;
        if range.start > reached {
            let missing = OffsetRange { start: reached, end: range.start };
            breaks.push(Break::Gap { missing, before: furthest, after: index });
        } else if range.start < reached {
            let twice = OffsetRange { start: range.start, end: range.end.min(reached) };
            breaks.push(Break::Overlap { twice, first: furthest, second: index });
        }
        if range.end > reached {
            furthest = index;
        }
    }
    breaks
}

/// L1 at the end of a chain: the offsets below `committed` that no object holds, given the ranges
/// of one partition sorted by start. `log_start` is where Kafka's log begins; with no objects the
/// group may have committed it, and nothing below it can be stored any more.
pub fn uncovered_commit(
    ranges: &[OffsetRange],
    committed: Offset,
    log_start: Offset,
) -> Option<OffsetRange> {
    let reached = ranges.iter().map(|range| range.end).max().unwrap_or(log_start);
    (committed > reached).then_some(OffsetRange { start: reached, end: committed })
}

/// The counts of a chunk add up to its range: each offset is a row, a dead letter or a gap.
pub fn adds_up(chunk: &Chunk) -> bool {
    chunk.rows.checked_add(chunk.rejected).and_then(|sum| sum.checked_add(chunk.gaps))
        == Some(chunk.range.len())
}

/// L3, as the writer sees it.
pub fn commit_follows_store(ledger: &PartitionLedger) -> bool {
    ledger.committed().is_none_or(|committed| committed <= ledger.stored_end())
}

/// L4, for an object seen before and now.
pub fn unchanged<T: PartialEq>(before: &T, now: &T) -> bool {
    before == now
}

/// L5. A single message beyond the budget is let in when nothing else is held.
pub fn bounded(budget: &Budget, largest_message: u64) -> bool {
    budget.bytes() <= budget.bytes_max().max(largest_message)
}

/// L6: what a revoked ledger may do.
pub fn silent(action_after_revocation: Option<Action>) -> bool {
    action_after_revocation.is_none()
}

/// L7, to be asked after every action was taken: a chunk beyond its age limit may only wait for
/// the one that is being stored, or for the first commit.
pub fn sealed_in_time(ledger: &PartitionLedger, age_max: Duration, now: Duration) -> bool {
    match ledger.open_since() {
        Some(opened_at) if now.saturating_sub(opened_at) >= age_max => {
            ledger.storing().is_some() || ledger.committed().is_none()
        }
        _ => true,
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: i64, end: i64) -> OffsetRange {
        OffsetRange { start: Offset(start), end: Offset(end) }
    }

    #[test]
    fn a_chain_that_tiles_has_no_breaks() {
        assert_eq!(chain_breaks(&[]), []);
        assert_eq!(chain_breaks(&[range(3, 5)]), []);
        assert_eq!(chain_breaks(&[range(3, 5), range(5, 9), range(9, 10)]), []);
    }

    #[test]
    fn gaps_and_overlaps_are_named_with_their_neighbours() {
        let gap = Break::Gap { missing: range(120, 140), before: 0, after: 1 };
        assert_eq!(chain_breaks(&[range(0, 120), range(140, 150)]), [gap]);
        let twice = Break::Overlap { twice: range(4, 6), first: 0, second: 1 };
        assert_eq!(chain_breaks(&[range(0, 6), range(4, 9)]), [twice]);
        // An object that swallows two others overlaps with each, and leaves no gap behind them.
        let breaks = chain_breaks(&[range(0, 10), range(2, 3), range(5, 6), range(10, 11)]);
        assert_eq!(
            breaks,
            [
                Break::Overlap { twice: range(2, 3), first: 0, second: 1 },
                Break::Overlap { twice: range(5, 6), first: 0, second: 2 },
            ]
        );
        let same = Break::Overlap { twice: range(0, 5), first: 0, second: 1 };
        assert_eq!(chain_breaks(&[range(0, 5), range(0, 5)]), [same]);
    }

    #[test]
    fn a_commit_beyond_the_chain_is_a_loss() {
        assert_eq!(uncovered_commit(&[range(0, 5)], Offset(5), Offset(0)), None);
        assert_eq!(uncovered_commit(&[range(0, 5)], Offset(9), Offset(0)), Some(range(5, 9)));
        assert_eq!(uncovered_commit(&[], Offset(7), Offset(7)), None);
        assert_eq!(uncovered_commit(&[], Offset(7), Offset(0)), Some(range(0, 7)));
    }
}
