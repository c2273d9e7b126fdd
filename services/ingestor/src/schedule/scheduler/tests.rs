#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::*;
use crate::schedule::CronSchedule;

const RUN: Uuid = Uuid::from_u128(1);
const MINUTE: u64 = 60;
pub(super) const HOUR: u64 = 3_600;
pub(super) const DAY: u64 = 86_400;

/// A scheduler in a time of its own.
pub(super) struct World {
    pub(super) scheduler: Scheduler,
    pub(super) now: Moment,
}

impl World {
    pub(super) fn new(policy: Policy, from: &str) -> Self {
        let now = Moment { wall: time(from), steady: Duration::from_secs(1_000) };
        Self { scheduler: Scheduler::new(policy, now), now }
    }

    fn cron(expression: &str, from: &str) -> Self {
        Self::new(policy(cron(expression, "UTC")), from)
    }

    /// Both clocks go on.
    pub(super) fn pass(&mut self, seconds: u64) {
        self.jump(seconds as i64);
        self.now.steady += Duration::from_secs(seconds);
    }

    /// The wall clock is set.
    pub(super) fn jump(&mut self, seconds: i64) {
        self.now.wall += SignedDuration::from_secs(seconds);
    }

    pub(super) fn decide(&mut self) -> Vec<Decision> {
        self.scheduler.advance(self.now)
    }

    pub(super) fn ended(&mut self, outcome: Outcome) {
        self.scheduler.ended(RUN, outcome, self.now);
    }

    /// Sleeps as the scheduler says, each run succeeding at once, and tells what is decided within
    /// `seconds`, with the time at which it is.
    fn live(&mut self, seconds: u64) -> Vec<(String, Decision)> {
        let end = self.now.steady + Duration::from_secs(seconds);
        let mut told = Vec::new();
        loop {
            for decision in self.decide() {
                told.push((self.now.wall.to_string(), decision));
                if let Decision::Begin(_) = decision {
                    self.ended(Outcome::Succeeded);
                }
            }
            let left = end.saturating_sub(self.now.steady);
            let idle = self.scheduler.idle_for(self.now).unwrap_or(Duration::MAX);
            if idle > left {
                self.pass(left.as_secs());
                return told;
            }
            self.now.steady += idle;
            self.now.wall += idle;
        }
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn cron(expression: &str, time_zone: &str) -> Schedule {
    let time_zone = TimeZone::get(time_zone).unwrap();
    Schedule::Cron(CronSchedule::parse(expression, time_zone).unwrap())
}

pub(super) fn policy(schedule: Schedule) -> Policy {
    Policy { schedule, run_on_start: false, retries_max: 1, retry_delay: Duration::from_secs(5) }
}

fn tick(text: &str) -> Decision {
    Decision::Begin(Cause::Tick(time(text)))
}

fn skip(ticks: u64, last: &str, reason: SkipReason) -> Decision {
    Decision::Skip { ticks, last: time(last), reason }
}

/// The ticks that began runs, in UTC.
fn begun(told: &[(String, Decision)]) -> Vec<&str> {
    told.iter().map(|(at, _)| at.as_str()).collect()
}

#[test]
fn each_tick_begins_a_run_at_its_time() {
    let mut world = World::cron("0 1 * * *", "2026-11-02T12:00:00Z");
    assert_eq!(world.decide(), []);
    assert_eq!(world.scheduler.idle_for(world.now), Some(Duration::from_secs(13 * HOUR)));
    let told = world.live(3 * DAY);
    assert_eq!(
        told.iter().map(|(_, decision)| *decision).collect::<Vec<_>>(),
        [tick("2026-11-03T01:00:00Z"), tick("2026-11-04T01:00:00Z"), tick("2026-11-05T01:00:00Z")]
    );
    assert_eq!(begun(&told)[0], "2026-11-03T01:00:00Z");
    assert_eq!(world.scheduler.next_tick(), Some(time("2026-11-06T01:00:00Z")));
}

#[test]
fn ticks_before_the_start_are_not_caught_up_with() {
    let mut world = World::cron("0 1 * * *", "2026-11-02T01:00:00Z");
    assert_eq!(world.decide(), []);
    assert_eq!(world.scheduler.next_tick(), Some(time("2026-11-03T01:00:00Z")));
}

#[test]
fn the_gap_and_the_fold_have_one_run_each() {
    for (from, expected) in [
        ("2026-03-28T12:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("2026-10-24T12:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
    ] {
        let mut world = World::new(policy(cron("30 2 * * *", "Europe/Berlin")), from);
        assert_eq!(begun(&world.live(2 * DAY)), expected, "from {from}");
    }
}

#[test]
fn a_leap_day_comes_every_four_years() {
    let mut world = World::cron("0 1 29 2 *", "2026-11-02T00:00:00Z");
    let told = world.live(6 * 365 * DAY);
    assert_eq!(begun(&told), ["2028-02-29T01:00:00Z", "2032-02-29T01:00:00Z"]);
}

#[test]
fn ticks_during_a_run_are_skipped_and_counted() {
    let mut world = World::cron("* * * * *", "2026-11-02T12:00:30Z");
    world.pass(30);
    assert_eq!(world.decide(), [tick("2026-11-02T12:01:00Z")]);
    for minute in ["12:02", "12:03"] {
        assert_eq!(world.scheduler.idle_for(world.now), Some(Duration::from_secs(MINUTE)));
        world.pass(MINUTE);
        let last = format!("2026-11-02T{minute}:00Z");
        assert_eq!(world.decide(), [skip(1, &last, SkipReason::Busy)]);
    }
    world.pass(10);
    world.ended(Outcome::Succeeded);
    assert_eq!(world.decide(), [], "a skipped tick is not made up for");
    world.pass(50);
    assert_eq!(world.decide(), [tick("2026-11-02T12:04:00Z")]);
}

#[test]
fn a_failed_run_is_repeated_once_after_the_delay() {
    let mut world = World::cron("0 1 * * *", "2026-11-02T00:59:00Z");
    world.pass(MINUTE);
    assert_eq!(world.decide(), [tick("2026-11-02T01:00:00Z")]);
    world.pass(120);
    world.ended(Outcome::Failed);
    assert_eq!(world.decide(), []);
    assert_eq!(world.scheduler.idle_for(world.now), Some(Duration::from_secs(5)));
    world.pass(4);
    assert_eq!(world.decide(), []);
    world.pass(1);
    assert_eq!(world.decide(), [Decision::Begin(Cause::Retry(RUN))]);
    world.ended(Outcome::Failed);
    world.pass(HOUR);
    assert_eq!(world.decide(), [], "once is enough");
}

#[test]
fn the_number_of_retries_is_that_of_the_setting() {
    for retries_max in [0, 3] {
        let schedule = cron("0 1 * * *", "UTC");
        let mut world =
            World::new(Policy { retries_max, ..policy(schedule) }, "2026-11-02T00:59:59Z");
        world.pass(1);
        assert_eq!(world.decide(), [tick("2026-11-02T01:00:00Z")]);
        for _ in 0..retries_max {
            world.ended(Outcome::Failed);
            world.pass(5);
            assert_eq!(world.decide(), [Decision::Begin(Cause::Retry(RUN))]);
        }
        world.ended(Outcome::Failed);
        world.pass(HOUR);
        assert_eq!(world.decide(), []);
    }
}

#[test]
fn runs_that_are_cancelled_or_asked_for_are_not_repeated() {
    let mut world = World::cron("0 1 * * *", "2026-11-02T00:59:59Z");
    world.pass(1);
    assert_eq!(world.decide(), [tick("2026-11-02T01:00:00Z")]);
    world.ended(Outcome::Cancelled);
    world.pass(HOUR);
    assert_eq!(world.decide(), []);
    assert!(world.scheduler.admit());
    world.ended(Outcome::Failed);
    world.pass(HOUR);
    assert_eq!(world.decide(), []);
}

#[test]
fn a_tick_while_a_retry_waits_is_skipped() {
    let mut world = World::cron("* * * * *", "2026-11-02T12:00:00Z");
    world.pass(MINUTE);
    assert_eq!(world.decide(), [tick("2026-11-02T12:01:00Z")]);
    world.pass(58);
    world.ended(Outcome::Failed);
    world.pass(2);
    assert_eq!(world.decide(), [skip(1, "2026-11-02T12:02:00Z", SkipReason::Busy)]);
    world.pass(3);
    assert_eq!(world.decide(), [Decision::Begin(Cause::Retry(RUN))]);
}

#[test]
fn a_retry_and_a_tick_at_one_moment_are_one_run() {
    let mut world = World::cron("* * * * *", "2026-11-02T12:00:00Z");
    world.pass(MINUTE);
    world.decide();
    world.pass(55);
    world.ended(Outcome::Failed);
    world.pass(5);
    assert_eq!(
        world.decide(),
        [Decision::Begin(Cause::Retry(RUN)), skip(1, "2026-11-02T12:02:00Z", SkipReason::Busy)]
    );
}

#[test]
fn a_request_goes_before_a_waiting_retry_and_never_beside_a_run() {
    let mut world = World::cron("0 1 * * *", "2026-11-02T00:59:59Z");
    world.pass(1);
    world.decide();
    assert!(!world.scheduler.admit());
    world.ended(Outcome::Failed);
    assert!(world.scheduler.admit());
    assert!(!world.scheduler.admit());
    world.pass(MINUTE);
    assert_eq!(world.decide(), []);
    assert_eq!(world.scheduler.idle_for(world.now).map(|idle| idle > Duration::ZERO), Some(true));
    world.ended(Outcome::Succeeded);
    assert_eq!(world.decide(), [Decision::Begin(Cause::Retry(RUN))]);
    world.ended(Outcome::Succeeded);
    assert!(world.scheduler.admit());
    world.scheduler.withdrawn();
    assert!(world.scheduler.admit());
}

#[test]
fn a_clock_put_forward_misses_ticks_and_does_not_catch_up() {
    let mut world = World::cron("0 * * * *", "2026-11-02T00:30:00Z");
    world.jump(5 * HOUR as i64);
    assert_eq!(world.decide(), [skip(5, "2026-11-02T05:00:00Z", SkipReason::Late)]);
    world.pass(30 * MINUTE);
    assert_eq!(world.decide(), [tick("2026-11-02T06:00:00Z")]);
}

#[test]
fn a_tick_noticed_within_a_minute_still_counts() {
    for (late, expected) in [
        (60, tick("2026-11-02T01:00:00Z")),
        (61, skip(1, "2026-11-02T01:00:00Z", SkipReason::Late)),
    ] {
        let mut world = World::cron("0 1 * * *", "2026-11-02T00:59:59Z");
        world.jump(1 + late);
        assert_eq!(world.decide(), [expected], "{late} s late");
        assert_eq!(world.decide(), []);
    }
}

#[test]
fn a_clock_from_1970_is_set_in_bounded_time() {
    let mut world = World::cron("* * * * *", "1970-01-01T00:00:30Z");
    world.now.wall = time("2026-11-02T12:00:10Z");
    let decisions = world.decide();
    assert!(
        matches!(
            decisions[..],
            [Decision::Skip { ticks: MISSED_MAX, reason: SkipReason::Late, .. }]
        ),
        "{decisions:?}"
    );
    world.pass(50);
    assert_eq!(world.decide(), [tick("2026-11-02T12:01:00Z")]);
}

#[test]
fn a_clock_put_back_repeats_no_tick() {
    let mut world = World::cron("*/10 * * * *", "2026-11-02T11:55:00Z");
    let told = world.live(30 * MINUTE);
    assert_eq!(told.len(), 3, "{told:?}");
    world.jump(-(20 * MINUTE as i64));
    // It is 12:05 again: 12:10 and 12:20 had their runs.
    let told = world.live(40 * MINUTE);
    assert_eq!(begun(&told), ["2026-11-02T12:30:00Z", "2026-11-02T12:40:00Z"]);
}

#[test]
fn a_skipped_tick_does_not_come_again() {
    let mut world = World::cron("*/10 * * * *", "2026-11-02T11:55:00Z");
    assert!(world.scheduler.admit());
    world.pass(5 * MINUTE);
    assert_eq!(world.decide(), [skip(1, "2026-11-02T12:00:00Z", SkipReason::Busy)]);
    world.ended(Outcome::Succeeded);
    world.jump(-60);
    world.decide();
    assert_eq!(world.scheduler.next_tick(), Some(time("2026-11-02T12:10:00Z")));
}

#[test]
fn a_clock_that_was_wrong_for_a_while_costs_no_later_tick() {
    let mut world = World::cron("0 1 * * *", "2026-11-02T12:00:00Z");
    world.jump(365 * DAY as i64);
    world.decide();
    let told = world.live(DAY);
    assert_eq!(begun(&told), ["2027-11-03T01:00:00Z"]);
    world.jump(-365 * DAY as i64);
    let told = world.live(2 * DAY);
    assert_eq!(begun(&told), ["2026-11-04T01:00:00Z", "2026-11-05T01:00:00Z"]);
}

#[test]
fn ticks_missed_by_mistake_come_at_their_time() {
    let mut world = World::cron("0 * * * *", "2026-11-02T00:30:00Z");
    world.jump(2 * HOUR as i64);
    assert_eq!(world.decide(), [skip(2, "2026-11-02T02:00:00Z", SkipReason::Late)]);
    world.jump(-2 * HOUR as i64);
    assert_eq!(begun(&world.live(HOUR)), ["2026-11-02T01:00:00Z"]);
}

#[test]
fn a_tick_of_an_earlier_process_is_not_repeated() {
    let mut world = World::cron("0 1 * * *", "2026-11-02T00:59:58Z");
    world.scheduler.remember(time("2026-11-02T01:00:00Z"));
    world.scheduler.remember(time("2026-11-01T01:00:00Z"));
    assert_eq!(begun(&world.live(DAY + MINUTE)), ["2026-11-03T01:00:00Z"]);
}

#[test]
fn a_run_on_start_is_repeated_like_any_other() {
    let start = Policy { run_on_start: true, ..policy(Schedule::Manual) };
    let mut world = World::new(start, "2026-11-02T12:00:00Z");
    assert_eq!(world.scheduler.idle_for(world.now), Some(Duration::ZERO));
    assert_eq!(world.decide(), [Decision::Begin(Cause::Start)]);
    world.ended(Outcome::Failed);
    world.pass(5);
    assert_eq!(world.decide(), [Decision::Begin(Cause::Retry(RUN))]);
    world.ended(Outcome::Succeeded);
    assert_eq!(world.scheduler.idle_for(world.now), None);
}

#[test]
fn a_manual_schedule_begins_nothing() {
    let mut world = World::new(policy(Schedule::Manual), "2026-11-02T12:00:00Z");
    assert_eq!(world.live(400 * DAY), []);
    assert_eq!(world.scheduler.next_tick(), None);
}

#[test]
fn a_continuous_schedule_goes_on_and_pauses_after_failures() {
    let mut world = World::new(policy(Schedule::Continuous), "2026-11-02T12:00:00Z");
    for outcome in [Outcome::Succeeded, Outcome::Cancelled] {
        assert_eq!(world.decide(), [Decision::Begin(Cause::Continuous)]);
        world.pass(120);
        world.ended(outcome);
    }
    for _ in 0..3 {
        assert_eq!(world.decide(), [Decision::Begin(Cause::Continuous)]);
        world.ended(Outcome::Failed);
        assert_eq!(world.decide(), []);
        world.pass(5);
    }
    assert_eq!(world.decide(), [Decision::Begin(Cause::Continuous)]);
}

#[test]
fn nothing_begins_once_it_leaves() {
    for schedule in [cron("* * * * *", "UTC"), Schedule::Continuous] {
        let mut world = World::new(policy(schedule), "2026-11-02T12:00:00Z");
        world.pass(MINUTE);
        assert_eq!(world.decide().len(), 1);
        world.scheduler.leave();
        world.ended(Outcome::Failed);
        assert!(!world.scheduler.admit());
        world.jump(-5 * MINUTE as i64);
        assert_eq!(world.live(HOUR), []);
        assert_eq!(world.scheduler.idle_for(world.now), None);
    }
}
