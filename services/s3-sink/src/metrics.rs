//! What the sink counts. Names are an interface: dashboards and alerts rely on them.

use std::time::Instant;

use chunk_ledger::SealReason;
use pipeline_model::message::MalformedReason;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};
use service_kit::health::Health;
use service_kit::metrics::{Metrics, MetricsError};

/// Bytes, from 1 KiB to 1 GiB.
const BYTES_BUCKETS: [f64; 11] = [
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];
const ROWS_BUCKETS: [f64; 8] =
    [1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0, 1_000_000.0, 10_000_000.0];
const SECONDS_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// From an age limit of 0.1 s to a backlog of hours; close to each other above 0.1, 1, 10 and 60 s, so
/// that an age limit of that length shows by how much objects come later.
const FRESHNESS_BUCKETS: [f64; 39] = [
    0.05, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 0.8, 1.0, 1.025, 1.05, 1.1, 1.15, 1.25, 1.5,
    2.5, 5.0, 10.0, 10.025, 10.05, 10.1, 10.15, 10.25, 10.5, 11.0, 15.0, 30.0, 60.0, 60.25, 60.5,
    61.0, 62.5, 75.0, 120.0, 300.0, 3600.0, 21_600.0,
];

/// Every name that this service gives to [`Health::not_ready`], and the kit's own two.
const NOT_READY_REASONS: [&str; 7] =
    ["startup", "kafka", "store", "consumer_group", "dead_letters", "partitions", "shutdown"];

/// A request to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Create an object.
    Put,
    /// Ask for an object's metadata.
    Head,
    /// Read an object's footer.
    Get,
    /// Begin an upload in parts.
    BeginUpload,
    /// Store a part.
    Part,
    /// Create an object of its parts.
    CompleteUpload,
    /// Remove an upload and its parts.
    AbortUpload,
    /// Look for uploads that nobody completed.
    ListUploads,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 8] = [
        Self::Put,
        Self::Head,
        Self::Get,
        Self::BeginUpload,
        Self::Part,
        Self::CompleteUpload,
        Self::AbortUpload,
        Self::ListUploads,
    ];

    /// The label's value.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Head => "head",
            Self::Get => "get",
            Self::BeginUpload => "begin_upload",
            Self::Part => "part",
            Self::CompleteUpload => "complete_upload",
            Self::AbortUpload => "abort_upload",
            Self::ListUploads => "list_uploads",
        }
    }
}

/// Why an upload was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortReason {
    /// An earlier owner of the partition left it behind.
    Stale,
    /// Another writer was faster with the same start.
    Conflict,
    /// Its chunk was given up: the partition is gone, or goes on elsewhere.
    GivenUp,
    /// The store will never complete it.
    Refused,
}

impl AbortReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Stale, Self::Conflict, Self::GivenUp, Self::Refused];

    /// The label's value.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Conflict => "conflict",
            Self::GivenUp => "given_up",
            Self::Refused => "refused",
        }
    }
}

/// The store's share.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    create_seconds: Histogram,
    /// Parts stored.
    pub parts: IntCounter,
    /// Uploads that somebody else removed before they were completed.
    pub uploads_lost: IntCounter,
    uploads_aborted: IntCounterVec,
    errors: IntCounterVec,
}

impl StoreMetrics {
    /// The store has decided about an object that it was first asked to create when `begun`.
    pub fn note_decision(&self, begun: Instant) {
        self.create_seconds.observe(begun.elapsed().as_secs_f64());
    }

    /// Requests that failed and were repeated.
    pub fn errors(&self, operation: Operation) -> IntCounter {
        self.errors.with_label_values(&[operation.code()])
    }

    /// Uploads removed.
    pub fn uploads_aborted(&self, reason: AbortReason) -> IntCounter {
        self.uploads_aborted.with_label_values(&[reason.code()])
    }
}

/// Everything the sink counts beside the store's share.
#[derive(Debug, Clone)]
pub struct SinkMetrics {
    /// Messages taken from Kafka into a chunk.
    pub messages: IntCounter,
    /// Rows in stored chunks.
    pub rows_stored: IntCounter,
    /// Offsets without a message inside stored chunks.
    pub gaps_stored: IntCounter,
    /// Offsets that Kafka removed before they were consumed.
    pub offsets_lost: IntCounter,
    /// Chunks adopted because another writer stored them, found before storing.
    pub adoptions: IntCounter,
    /// Chunks adopted because another writer was faster with the same start.
    pub conflicts: IntCounter,
    /// Creations that turned out to be our own, whose answer was lost.
    pub own_retries: IntCounter,
    /// Size of stored objects.
    pub chunk_bytes: Histogram,
    /// Rows of stored objects.
    pub chunk_rows: Histogram,
    /// From Kafka's stamp of a chunk's first message to the stored object: how old the oldest row is
    /// when it can be read.
    pub freshness_seconds: Histogram,
    /// Commits that the group accepted.
    pub commits: IntCounter,
    /// Commits that failed; they are repeated.
    pub commit_failures: IntCounter,
    /// Partitions that this member consumes.
    pub partitions_assigned: IntGauge,
    /// Partitions that stopped with an error that somebody must look at.
    pub partitions_stopped: IntGauge,
    /// Bytes held by open and storing chunks.
    pub held_bytes: IntGauge,
    /// The budget of the former.
    pub held_bytes_max: IntGauge,
    /// 1 while consuming waits for memory.
    pub memory_blocked: IntGauge,
    /// The memory that the process may use in all.
    pub memory_limit_bytes: IntGauge,
    /// When a chunk was last stored, seconds since the epoch.
    pub last_stored: Gauge,
    /// Messages in Kafka that are not stored yet, for each assigned partition.
    pub lag: GaugeVec,
    chunks: IntCounterVec,
    dead_letters: IntCounterVec,
    rebalances: IntCounterVec,
}

impl SinkMetrics {
    /// Chunks stored, by why they were sealed.
    pub fn chunks(&self, reason: SealReason) -> IntCounter {
        self.chunks.with_label_values(&[reason.code()])
    }

    /// Dead letters acknowledged, by reason.
    pub fn dead_letters(&self, reason: &str) -> IntCounter {
        self.dead_letters.with_label_values(&[reason])
    }

    /// Rebalances by kind: `assigned`, `revoked` or `lost`.
    pub fn rebalances(&self, kind: &str) -> IntCounter {
        self.rebalances.with_label_values(&[kind])
    }
}

/// Registers everything, labelled counters at zero.
pub fn register(metrics: &Metrics) -> Result<(SinkMetrics, StoreMetrics), MetricsError> {
    let seal_reasons = SealReason::ALL.map(SealReason::code);
    let malformed_reasons = malformed_codes();
    let store = StoreMetrics {
        create_seconds: metrics.histogram(
            "s3_sink_store_create_seconds",
            "Time from the first try to create an object to the store's decision.",
            &SECONDS_BUCKETS,
        )?,
        errors: metrics.counter_vec(
            "s3_sink_store_errors_total",
            "Requests to the store that failed and were repeated.",
            "operation",
            &Operation::ALL.map(Operation::code),
        )?,
        parts: metrics.counter(
            "s3_sink_parts_stored_total",
            "Parts of objects that are stored while their chunk fills.",
        )?,
        uploads_lost: metrics.counter(
            "s3_sink_uploads_lost_total",
            "Uploads that somebody removed before they were completed; their messages are read again.",
        )?,
        uploads_aborted: metrics.counter_vec(
            "s3_sink_uploads_aborted_total",
            "Uploads removed, by reason.",
            "reason",
            &AbortReason::ALL.map(AbortReason::code),
        )?,
    };
    let counter = |name: &str, help: &str| metrics.counter(name, help);
    let gauge = |name: &str, help: &str| metrics.int_gauge(name, help);
    let sink = SinkMetrics {
        messages: counter("s3_sink_messages_total", "Messages taken from Kafka into a chunk.")?,
        rows_stored: counter("s3_sink_rows_stored_total", "Rows in stored chunks.")?,
        gaps_stored: counter(
            "s3_sink_gaps_stored_total",
            "Offsets without a message inside stored chunks.",
        )?,
        offsets_lost: counter(
            "s3_sink_offsets_lost_total",
            "Offsets that Kafka removed by retention before they were consumed.",
        )?,
        adoptions: counter(
            "s3_sink_adoptions_total",
            "Chunks of another writer found before storing.",
        )?,
        conflicts: counter(
            "s3_sink_conflicts_total",
            "Chunks lost to another writer that was faster.",
        )?,
        own_retries: counter(
            "s3_sink_own_retries_total",
            "Creations refused because of our own earlier try, whose answer was lost.",
        )?,
        chunk_bytes: metrics.histogram(
            "s3_sink_chunk_bytes",
            "Size of stored objects.",
            &BYTES_BUCKETS,
        )?,
        chunk_rows: metrics.histogram(
            "s3_sink_chunk_rows",
            "Rows of stored objects.",
            &ROWS_BUCKETS,
        )?,
        freshness_seconds: metrics.histogram(
            "s3_sink_freshness_seconds",
            "Time from Kafka's stamp of a chunk's first message to the stored object.",
            &FRESHNESS_BUCKETS,
        )?,
        commits: counter("s3_sink_commits_total", "Commits that the consumer group accepted.")?,
        commit_failures: counter(
            "s3_sink_commit_failures_total",
            "Commits that failed; they are repeated.",
        )?,
        partitions_assigned: gauge(
            "s3_sink_partitions_assigned",
            "Partitions that this member consumes.",
        )?,
        partitions_stopped: gauge(
            "s3_sink_partitions_stopped",
            "Partitions that stopped with an error that somebody must look at.",
        )?,
        held_bytes: gauge("s3_sink_held_bytes", "Bytes held by open and storing chunks.")?,
        held_bytes_max: gauge("s3_sink_held_bytes_max", "The budget of s3_sink_held_bytes.")?,
        memory_blocked: gauge("s3_sink_memory_blocked", "1 while consuming waits for memory.")?,
        memory_limit_bytes: gauge(
            "s3_sink_memory_limit_bytes",
            "The memory that the process may use in all: MEMORY_LIMIT.",
        )?,
        last_stored: metrics.gauge(
            "s3_sink_last_stored_timestamp_seconds",
            "When a chunk was last stored, seconds since the epoch.",
        )?,
        lag: metrics.gauge_vec(
            "s3_sink_lag_messages",
            "Offsets in Kafka that are not stored yet, for each assigned partition.",
            &["partition"],
        )?,
        chunks: metrics.counter_vec(
            "s3_sink_chunks_total",
            "Chunks stored, by why they were sealed.",
            "reason",
            &seal_reasons,
        )?,
        dead_letters: metrics.counter_vec(
            "s3_sink_dead_letters_total",
            "Dead letters acknowledged, by reason.",
            "reason",
            &malformed_reasons,
        )?,
        rebalances: metrics.counter_vec(
            "s3_sink_rebalances_total",
            "Rebalances of the consumer group, by kind.",
            "kind",
            &["assigned", "revoked", "lost"],
        )?,
    };
    Ok((sink, store))
}

/// Registers `s3_sink_not_ready`, which tells at each scrape what `/readyz` would say.
pub fn register_readiness(metrics: &Metrics, health: Health) -> Result<(), MetricsError> {
    let opts = Opts::new(
        "s3_sink_not_ready",
        "1 while this reason keeps the sink from being ready, as /readyz says it.",
    );
    let not_ready = IntGaugeVec::new(opts, &["reason"])?;
    metrics.registry().register(Box::new(Readiness { health, not_ready }))
}

/// Asks the health when it is scraped: while the sink starts there is no loop yet that could tell.
struct Readiness {
    health: Health,
    not_ready: IntGaugeVec,
}

impl Collector for Readiness {
    fn desc(&self) -> Vec<&Desc> {
        self.not_ready.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let standing = self.health.report().reasons;
        for reason in NOT_READY_REASONS {
            let stands = standing.contains_key(reason);
            self.not_ready.with_label_values(&[reason]).set(i64::from(stands));
        }
        self.not_ready.collect()
    }
}

/// The reasons of dead letters: those of the payload, and what only the headers can tell.
fn malformed_codes() -> Vec<&'static str> {
    let codes = MalformedReason::ALL.map(MalformedReason::code);
    codes
        .into_iter()
        .chain([crate::dead_letter::UNSUPPORTED_VERSION, crate::dead_letter::NO_TIMESTAMP])
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at once")]

    use std::time::Duration;

    use service_kit::metrics::BuildInfo;

    use super::*;

    #[test]
    fn each_scrape_tells_why_the_sink_is_not_ready() {
        let build = BuildInfo { service: "s3_sink", version: "1", revision: None };
        let metrics = Metrics::new(build).unwrap();
        let health = Health::new(Duration::from_secs(60));
        register_readiness(&metrics, health.clone()).unwrap();
        let standing = || {
            let text = metrics.encode().unwrap();
            let lines = text.lines().filter(|line| line.starts_with("s3_sink_not_ready{"));
            let (standing, others): (Vec<_>, Vec<_>) =
                lines.map(str::to_owned).partition(|line| line.ends_with(" 1"));
            assert_eq!(standing.len() + others.len(), NOT_READY_REASONS.len());
            standing
        };
        assert_eq!(standing(), [r#"s3_sink_not_ready{reason="startup"} 1"#]);
        health.started();
        health.not_ready("store", "gone");
        assert_eq!(standing(), [r#"s3_sink_not_ready{reason="store"} 1"#]);
        health.ready("store");
        assert_eq!(standing(), [""; 0]);
    }
}
