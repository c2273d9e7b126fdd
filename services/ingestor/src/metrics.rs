//! What the ingestor counts.

use pipeline_model::api::RejectReason;
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};
use service_kit::metrics::{BuildInfo, Metrics, MetricsError};

use crate::fetch::FetchError;
use crate::schedule::SkipReason;
use crate::summary::Outcome;

/// From a fast answer of one user to the default time limit and somewhat beyond.
const REQUEST_SECONDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// From a run of one request to one of a day.
const RUN_SECONDS: [f64; 12] =
    [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 150.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0];

/// The ingestor's metrics. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct IngestorMetrics {
    /// Requests, each retry counted, by outcome.
    pub(crate) requests: IntCounterVec,
    /// Time of a request, its answer included.
    pub(crate) request_seconds: Histogram,
    /// Requests that were repeats.
    pub(crate) retries: IntCounter,
    /// Users in the pages fetched, rejects included.
    pub(crate) users: IntCounter,
    /// Rejects by reason.
    pub(crate) rejects: IntCounterVec,
    /// Messages that are on the topic.
    pub(crate) delivered: IntCounter,
    /// Messages that are lost.
    pub(crate) failed: IntCounter,
    /// Messages queued or on their way.
    pub(crate) in_flight: IntGauge,
    /// Whether a run is going on.
    pub(crate) run_active: IntGauge,
    /// Runs by outcome.
    pub(crate) runs: IntCounterVec,
    /// Time of a run, its drain included.
    pub(crate) run_seconds: Histogram,
    /// Unix time of the end of the last run that succeeded.
    pub(crate) last_success: Gauge,
    /// Ticks that began no run, by reason.
    pub(crate) ticks_skipped: IntCounterVec,
    /// Unix time of the next tick.
    pub(crate) next_tick: Gauge,
    /// Whether runs are kept on their topic.
    pub(crate) history_kept: IntGauge,
    /// The registry of all of them.
    pub(crate) registry: Metrics,
}

impl IngestorMetrics {
    /// Registers all of them in a registry of their own.
    pub(crate) fn new() -> Result<Self, MetricsError> {
        let registry = Metrics::new(BuildInfo {
            service: "ingestor",
            version: env!("CARGO_PKG_VERSION"),
            revision: option_env!("BUILD_REVISION"),
        })?;
        let reasons = RejectReason::ALL.map(RejectReason::code);
        let outcomes = Outcome::ALL.map(Outcome::code);
        let skip_reasons = SkipReason::ALL.map(SkipReason::code);
        Ok(Self {
            requests: registry.counter_vec(
                "ingestor_requests_total",
                "API requests by outcome, each retry counted",
                "outcome",
                &FetchError::OUTCOMES,
            )?,
            request_seconds: registry.histogram(
                "ingestor_request_duration_seconds",
                "time of an API request, its answer included",
                &REQUEST_SECONDS,
            )?,
            retries: registry
                .counter("ingestor_request_retries_total", "API requests that were repeats")?,
            users: registry
                .counter("ingestor_users_total", "users in the pages fetched, rejects included")?,
            rejects: registry.counter_vec(
                "ingestor_rejects_total",
                "users that could not become a message, by reason",
                "reason",
                &reasons,
            )?,
            delivered: registry.counter(
                "ingestor_messages_delivered_total",
                "messages whose delivery report says that they are on the topic",
            )?,
            failed: registry.counter(
                "ingestor_messages_failed_total",
                "messages that are lost, by their delivery report or refused by the client",
            )?,
            in_flight: registry
                .int_gauge("ingestor_messages_in_flight", "messages queued or on their way")?,
            run_active: registry.int_gauge("ingestor_run_active", "1 while a run goes on")?,
            runs: registry.counter_vec(
                "ingestor_runs_total",
                "runs by outcome",
                "outcome",
                &outcomes,
            )?,
            run_seconds: registry.histogram(
                "ingestor_run_duration_seconds",
                "time of a run, its drain included",
                &RUN_SECONDS,
            )?,
            last_success: registry.gauge(
                "ingestor_last_success_timestamp_seconds",
                "Unix time of the end of the last run that succeeded; 0 if there was none",
            )?,
            ticks_skipped: registry.counter_vec(
                "ingestor_ticks_skipped_total",
                "ticks of the schedule that began no run, by reason",
                "reason",
                &skip_reasons,
            )?,
            next_tick: registry.gauge(
                "ingestor_next_tick_timestamp_seconds",
                "Unix time of the next tick of the schedule; 0 if there is none",
            )?,
            history_kept: registry.int_gauge(
                "ingestor_run_history_kept",
                "1 if runs are kept on their topic, 0 if a restart would forget them",
            )?,
            registry,
        })
    }
}
