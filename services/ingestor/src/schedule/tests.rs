#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The first `count` ticks after `from`, in UTC.
fn ticks(expression: &str, time_zone: &str, from: &str, count: usize) -> Vec<String> {
    let time_zone = TimeZone::get(time_zone).unwrap();
    let schedule = CronSchedule::parse(expression, time_zone).unwrap();
    std::iter::successors(schedule.next_after(time(from)), |tick| schedule.next_after(*tick))
        .take(count)
        .map(|tick| tick.to_string())
        .collect()
}

#[test]
fn daily_at_one() {
    assert_eq!(
        ticks("0 1 * * *", "UTC", "2026-11-02T01:00:00Z", 2),
        ["2026-11-03T01:00:00Z", "2026-11-04T01:00:00Z"]
    );
    assert_eq!(
        ticks("0 1 * * *", "UTC", "2026-11-02T00:59:59.999999999Z", 1),
        ["2026-11-02T01:00:00Z"]
    );
}

#[test]
fn the_zone_decides_what_one_o_clock_is() {
    assert_eq!(
        ticks("0 1 * * *", "America/New_York", "2026-07-01T00:00:00Z", 1),
        ["2026-07-01T05:00:00Z"]
    );
    assert_eq!(
        ticks("30 5 * * *", "Asia/Kolkata", "2026-07-01T00:00:00Z", 1),
        ["2026-07-02T00:00:00Z"]
    );
}

#[test]
fn a_time_in_the_gap_ticks_at_its_end() {
    // On 29 March 2026 Berlin's clocks go from 02:00 to 03:00, which is 01:00 UTC.
    assert_eq!(
        ticks("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
}

#[test]
fn a_time_that_comes_twice_ticks_once() {
    // On 25 October 2026 Berlin's clocks go from 03:00 back to 02:00, which is 01:00 UTC.
    assert_eq!(
        ticks("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", 3),
        ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
}

#[test]
fn intervals_leave_the_gap_out_and_fill_both_hours_of_the_fold() {
    assert_eq!(
        ticks("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", 3),
        ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]
    );
    assert_eq!(
        ticks("0,30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 5),
        [
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-26T01:00:00Z",
        ]
    );
    assert_eq!(
        ticks("30 2,14 * * *", "Europe/Berlin", "2026-03-28T20:00:00Z", 2),
        ["2026-03-29T12:30:00Z", "2026-03-30T00:30:00Z"]
    );
}

#[test]
fn leap_days() {
    assert_eq!(
        ticks("0 12 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2),
        ["2028-02-29T12:00:00Z", "2032-02-29T12:00:00Z"]
    );
    // 2100 is no leap year.
    assert_eq!(ticks("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1), ["2104-02-29T00:00:00Z"]);
}

#[test]
fn days_of_month_and_week_add_up() {
    // The 13th, and every Friday: 2 November 2026 is a Monday.
    assert_eq!(
        ticks("0 0 13 * FRI", "UTC", "2026-11-02T00:00:00Z", 3),
        ["2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"]
    );
    assert_eq!(
        ticks("0 0 * jan,Dec 7", "UTC", "2026-11-02T00:00:00Z", 1),
        ["2026-12-06T00:00:00Z"]
    );
    assert_eq!(
        ticks("10-40/15 22-23 * * 1-5", "UTC", "2026-11-06T23:00:00Z", 3),
        ["2026-11-06T23:10:00Z", "2026-11-06T23:25:00Z", "2026-11-06T23:40:00Z"]
    );
}

#[test]
fn what_passes_the_grammar_is_understood_by_the_parser() {
    for expression in [
        "*/59 */23 */31 */12 *",
        "0-59/59 0-23 1-31 1-12 0-7",
        "0,1,2-4,10-20/5 0 1,15 JAN-DEC/2,3 SUN-SAT/3",
        "00 01 01 jan Sun",
        "0 0 * * 5-7",
        "0 0 29 FEB *",
    ] {
        let parsed = CronSchedule::parse(expression, TimeZone::UTC);
        assert!(parsed.is_ok(), "{expression}: {parsed:?}");
    }
}

#[test]
fn what_five_fields_do_not_have_is_refused() {
    for (expression, problem) in [
        ("0 1 * *", "it has 4 fields"),
        ("0 0 1 * * *", "it has 6 fields"),
        ("0 0 1 * * * 2026", "it has 7 fields"),
        ("@daily", "it has 1 fields"),
        ("@ a i l y", "the minute \"@\" is none"),
        ("60 1 * * *", "the minute \"60\" is none (0 to 59)"),
        ("0 24 * * *", "the hour \"24\" is none (0 to 23)"),
        ("0 1 0 * *", "the day of month \"0\" is none (1 to 31)"),
        ("0 1 32 * *", "the day of month \"32\""),
        ("0 1 * 13 *", "the month \"13\" is none (1 to 12)"),
        ("0 1 * * 8", "the day of week \"8\" is none (0 to 7)"),
        ("-1 1 * * *", "the minute \"-1\""),
        ("0 5-1 * * *", "the hour \"5-1\""),
        ("*/0 * * * *", "the minute \"*/0\""),
        ("0 1 L * *", "the day of month \"L\""),
        ("0 1 15W * *", "the day of month \"15W\""),
        ("0 1 ? * *", "the day of month \"?\""),
        ("0 1 * * 5L", "the day of week \"5L\""),
        ("0 1 * * 5#2", "the day of week \"5#2\""),
        ("0 1 1 * +MON", "the day of week \"+MON\""),
        ("5/10 * * * *", "the minute \"5/10\""),
        ("/10 * * * *", "the minute \"/10\""),
        (", 1 * * *", "the minute \",\""),
        ("0, 1 * * *", "the minute \"0,\""),
        ("MON 1 * * *", "the minute \"MON\""),
        ("0 JAN * * *", "the hour \"JAN\""),
        ("0 1 * MON *", "the month \"MON\""),
        ("0 1 * JANFEB *", "the month \"JANFEB\""),
        ("0 1 * JANUARY *", "the month \"JANUARY\""),
        ("0 1 * * FRI-MON", "the day of week \"FRI-MON\""),
        ("*/60 * * * *", "the minute \"*/60\""),
        ("+5 1 * * *", "the minute \"+5\""),
        ("0 1 * * 1-5-6", "the day of week \"1-5-6\""),
        ("0 1 * * ١", "the day of week \"١\""),
        ("99999999999999999999 1 * * *", "the minute \"99999999999999999999\""),
        ("0 0 30 2 *", "no day is like that"),
        ("0 0 31 4,6,9,11 *", "no day is like that"),
    ] {
        let refused = CronSchedule::parse(expression, TimeZone::UTC);
        let error = refused.expect_err(expression);
        assert!(error.contains(problem), "{expression}: {error}");
    }
}
