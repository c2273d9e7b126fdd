//! Tests on the real brokers and the real store of `make cluster-up`. Faults come by a schedule of
//! a seed, or one at a time; each test of faults ends with the oracle, which knows every message, and
//! with the deep audit. Logs stay below `target/cluster-tests`, objects in the cluster's store.

#![allow(clippy::panic_in_result_fn, reason = "a test fails by panicking or by an error")]

mod brokers;
mod chaos;
mod crashes;
mod ingestor;
mod messages;
mod security;
mod store;
mod topics;

use std::time::Duration;

use anyhow::{Context, Result};
use e2e_tests::oracle::Sent;
use e2e_tests::process::{PATIENCE, Process};
use e2e_tests::scenario::ASSIGNED;
use e2e_tests::wait_for;

/// Partitions of most topics.
const PARTITIONS: i32 = 6;
/// Dead members are noticed soon, and chunks are small.
const HASTY: [(&str, &str); 2] = [
    ("KAFKA_CONFIG", "session.timeout.ms=2000,heartbeat.interval.ms=300"),
    ("CHUNK_ROWS_MAX", "500"),
];

/// The same with objects of several parts, from bulky messages on so many partitions.
const IN_PARTS: [(&str, &str); 3] =
    [HASTY[0], ("CHUNK_ROWS_MAX", "3000"), ("CHUNK_AGE_SECONDS_MAX", "5")];
const PARTITIONS_IN_PARTS: i32 = 2;

/// Every message is valid.
fn all(_: &Sent) -> bool {
    true
}

/// Waits until these sinks have all partitions among them, and each of them at least one.
fn wait_until_shared(sinks: &[&Process]) -> Result<()> {
    wait_until_they_share(PARTITIONS, sinks)
}

/// The same for another number of partitions.
fn wait_until_they_share(partitions: i32, sinks: &[&Process]) -> Result<()> {
    wait_for("every partition at these sinks", PATIENCE, || {
        let shares = sinks.iter().map(|sink| sink.value(ASSIGNED)).collect::<Result<Vec<_>>>()?;
        let is_shared = shares.iter().all(|share| *share >= 1.0);
        Ok((is_shared && shares.iter().sum::<f64>() == f64::from(partitions)).then_some(()))
    })
}

/// Waits until these sinks have stored every partition: after whatever was done to them they work
/// again, and leave nothing to the drain at the end of the test.
fn wait_until_stored(partitions: i32, sinks: &[Process]) -> Result<()> {
    wait_for("these sinks to store everything", 4 * PATIENCE, || {
        let mut lags = Vec::new();
        for sink in sinks {
            let Some(metrics) = sink.get("/metrics")? else { return Ok(None) };
            let lines = metrics.lines().filter(|line| line.starts_with("s3_sink_lag_messages{"));
            lags.extend(lines.map(|line| line.ends_with(" 0")));
        }
        let is_each_there = lags.len() >= partitions as usize;
        Ok((is_each_there && lags.into_iter().all(|is_stored| is_stored)).then_some(()))
    })
    .with_context(|| sinks.iter().map(Process::tail).collect::<Vec<_>>().join("\n"))
}

/// Waits until a sink has stored so many rows more than now.
fn wait_for_rows(sink: &mut Process, more: f64) -> Result<()> {
    let now = sink.metric("s3_sink_rows_stored_total")?.unwrap_or(0.0);
    sink.wait_for_metric("s3_sink_rows_stored_total", now + more)
}

/// Asks sinks to end, and checks that each does so in order.
fn leave<'a>(sinks: impl IntoIterator<Item = &'a mut Process>) -> Result<()> {
    for sink in sinks {
        sink.leave()?;
    }
    Ok(())
}

/// Lets a part of a schedule of faults pass. It decides when a fault falls, and nothing else.
fn pass(random: &mut fastrand::Rng, milliseconds: std::ops::Range<u64>) {
    std::thread::sleep(Duration::from_millis(random.u64(milliseconds)));
}
