//! Which dead letters are meant.

use std::collections::BTreeSet;

use chunk_ledger::{OffsetRange, Partition, Timestamp};

use crate::coordinates::Coordinates;
use crate::kafka::Letter;

/// Which dead letters are meant: those that satisfy every part; an empty one admits all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Originals at one of these places; any place if empty.
    pub coordinates: BTreeSet<Coordinates>,
    /// Originals of this partition.
    pub partition: Option<Partition>,
    /// Originals at these offsets, of whatever partition.
    pub offsets: Option<OffsetRange>,
    /// Refused for this reason.
    pub reason: Option<String>,
    /// Written at this time or later.
    pub from: Option<Timestamp>,
    /// Written before this time.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// Whether `letter` is meant.
    pub fn admits(&self, letter: &Letter<'_>) -> bool {
        self.admits_place(letter.origin)
            && self.admits_time(letter.written())
            && self.reason.as_ref().is_none_or(|reason| *reason == letter.reason())
    }

    fn admits_place(&self, origin: Coordinates) -> bool {
        let Coordinates { partition, offset } = origin;
        (self.coordinates.is_empty() || self.coordinates.contains(&origin))
            && self.partition.is_none_or(|wanted| wanted == partition)
            && self.offsets.is_none_or(|range| range.start <= offset && offset < range.end)
    }

    fn admits_time(&self, written: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= written) && self.to.is_none_or(|to| written < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chunk_ledger::Offset;

    #[test]
    fn every_part_must_admit_the_place() {
        let place = |partition, offset| Coordinates::new(partition, offset);
        let range = |start, end| Some(OffsetRange { start: Offset(start), end: Offset(end) });
        let all = Filter::default();
        assert!(all.admits_place(place(0, 0)));
        let some = Filter {
            partition: Some(Partition(3)),
            offsets: range(10, 20),
            coordinates: [place(3, 10), place(3, 20), place(4, 15)].into(),
            ..Filter::default()
        };
        assert!(some.admits_place(place(3, 10)));
        for (why, other) in [
            ("the end is exclusive", place(3, 20)),
            ("another partition", place(4, 15)),
            ("not named", place(3, 15)),
        ] {
            assert!(!some.admits_place(other), "{why}");
        }
    }

    #[test]
    fn times_are_from_and_before() {
        let filter =
            Filter { from: Some(Timestamp(10)), to: Some(Timestamp(20)), ..Filter::default() };
        let admitted: Vec<i64> =
            [9, 10, 19, 20].into_iter().filter(|at| filter.admits_time(Timestamp(*at))).collect();
        assert_eq!(admitted, [10, 19]);
        assert!(Filter::default().admits_time(Timestamp(-1)));
    }
}
