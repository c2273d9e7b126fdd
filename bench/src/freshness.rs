//! Freshness: how much later than its age limit does an object appear on a list, counted from the
//! moment at which the brokers had its first message? Brokers and benchmark must share a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use e2e_tests::flow::Flow;
use e2e_tests::scenario::NewMessage;
use serde::Serialize;

use crate::objects::{Listed, Objects};
use crate::sink::drain;
use crate::world::World;

const PARTITIONS: i32 = 6;
const MESSAGES_PER_SECOND: u32 = 1000;
/// Stored before the measurement. The first messages of a topic that is new wait on the brokers, half a
/// second and more, until the replicas have begun to fetch it: no sink could have them earlier.
const MESSAGES_BEFORE: u64 = 6000;
const SECONDS_MIN: f64 = 30.0;
/// A long age limit gives few objects: so many for each partition at least.
const CHUNKS_MIN: f64 = 6.0;
/// How late half of the objects may be, in seconds.
const MEDIAN_MAX: f64 = 0.15;
/// How late 99 of 100 objects may be, in seconds.
const P99_MAX: f64 = 0.5;
const METRIC: &str = "s3_sink_freshness_seconds";

/// How late objects were at one age limit.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The age limit, in seconds.
    pub age_seconds: f64,
    /// Produced and stored.
    pub messages: u64,
    /// Number of objects.
    pub objects: usize,
    /// From a LIST of a partition to the next one, in seconds: the objects were there up to so much
    /// earlier.
    pub list_interval_seconds: f64,
    /// As a reader sees it.
    pub listed: Lateness,
    /// As `/metrics` says it, which is as fine as its buckets.
    pub metrics: Lateness,
}

/// Seconds from the end of the age limit to the object.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Lateness {
    /// Half of the objects come earlier.
    pub median_seconds: f64,
    /// 99 of 100 objects come earlier.
    pub p99_seconds: f64,
}

/// Lets a sink store a steady stream of messages under this age limit.
pub fn run(age_seconds: f64) -> Result<Report> {
    let world =
        World::new("freshness", None)?.with("CHUNK_AGE_SECONDS_MAX", &age_seconds.to_string());
    world.with_topic(PARTITIONS, |topic| {
        topic.fill(MESSAGES_BEFORE, None)?;
        drain(&world, 1)?;
        let objects = Objects::connect(&world)?;
        let mut sink = world.start("s3-sink", &["run"], "sink")?;
        sink.wait_ready()?;
        let watch = objects.watch(PARTITIONS);
        let servers = world.setting("KAFKA_BOOTSTRAP_SERVERS")?;
        let begun = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        let (name, make) = (world.topic_name(), NewMessage::valid);
        let flow = Flow::start(servers, name, PARTITIONS, MESSAGES_PER_SECOND, make)?;
        let seconds = SECONDS_MIN.max(CHUNKS_MIN * age_seconds);
        std::thread::sleep(Duration::from_secs_f64(seconds));
        let messages = flow.stop()?;
        sink.wait_for_metric("s3_sink_rows_stored_total", messages as f64)?;
        let (listed, lists) = watch.finish()?;
        let metrics = sink.get("/metrics")?.context("the sink does not answer")?;
        std::fs::write(world.folder().join("metrics.txt"), &metrics)?;
        sink.leave()?;
        let totals = world.audit()?;
        totals.judge(MESSAGES_BEFORE + messages)?;
        ensure!(
            listed.len() as u64 == totals.chunks,
            "{} of {} objects were seen to come; a run that goes past midnight (UTC) misses some",
            listed.len(),
            totals.chunks
        );
        let late = lateness(&objects, &listed, begun, age_seconds)?;
        let buckets = buckets(&metrics)?;
        Ok(Report {
            age_seconds,
            messages,
            objects: late.len(),
            list_interval_seconds: seconds * f64::from(PARTITIONS) / lists as f64,
            listed: Lateness {
                median_seconds: quantile(&late, 0.5)?,
                p99_seconds: quantile(&late, 0.99)?,
            },
            metrics: Lateness {
                median_seconds: bucket_quantile(&buckets, 0.5)? - age_seconds,
                p99_seconds: bucket_quantile(&buckets, 0.99)? - age_seconds,
            },
        })
    })
}

/// How late the objects are whose messages came after `since`, in order.
fn lateness(objects: &Objects, listed: &[Listed], since: f64, age: f64) -> Result<Vec<f64>> {
    let mut late = Vec::new();
    for Listed { key, listed_at } in listed {
        let first = objects.first_timestamp(key)?;
        if first >= since {
            late.push(listed_at - first - age);
        }
    }
    late.sort_unstable_by(f64::total_cmp);
    Ok(late)
}

impl Report {
    /// For people.
    pub fn summary(&self) -> String {
        let Self { age_seconds, objects, list_interval_seconds, listed, metrics, .. } = self;
        format!(
            "age limit {age_seconds} s, {objects} objects: on a list {:.3} s later at the median, {:.3} s at \
             p99 (asked every {:.0} ms); by /metrics {:.3} and {:.3} s",
            listed.median_seconds,
            listed.p99_seconds,
            list_interval_seconds * 1000.0,
            metrics.median_seconds,
            metrics.p99_seconds,
        )
    }

    /// Fails where objects come too late.
    pub fn judge(&self) -> Result<()> {
        let Lateness { median_seconds, p99_seconds } = self.listed;
        ensure!(
            median_seconds <= MEDIAN_MAX && p99_seconds <= P99_MAX,
            "with an age limit of {} s objects come {median_seconds:.3} s later at the median and \
             {p99_seconds:.3} s at p99, where {MEDIAN_MAX} and {P99_MAX} s are allowed",
            self.age_seconds
        );
        Ok(())
    }
}

/// The value that a share of all is at most, `values` being in order.
fn quantile(values: &[f64], share: f64) -> Result<f64> {
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().context("no object came")
}

/// Upper bound and number of observations up to it, for each bucket of the histogram.
fn buckets(metrics: &str) -> Result<Vec<(f64, f64)>> {
    let prefix = format!("{METRIC}_bucket{{le=\"");
    let parse = |line: &str| {
        let (bound, count) = line.split_once("\"} ").context("a bucket that is not understood")?;
        Ok((bound.parse()?, count.parse()?))
    };
    metrics.lines().filter_map(|line| line.strip_prefix(&prefix)).map(parse).collect()
}

/// What Prometheus' `histogram_quantile` makes of the buckets.
fn bucket_quantile(buckets: &[(f64, f64)], share: f64) -> Result<f64> {
    let rank = buckets.last().context("no bucket")?.1 * share;
    let index = buckets.iter().position(|(_, count)| *count >= rank).context("no bucket")?;
    let (low, below) = index.checked_sub(1).map_or((0.0, 0.0), |index| buckets[index]);
    let (high, count) = buckets[index];
    if high.is_infinite() || count == below {
        return Ok(low);
    }
    Ok(low + (high - low) * (rank - below) / (count - below))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_there() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5).unwrap(), 100.0);
        assert_eq!(quantile(&values, 0.99).unwrap(), 198.0);
        assert_eq!(quantile(&[7.0], 0.99).unwrap(), 7.0);
        assert!(quantile(&[], 0.5).is_err());
    }

    #[test]
    fn a_histogram_gives_quantiles_as_prometheus_does() {
        let metrics = "# HELP s3_sink_freshness_seconds \n\
                       s3_sink_freshness_seconds_bucket{le=\"0.1\"} 0\n\
                       s3_sink_freshness_seconds_bucket{le=\"0.2\"} 10\n\
                       s3_sink_freshness_seconds_bucket{le=\"1\"} 20\n\
                       s3_sink_freshness_seconds_bucket{le=\"+Inf\"} 21\n\
                       s3_sink_freshness_seconds_sum 9\n";
        let buckets = buckets(metrics).unwrap();
        assert_eq!(buckets.len(), 4);
        assert!((bucket_quantile(&buckets, 5.0 / 21.0).unwrap() - 0.15).abs() < 1e-9);
        assert!((bucket_quantile(&buckets, 15.0 / 21.0).unwrap() - 0.6).abs() < 1e-9);
        assert_eq!(bucket_quantile(&buckets, 1.0).unwrap(), 1.0);
    }
}
