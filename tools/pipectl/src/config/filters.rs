//! Values that say which messages or chunks are meant.

use chunk_ledger::{Day, Offset, OffsetRange, Timestamp};
use service_kit::config::Expected;

const DAY_LEN: usize = "2026-11-02".len();

/// `120`, or `120..140` without 140.
pub(super) fn offsets(value: &str) -> Result<OffsetRange, Expected> {
    let offset = |text: &str| text.trim().parse().ok().filter(|offset| *offset >= 0).map(Offset);
    let range = match value.split_once("..") {
        Some((start, end)) => offset(start).zip(offset(end)),
        None => offset(value).map(|start| (start, start.next())),
    };
    range
        .map(|(start, end)| OffsetRange { start, end })
        .filter(|range| !range.is_empty())
        .ok_or_else(|| Expected::new("an offset such as `120`, or a range such as `120..140`"))
}

/// A time in RFC 3339, or a day, which is its beginning in UTC.
pub(super) fn time(value: &str) -> Result<Timestamp, Expected> {
    let value = value.trim();
    let day = || {
        // A date is read from a time without a zone, too, which nobody means as a day.
        let date = (value.len() == DAY_LEN).then(|| value.parse().ok()).flatten();
        let date: jiff::civil::Date = date?;
        Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    let time: Option<jiff::Timestamp> = value.parse().ok().or_else(day);
    time.map(|time| Timestamp(time.as_millisecond())).ok_or_else(|| {
        Expected::new("a time such as `2026-11-02T12:00:00Z`, or a day such as `2026-11-02`")
    })
}

/// A day such as `2026-11-02`.
pub(super) fn day(value: &str) -> Result<Day, Expected> {
    let value = value.trim();
    // A date is read from a time, too, which nobody means as a day.
    let day = (value.len() == DAY_LEN).then(|| value.parse().ok()).flatten();
    day.ok_or_else(|| Expected::new("a day such as `2026-11-02`"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn offsets_are_one_or_a_range() {
        let range = |start, end| OffsetRange { start: Offset(start), end: Offset(end) };
        assert_eq!(offsets("120").unwrap(), range(120, 121));
        assert_eq!(offsets("0..140").unwrap(), range(0, 140));
        for text in ["", "-1", "5..5", "9..5", "..5", "5..", "5...7", "9223372036854775808"] {
            assert!(offsets(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn times_are_moments_or_days() {
        let noon = 1_793_620_800_000;
        assert_eq!(time("2026-11-02T12:00:00Z").unwrap(), Timestamp(noon));
        assert_eq!(time("2026-11-02T13:00:00.5+01:00").unwrap(), Timestamp(noon + 500));
        assert_eq!(time("2026-11-02").unwrap(), Timestamp(noon - 12 * 3_600_000));
        for text in ["", "12:00", "2026-13-01", "2026-11-02T12:00:00", "yesterday"] {
            assert!(time(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn days_are_days() {
        assert_eq!(day("2026-11-02").unwrap().to_string(), "2026-11-02");
        for text in ["", "2026-11-2", "2026-11-02T12:00:00Z", "20261102"] {
            assert!(day(text).is_err(), "{text:?}");
        }
    }
}
