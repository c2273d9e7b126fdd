//! When `serve` begins runs by itself: the setting `SCHEDULE`, and the ticks of a cron expression.

mod grammar;
mod scheduler;

use std::str::FromStr;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

pub(crate) use scheduler::{Cause, Decision, Moment, Policy, Scheduler, SkipReason};

/// When `serve` begins runs by itself.
#[derive(Debug, Clone)]
pub(crate) enum Schedule {
    /// At the ticks of a cron expression.
    Cron(CronSchedule),
    /// One run after another.
    Continuous,
    /// Never.
    Manual,
}

/// A cron expression of five fields, in a time zone.
///
/// Where clocks are put forward, a schedule with one time a day that falls into the gap has its
/// tick at the gap's end. Where they are put back, it has its tick at the first of the two times.
/// A schedule with several times a day is one of intervals: times in the gap have no tick, times
/// that come twice have two.
#[derive(Debug, Clone)]
pub(crate) struct CronSchedule {
    cron: Box<Cron>,
    time_zone: TimeZone,
}

/// No tick before this time is asked for. Only a bound for the search: any time before ours does.
const BEGINNING: Timestamp = Timestamp::UNIX_EPOCH;

impl CronSchedule {
    /// Reads minute, hour, day of month, month and day of week. The error is a phrase that says
    /// what is wrong.
    pub(crate) fn parse(expression: &str, time_zone: TimeZone) -> Result<Self, String> {
        grammar::check(expression)?;
        let cron = Cron::from_str(expression).map_err(|error| error.to_string())?;
        let schedule = Self { cron: Box::new(cron), time_zone };
        match schedule.next_after(BEGINNING) {
            Some(_) => Ok(schedule),
            None => Err("no day is like that".to_string()),
        }
    }

    /// The first tick after `time`; `None` if there is none.
    pub(crate) fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let from = Zoned::new(time, self.time_zone.clone());
        let next = self.cron.find_next_occurrence(&from, false).ok()?.timestamp();
        (next > time).then_some(next)
    }
}

#[cfg(test)]
mod tests;
