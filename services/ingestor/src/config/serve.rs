//! The settings of `serve` alone: when runs begin, who may begin them, and where they are kept.

use std::time::Duration;

use jiff::tz::TimeZone;
use service_kit::admin::BearerToken;
use service_kit::config::{ADMIN_TOKEN, Expected, Reader, Setting, parse};

use super::DAY;
use crate::schedule::{CronSchedule, Policy, Schedule};

/// The least wait before a retry. Runs that fail at once must not follow each other at once.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);

pub(super) static SETTINGS: &[Setting] = &[
    Setting::new(
        "SCHEDULE",
        "cron expression of five fields; or `continuous` for one run after another, \
         `manual` for none by itself",
    )
    .default("0 1 * * *"),
    Setting::new("SCHEDULE_TIMEZONE", "time zone of the cron expression, such as `Europe/Berlin`")
        .default("UTC"),
    Setting::new("RUN_ON_START", "whether a run begins when the process starts").default("false"),
    Setting::new("RUN_RETRIES", "how often a run that failed is repeated").default("1"),
    Setting::new("RUN_RETRY_DELAY_SECONDS", "wait before a run that failed is repeated")
        .default("5"),
    Setting::new("RUNS_TOPIC", "compacted topic that remembers the runs").default("ingestor.runs"),
    ADMIN_TOKEN,
];

/// What `serve` needs to know besides its runs.
#[derive(Debug)]
pub(crate) struct ServeConfig {
    /// When runs begin.
    pub(crate) policy: Policy,
    /// The topic of runs.
    pub(crate) runs_topic: String,
    /// What requests to change state must carry.
    pub(crate) admin_token: Option<BearerToken>,
}

impl ServeConfig {
    /// Reads everything before it looks at any result, so that no mistake hides another.
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let time_zone = reader.required("SCHEDULE_TIMEZONE", time_zone);
        let zone = time_zone.clone().unwrap_or(TimeZone::UTC);
        let schedule = reader.required("SCHEDULE", |value| schedule(value, zone));
        let run_on_start = reader.required("RUN_ON_START", parse::boolean);
        let retries_max = reader.required("RUN_RETRIES", parse::integer(0..=100));
        let retry_delay =
            reader.required("RUN_RETRY_DELAY_SECONDS", parse::duration(RETRY_DELAY_MIN..=DAY));
        let runs_topic = reader.required("RUNS_TOPIC", parse::text);
        let admin_token = reader.optional(ADMIN_TOKEN.name, parse::bearer_token);
        let topic = reader.get("KAFKA_TOPIC", parse::text);
        if topic.is_some() && topic == runs_topic {
            reader.refuse("RUNS_TOPIC", "expected another topic than KAFKA_TOPIC");
        }
        time_zone?;
        Some(Self {
            policy: Policy {
                schedule: schedule?,
                run_on_start: run_on_start?,
                retries_max: retries_max?,
                retry_delay: retry_delay?,
            },
            runs_topic: runs_topic?,
            admin_token: admin_token?,
        })
    }
}

fn schedule(value: &str, time_zone: TimeZone) -> Result<Schedule, Expected> {
    match value.trim() {
        "continuous" => Ok(Schedule::Continuous),
        "manual" => Ok(Schedule::Manual),
        expression => {
            CronSchedule::parse(expression, time_zone).map(Schedule::Cron).map_err(|why| {
                Expected::new(format!(
                    "`minute hour day-of-month month day-of-week`, such as `0 1 * * *`, \
                 or `continuous` or `manual`: {why}"
                ))
            })
        }
    }
}

fn time_zone(value: &str) -> Result<TimeZone, Expected> {
    TimeZone::get(value.trim()).map_err(|_| {
        Expected::new("a name of the IANA time zone database, such as `UTC` or `Europe/Berlin`")
    })
}
