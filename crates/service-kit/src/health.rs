//! Whether the process works (live) and whether it can do useful work (ready).
//!
//! Live: the service's loop has beaten recently. Ready: start-up is over, nothing is named
//! that stands in the way, and no shutdown has begun.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The reason that stands until [`Health::started`] is called.
const STARTUP: &str = "startup";
/// The reason that stands from [`Health::shutting_down`] on.
const SHUTDOWN: &str = "shutdown";

/// The health of one process. Clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    stale_after: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    beat_at: Instant,
    reasons: BTreeMap<&'static str, String>,
}

/// What the probes say at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the loop has beaten within `stale_after`.
    pub live: bool,
    /// Time since the last beat.
    pub beat_age: Duration,
    /// The age at which the process no longer counts as live.
    pub stale_after: Duration,
    /// Why the process is not ready, by name; empty if it is.
    pub reasons: BTreeMap<&'static str, String>,
}

impl Report {
    /// Whether the process can do useful work.
    pub fn ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl Health {
    /// Live from now on, not ready until [`started`](Self::started).
    ///
    /// The loop must call [`beat`](Self::beat) more often than every `stale_after`.
    pub fn new(stale_after: Duration) -> Self {
        Self::new_at(stale_after, Instant::now())
    }

    /// [`new`](Self::new) at a given moment.
    pub fn new_at(stale_after: Duration, now: Instant) -> Self {
        let starting = BTreeMap::from([(STARTUP, "the service is still starting".to_string())]);
        Self { stale_after, state: Arc::new(Mutex::new(State { beat_at: now, reasons: starting })) }
    }

    /// The loop works.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    /// [`beat`](Self::beat) at a given moment.
    pub fn beat_at(&self, now: Instant) {
        self.lock().beat_at = now;
    }

    /// Start-up is over.
    pub fn started(&self) {
        self.ready(STARTUP);
    }

    /// Not ready, because of `name`: `not_ready("kafka", "no assignment yet")`. Replaces what
    /// was said for that name before.
    pub fn not_ready(&self, name: &'static str, why: impl Into<String>) {
        self.lock().reasons.insert(name, why.into());
    }

    /// `name` no longer stands in the way.
    pub fn ready(&self, name: &'static str) {
        self.lock().reasons.remove(name);
    }

    /// A shutdown has begun: not ready from now on, for good.
    pub fn shutting_down(&self) {
        self.not_ready(SHUTDOWN, "the service is draining and will leave");
    }

    /// What the probes say now.
    pub fn report(&self) -> Report {
        self.report_at(Instant::now())
    }

    /// [`report`](Self::report) at a given moment.
    pub fn report_at(&self, now: Instant) -> Report {
        let state = self.lock();
        let beat_age = now.saturating_duration_since(state.beat_at);
        Report {
            live: beat_age <= self.stale_after,
            beat_age,
            stale_after: self.stale_after,
            reasons: state.reasons.clone(),
        }
    }

    /// A poisoned lock is taken all the same: each change is a single assignment, so the state
    /// is whole whatever panicked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Duration = Duration::from_secs(10);

    #[test]
    fn live_while_the_loop_beats() {
        let start = Instant::now();
        let health = Health::new_at(STALE, start);
        assert!(health.report_at(start + STALE).live);
        assert!(!health.report_at(start + STALE + Duration::from_millis(1)).live);
        health.beat_at(start + STALE);
        assert!(health.report_at(start + STALE * 2).live);
    }

    #[test]
    fn ready_when_no_reason_is_left() {
        let health = Health::new(STALE);
        health.not_ready("kafka", "no assignment yet");
        assert!(!health.report().ready());
        health.started();
        let report = health.report();
        assert_eq!(report.reasons.get("kafka").map(String::as_str), Some("no assignment yet"));
        assert_eq!(report.reasons.len(), 1);
        health.ready("kafka");
        assert!(health.report().ready());
    }

    #[test]
    fn a_shutdown_is_not_ready_for_good() {
        let health = Health::new(STALE);
        health.started();
        health.shutting_down();
        health.ready("kafka");
        health.started();
        assert!(!health.report().ready());
    }
}
