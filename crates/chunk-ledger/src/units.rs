//! Newtypes for what Kafka counts, so that an offset is never taken for a partition.

use std::fmt;

/// A partition's number within its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub i32);

/// A position in a partition's log. Ends and commits name the *next* offset, as Kafka does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    /// The offset after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Milliseconds since the epoch, UTC, as Kafka stamps a message; -1 where it has no stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// A UTC day, counted from 1970-01-01. Displays as `2026-11-02`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

const MILLIS_PER_DAY: i64 = 86_400_000;
/// 9999-12-31: producers may stamp a message with any number, keys need four digits a year.
const LAST_DAY: i64 = 2_932_896;

impl Timestamp {
    /// The day that this time lies on; times outside 1970 ..= 9999 count as the nearest day.
    pub const fn day(self) -> Day {
        let day = self.0.div_euclid(MILLIS_PER_DAY);
        Day(if day < 0 {
            0
        } else if day > LAST_DAY {
            LAST_DAY as i32
        } else {
            day as i32
        })
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In range by construction; the fallback keeps this free of panics.
        match jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(self.0)) {
            Ok(date) => write!(f, "{date}"),
            Err(_) => write!(f, "1970-01-01"),
        }
    }
}

impl std::str::FromStr for Day {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let date: jiff::civil::Date = text.parse()?;
        let days = date.since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1)))?.get_days();
        Ok(Self(days))
    }
}

/// What the protocol needs to know of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Where the message stands.
    pub offset: Offset,
    /// When Kafka stamped it.
    pub timestamp: Timestamp,
}

/// A half-open range of offsets, `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetRange {
    /// The first offset inside.
    pub start: Offset,
    /// The first offset behind.
    pub end: Offset,
}

impl OffsetRange {
    /// Number of offsets inside; 0 when the end lies before the start.
    pub const fn len(self) -> u64 {
        // Also for ranges that foreign metadata makes up.
        if self.end.0 > self.start.0 { self.end.0.abs_diff(self.start.0) } else { 0 }
    }

    /// Whether no offset lies inside.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn days_read_and_print_as_dates() {
        let cases = [
            (0, "1970-01-01"),
            (MILLIS_PER_DAY - 1, "1970-01-01"),
            (951_782_400_000, "2000-02-29"),
            (1_793_577_599_999, "2026-11-01"),
            (1_793_577_600_000, "2026-11-02"),
            (-1, "1970-01-01"),
            (i64::MIN, "1970-01-01"),
            (i64::MAX, "9999-12-31"),
        ];
        for (millis, date) in cases {
            let day = Timestamp(millis).day();
            assert_eq!(day.to_string(), date, "{millis}");
            assert_eq!(date.parse::<Day>().unwrap(), day);
        }
    }
}
