//! What a run did and whether that counts as success.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It went through to its end, and every message is on the topic.
    Succeeded,
    /// It was told to end early; every message that it had produced is on the topic.
    Cancelled,
    /// Anything else.
    Failed,
}

impl Outcome {
    /// Every outcome, to start each counter at zero.
    pub(crate) const ALL: [Self; 3] = [Self::Succeeded, Self::Cancelled, Self::Failed];

    /// The stable name in logs and metrics.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// The account of one run; its JSON is printed by `ingestor run`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// The run's id, the value of the messages' header `run-id`.
    pub(crate) run_id: Uuid,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Why it failed, or the last failure that it lived through.
    pub(crate) last_error: Option<String>,
    /// How long it took.
    pub(crate) seconds: f64,
    /// What it did.
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// The rejects by reason.
    pub(crate) rejected_by_reason: BTreeMap<&'static str, u64>,
}

/// What a run has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// What it did.
    pub(crate) counts: Counts,
    /// The last failure that it lived through.
    pub(crate) last_error: Option<String>,
}

/// The counts of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Requests begun, retries not counted.
    pub(crate) requests: u64,
    /// Requests that gave no page, after their retries.
    pub(crate) requests_failed: u64,
    /// Repeats of requests.
    pub(crate) retries: u64,
    /// Pages fetched.
    pub(crate) pages: u64,
    /// Users in these pages.
    pub(crate) users: u64,
    /// Users that could not become a message.
    pub(crate) rejected: u64,
    /// Messages that are on the topic.
    pub(crate) delivered: u64,
    /// Messages that are lost: their delivery report says so, or the client refused them.
    pub(crate) failed: u64,
    /// Messages whose delivery report did not come in time; they may be on the topic or not.
    pub(crate) unreported: u64,
    /// Users of a fetched page that an early end kept from being produced.
    pub(crate) abandoned: u64,
}

/// How the run ended otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By its own cadence or limit.
    Complete,
    /// It was told to end early.
    Interrupted,
    /// By a failure that no later request of the run could have mended.
    Broken,
}

impl Counts {
    /// The outcome, and for a failure why.
    ///
    /// What counts first is that nothing fetched got lost. A run that was told to end early is not
    /// held to having reached its aim.
    pub(crate) fn judge(&self, ending: Ending) -> (Outcome, Option<String>) {
        let failed = |why: String| (Outcome::Failed, Some(why));
        if self.failed > 0 {
            return failed(format!("{} messages could not be delivered", self.failed));
        }
        if self.unreported > 0 {
            return failed(format!("{} delivery reports did not come in time", self.unreported));
        }
        if self.abandoned > 0 {
            return failed(format!(
                "{} users of a fetched page could not be produced before the drain's time was up",
                self.abandoned
            ));
        }
        match ending {
            Ending::Interrupted => return (Outcome::Cancelled, None),
            Ending::Broken => return failed("the run could not go on".to_string()),
            Ending::Complete => {}
        }
        if self.requests_failed > 0 {
            return failed(format!(
                "{} of {} requests failed for good",
                self.requests_failed, self.requests
            ));
        }
        if self.pages == 0 {
            return failed("no page was fetched".to_string());
        }
        (Outcome::Succeeded, None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

    use super::*;

    fn good() -> Counts {
        Counts { requests: 12, pages: 12, users: 12, delivered: 12, ..Counts::default() }
    }

    #[test]
    fn success_needs_pages_and_every_delivery() {
        assert_eq!(good().judge(Ending::Complete), (Outcome::Succeeded, None));
        for (bad, word) in [
            (Counts { failed: 1, ..good() }, "delivered"),
            (Counts { unreported: 1, ..good() }, "reports"),
            (Counts { abandoned: 1, ..good() }, "could not be produced"),
            (Counts { requests_failed: 1, ..good() }, "1 of 12 requests"),
            (Counts::default(), "no page"),
        ] {
            let (outcome, why) = bad.judge(Ending::Complete);
            assert_eq!(outcome, Outcome::Failed, "{bad:?}");
            assert!(why.unwrap().contains(word), "{bad:?}");
        }
    }

    #[test]
    fn a_broken_run_failed_whatever_it_did_before() {
        assert_eq!(good().judge(Ending::Broken).0, Outcome::Failed);
    }

    #[test]
    fn rejects_do_not_fail_a_run() {
        let counts = Counts { rejected: 12, delivered: 0, ..good() };
        assert_eq!(counts.judge(Ending::Complete).0, Outcome::Succeeded);
    }

    #[test]
    fn a_cancelled_run_is_held_to_its_messages_only() {
        let early = Counts { requests: 1, ..Counts::default() };
        assert_eq!(early.judge(Ending::Interrupted), (Outcome::Cancelled, None));
        for bad in [
            Counts { failed: 1, ..good() },
            Counts { unreported: 1, ..good() },
            Counts { abandoned: 1, ..good() },
        ] {
            assert_eq!(bad.judge(Ending::Interrupted).0, Outcome::Failed, "{bad:?}");
        }
    }

    #[test]
    fn the_json_is_flat() {
        let summary = Summary {
            run_id: Uuid::from_u128(1),
            outcome: Outcome::Succeeded,
            last_error: None,
            seconds: 1.5,
            counts: good(),
            rejected_by_reason: BTreeMap::new(),
        };
        let json = serde_json::to_value(summary).unwrap();
        assert_eq!((&json["outcome"], &json["delivered"]), (&"succeeded".into(), &12.into()));
    }
}
