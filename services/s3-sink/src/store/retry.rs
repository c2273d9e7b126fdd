//! Repeating requests to the store, with growing pauses, for as long as it takes: a store that
//! fails holds consuming back, it never loses anything.

use std::fmt::Display;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use service_kit::health::Health;
use tracing::{info, warn};

use crate::metrics::{Operation, StoreMetrics};

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A failure or two is everyday life; after that somebody should know that nothing is stored.
const FAILURES_UNTIL_NOT_READY: u32 = 3;
const READINESS: &str = "store";

/// Makes the process not ready while the store keeps failing.
#[derive(Debug, Clone)]
pub struct StoreHealth(pub Health);

/// The attempts of one request.
pub(super) struct Attempts<'a> {
    operation: Operation,
    metrics: &'a StoreMetrics,
    health: &'a StoreHealth,
    failures: u32,
    pauses: ExponentialBackoff,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(
        operation: Operation,
        metrics: &'a StoreMetrics,
        health: &'a StoreHealth,
    ) -> Self {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(PAUSE_MIN)
            .with_max_delay(PAUSE_MAX)
            .with_jitter()
            .without_max_times();
        Self { operation, metrics, health, failures: 0, pauses: pauses.build() }
    }

    /// Counts a failed attempt and waits before the next.
    pub(super) async fn pause(&mut self, error: &(impl Display + ?Sized)) {
        self.failures += 1;
        self.metrics.errors(self.operation).inc();
        if self.failures >= FAILURES_UNTIL_NOT_READY {
            self.health.0.not_ready(READINESS, format!("{error}"));
        }
        let pause = self.pauses.next().unwrap_or(PAUSE_MAX).min(PAUSE_MAX);
        let (operation, failures) = (self.operation.code(), self.failures);
        warn!(operation, failures, pause_seconds = pause.as_secs_f64(), %error, "request to the store failed, will repeat");
        tokio::time::sleep(pause).await;
    }

    /// The store has answered.
    pub(super) fn succeeded(&mut self) {
        if self.failures > 0 {
            info!(
                operation = self.operation.code(),
                failures = self.failures,
                "the store answers again"
            );
        }
        self.health.0.ready(READINESS);
    }
}
