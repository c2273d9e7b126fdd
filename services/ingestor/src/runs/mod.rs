//! Runs as they are shown, kept and asked for. `dispatcher` begins and ends them, `book` holds the
//! newest, `history` keeps them on a Kafka topic.

mod book;
mod dispatcher;
mod history;
mod question;
mod seconds;
mod topic;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use book::RUNS_MAX;
pub(crate) use dispatcher::Dispatcher;
pub(crate) use history::History;
pub(crate) use question::{Asker, Begun, Cancelled, Listing, Refusal};
pub(crate) use topic::RecordTopic;

use crate::cadence::Cadence;
use crate::schedule::Cause;
use crate::summary::{Counts, Outcome};

/// One run, as the API shows it and the topic keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// A UUID of version 7, so that ids ascend with time; the value of the messages' header `run-id`.
    pub(crate) id: Uuid,
    /// How far it is.
    pub(crate) state: State,
    /// What began it.
    pub(crate) trigger: Trigger,
    /// The tick that began it.
    pub(crate) tick: Option<Timestamp>,
    /// The failed run that it repeats.
    pub(crate) retry_of: Option<Uuid>,
    /// The key of the request that began it.
    pub(crate) idempotency_key: Option<String>,
    /// What it uses.
    pub(crate) parameters: Parameters,
    /// When it was asked for, or begun.
    pub(crate) created_at: Timestamp,
    /// When it became running.
    pub(crate) started_at: Option<Timestamp>,
    /// When it was told to end early.
    pub(crate) cancel_requested_at: Option<Timestamp>,
    /// When it ended.
    pub(crate) ended_at: Option<Timestamp>,
    /// What it did so far.
    pub(crate) counts: Counts,
    /// Why it failed, or the last failure that it lived through.
    pub(crate) last_error: Option<String>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Asked for, and not begun.
    Queued,
    /// At work.
    Running,
    /// Ended; see [`Outcome`].
    Succeeded,
    /// Ended; see [`Outcome`].
    Failed,
    /// Ended; see [`Outcome`].
    Cancelled,
}

/// What began a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trigger {
    /// A tick.
    Schedule,
    /// A request.
    Api,
    /// The start of the process.
    Start,
    /// The failure of another run.
    Retry,
    /// The end of the run before.
    Continuous,
}

/// What a run uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parameters {
    /// Users to ask for in one request.
    pub(crate) results: u16,
    /// Time from one request's start to the next.
    #[serde(rename = "pause_seconds", with = "seconds")]
    pub(crate) pause: Duration,
    /// How long it makes requests.
    #[serde(rename = "streaming_seconds", with = "seconds")]
    pub(crate) streaming: Duration,
    /// Seed of the users.
    pub(crate) seed: Option<String>,
}

/// What a request asks for otherwise than the settings say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Requested {
    /// Users to ask for in one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) results: Option<u16>,
    /// Time from one request's start to the next.
    #[serde(
        default,
        rename = "pause_seconds",
        with = "seconds::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) pause: Option<Duration>,
    /// How long it makes requests.
    #[serde(
        default,
        rename = "streaming_seconds",
        with = "seconds::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) streaming: Option<Duration>,
    /// Seed of the users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<String>,
}

/// A run with what is known of it beside what is shown; the JSON on the topic of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The run.
    #[serde(flatten)]
    pub(crate) run: Run,
    /// What was asked for, to be compared with a repeat of the request.
    pub(crate) requested: Requested,
}

impl State {
    /// Whether the run is over.
    pub(crate) fn has_ended(self) -> bool {
        self > Self::Running
    }
}

impl From<Outcome> for State {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Failed => Self::Failed,
        }
    }
}

impl Parameters {
    /// When the run makes its requests.
    pub(crate) fn cadence(&self) -> Cadence {
        Cadence { pause: self.pause, streaming: self.streaming }
    }

    /// These, but for what is asked for otherwise.
    fn with(&self, requested: &Requested) -> Self {
        Self {
            results: requested.results.unwrap_or(self.results),
            pause: requested.pause.unwrap_or(self.pause),
            streaming: requested.streaming.unwrap_or(self.streaming),
            seed: requested.seed.clone().or_else(|| self.seed.clone()),
        }
    }
}

impl Record {
    /// A run that is queued now.
    fn queued(
        cause: Cause,
        requested: Requested,
        idempotency_key: Option<String>,
        defaults: &Parameters,
    ) -> Self {
        let (trigger, tick, retry_of) = match cause {
            Cause::Tick(tick) => (Trigger::Schedule, Some(tick), None),
            Cause::Api => (Trigger::Api, None, None),
            Cause::Start => (Trigger::Start, None, None),
            Cause::Retry(of) => (Trigger::Retry, None, Some(of)),
            Cause::Continuous => (Trigger::Continuous, None, None),
        };
        let run = Run {
            id: Uuid::now_v7(),
            state: State::Queued,
            trigger,
            tick,
            retry_of,
            idempotency_key,
            parameters: defaults.with(&requested),
            created_at: now(),
            started_at: None,
            cancel_requested_at: None,
            ended_at: None,
            counts: Counts::default(),
            last_error: None,
        };
        Self { run, requested }
    }
}

/// The wall clock, in milliseconds, which are as exact as anyone reads.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

    use super::*;

    fn defaults() -> Parameters {
        Parameters {
            results: 1,
            pause: Duration::from_secs(10),
            streaming: Duration::from_secs(120),
            seed: None,
        }
    }

    #[test]
    fn a_record_reads_back() {
        let requested = Requested {
            results: Some(7),
            pause: Some(Duration::from_millis(1_500)),
            streaming: None,
            seed: Some("names".to_string()),
        };
        let key = Some("key".to_string());
        let mut record = Record::queued(Cause::Api, requested, key, &defaults());
        record.run.counts.delivered = 12;
        record.run.started_at = Some(now());
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["parameters"]["pause_seconds"], 1.5);
        assert_eq!(json["parameters"]["streaming_seconds"], 120.0);
        assert_eq!(json["requested"]["seed"], "names");
        assert_eq!(json["state"], "queued");
    }

    #[test]
    fn the_cause_shows_in_the_record() {
        let tick: Timestamp = "2026-11-02T01:00:00Z".parse().unwrap();
        let of = Uuid::from_u128(1);
        for (cause, trigger) in [
            (Cause::Tick(tick), Trigger::Schedule),
            (Cause::Api, Trigger::Api),
            (Cause::Start, Trigger::Start),
            (Cause::Retry(of), Trigger::Retry),
            (Cause::Continuous, Trigger::Continuous),
        ] {
            let run = Record::queued(cause, Requested::default(), None, &defaults()).run;
            assert_eq!(run.trigger, trigger);
            assert_eq!(run.tick.is_some(), trigger == Trigger::Schedule);
            assert_eq!(run.retry_of.is_some(), trigger == Trigger::Retry);
            assert_eq!(run.parameters, defaults());
        }
    }

    #[test]
    fn a_record_of_a_later_version_is_read_as_far_as_it_is_known() {
        let record = Record::queued(Cause::Start, Requested::default(), None, &defaults());
        let mut json = serde_json::to_value(&record).unwrap();
        json["further"] = "unknown".into();
        assert_eq!(serde_json::from_value::<Record>(json).unwrap(), record);
    }
}
