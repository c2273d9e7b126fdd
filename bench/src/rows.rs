//! From a payload to Parquet, on one core and without Kafka or a store: what a message costs there.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use chunk_ledger::{Mark, Offset, Partition, Timestamp};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, SamplingMode, Throughput};
use e2e_tests::scenario::target_folder;
use pipeline_model::message::{self, PersonRef};
use rustix::time::{ClockId, clock_gettime};
use s3_sink::encode::{ChunkEncoder, writer_properties};
use serde::{Deserialize, Serialize};

use crate::people;

/// More than two row groups, and more bytes than the cache holds.
const MESSAGES: u64 = 100_000;
const PART_BYTES: usize = 5 << 20;
/// 2026-11-02, where time begins; messages come a thousand a second.
const FIRST_TIMESTAMP: i64 = 1_793_577_600_000;
const GROUP: &str = "rows";

/// Medians, in nanoseconds of CPU time for a message of some 245 bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Report {
    /// Payload → fields.
    pub decode_nanoseconds: f64,
    /// Fields → columns → row groups → zstd.
    pub encode_nanoseconds: f64,
}

/// Measures with criterion, which compares with the time before and prints what it finds.
pub fn run() -> Result<Report> {
    let payloads = payloads()?;
    let people = payloads.iter().map(|payload| decode(payload)).collect::<Result<Vec<_>>>()?;
    encode(&people)?;

    let folder = target_folder()?.join("bench/criterion");
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .without_plots()
        .output_directory(&folder)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(6))
        .sample_size(20);
    let mut rows = criterion.benchmark_group(GROUP);
    rows.throughput(Throughput::Elements(MESSAGES)).sampling_mode(SamplingMode::Flat);
    rows.bench_function("decode", |bencher| {
        bencher.iter(|| {
            for payload in &payloads {
                black_box(message::decode(black_box(payload)).is_ok());
            }
        });
    });
    rows.bench_function("encode", |bencher| bencher.iter(|| encode(black_box(&people)).is_ok()));
    rows.finish();
    Ok(Report {
        decode_nanoseconds: median(&folder, "decode")?,
        encode_nanoseconds: median(&folder, "encode")?,
    })
}

fn payloads() -> Result<Vec<Vec<u8>>> {
    let made = |number| {
        let mut payload = Vec::new();
        people::payload(number, None, &mut payload)?;
        Ok(payload)
    };
    (0..MESSAGES).map(made).collect()
}

fn decode(payload: &[u8]) -> Result<PersonRef<'_>> {
    message::decode(payload).map_err(|malformed| anyhow!("{malformed}"))
}

/// Decoded messages → an object, as the sink writes it but for its footer.
fn encode(people: &[PersonRef<'_>]) -> Result<()> {
    let mut encoder = ChunkEncoder::new(writer_properties().into(), PART_BYTES);
    for (number, person) in (0..).zip(people) {
        let mark = Mark { offset: Offset(number), timestamp: Timestamp(FIRST_TIMESTAMP + number) };
        encoder.append(person, Partition(0), mark)?;
    }
    encoder.close_row_group()?;
    ensure!(encoder.object_bytes() > MESSAGES, "the object is too small to hold the rows");
    Ok(())
}

/// The median of one pass over all messages, divided by their number.
fn median(folder: &Path, name: &str) -> Result<f64> {
    #[derive(Deserialize)]
    struct Estimates {
        median: Estimate,
    }
    #[derive(Deserialize)]
    struct Estimate {
        point_estimate: f64,
    }
    let path = folder.join(GROUP).join(name).join("new/estimates.json");
    let text =
        std::fs::read(&path).with_context(|| format!("criterion left no {}", path.display()))?;
    let estimates: Estimates = serde_json::from_slice(&text)?;
    Ok(estimates.median.point_estimate / MESSAGES as f64)
}

/// Measures the time for which the thread has run, whatever else the machine does.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        // Since the thread began, so it is never negative.
        clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
    }

    fn end(&self, start: Duration) -> Duration {
        self.start().saturating_sub(start)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
