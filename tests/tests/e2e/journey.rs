//! The whole path: API → ingestor → Kafka → sink → rows.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e_tests::process::Process;
use e2e_tests::rows;
use e2e_tests::scenario::Scenario;
use local_stack::{ApiOptions, LocalStack, Options};

use crate::all;

/// What `tests/transform.py`, the original producer's transform in Python, makes of the same
/// responses.
const GOLDEN: &str =
    include_str!("../../../crates/pipeline-model/tests/golden/recorded_messages.ndjson");

#[test]
fn recorded_users_arrive_as_the_rows_that_python_makes_of_them() -> Result<()> {
    let scenario = Scenario::start("recorded", 3)?;
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/randomuser");
    let responses = std::fs::read_dir(&recorded)?.count();
    let api_folder = scenario.folder().join("api");
    let api = LocalStack::start(Options {
        kafka: None,
        s3: None,
        api: Some(ApiOptions { replay: Some(recorded), ..ApiOptions::default() }),
        ..Options::new(api_folder)
    })?;
    let url = api.api().context("no API")?.url().to_owned();
    let requests = responses.to_string();
    let settings = [
        ("API_URL", url.as_str()),
        ("PAUSE_SECONDS", "0"),
        ("RUN_REQUESTS_MAX", requests.as_str()),
    ];
    let environment = scenario.environment(&settings)?;
    let mut ingestor =
        Process::start("ingestor", &["run"], &environment, scenario.folder(), "ingestor")?;
    ingestor.wait_success()?;

    let summary: serde_json::Value = serde_json::from_str(ingestor.output()?.trim())?;
    let golden: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(summary["delivered"], golden.len());
    // Version 1.1 of the API knows no country.
    assert_eq!(summary["rejected_by_reason"]["missing_field"], 2);
    ensure!(
        ingestor.log()?.contains("location.country"),
        "the rejects are not named\n{}",
        ingestor.tail()
    );

    scenario.finish(all)?;
    let mut payloads: Vec<_> = scenario
        .messages()?
        .into_values()
        .map(|sent| {
            assert_eq!(sent.header("schema-version").as_deref(), Some("1"));
            assert_eq!(sent.header("run-id").as_deref(), summary["run_id"].as_str());
            String::from_utf8(sent.payload.unwrap_or_default())
        })
        .collect::<Result<_, _>>()?;
    let mut expected: Vec<_> = golden.iter().map(|line| (*line).to_owned()).collect();
    payloads.sort();
    expected.sort();
    assert_eq!(payloads, expected);
    Ok(())
}

#[test]
fn chunks_are_sealed_by_rows_day_and_age_and_never_shattered_by_late_data() -> Result<()> {
    const DAY: i64 = 86_400_000;
    const NOON: i64 = 20_000 * DAY + DAY / 2;
    let scenario = Scenario::start("seals", 1)?;
    let message = |(number, day): (u64, i64)| {
        let mut message = e2e_tests::scenario::NewMessage::valid(0, number)?;
        message.timestamp = Some(NOON + day * DAY + number as i64);
        Ok(message)
    };
    // Two days, the second with messages of the first one strewn in.
    let days = [0; 10].into_iter().chain((0..30).map(|number| i64::from(number % 3 != 2)));
    scenario.produce((0..).zip(days).map(message))?;
    let mut drain =
        scenario.drain("drain", &[("CHUNK_ROWS_MAX", "25"), ("CHUNK_AGE_SECONDS_MAX", "600")])?;
    drain.wait_success()?;
    let objects = scenario.objects();
    let files = rows::files(objects)?;
    let keys: Vec<_> = files
        .iter()
        .map(|file| file.strip_prefix(objects).map(Path::to_owned))
        .collect::<Result<_, _>>()?;
    let key = |day: &str, start: u32| {
        Path::new("names_topic")
            .join(format!("date={day}"))
            .join(format!("names_topic+0+{start:020}.parquet"))
    };
    assert_eq!(keys, [key("2024-10-04", 0), key("2024-10-05", 10), key("2024-10-05", 35)]);
    assert_eq!(scenario.finish(all)?.rows, 40);
    Ok(())
}

#[test]
fn a_generated_stream_arrives_while_both_services_run() -> Result<()> {
    let scenario = Scenario::start("stream", 6)?;
    let mut sink = scenario.sink("sink", &[("CHUNK_BYTES_MAX", "64KiB")])?;
    let settings = [("PAUSE_SECONDS", "0.2"), ("STREAMING_SECONDS", "2"), ("API_RESULTS", "300")];
    let environment = scenario.environment(&settings)?;
    let mut ingestor =
        Process::start("ingestor", &["run"], &environment, scenario.folder(), "ingestor")?;
    ingestor.wait_success()?;
    let summary: serde_json::Value = serde_json::from_str(ingestor.output()?.trim())?;
    let delivered = summary["delivered"].as_u64().context("no count")?;
    assert_eq!(delivered, 10 * 300);
    sink.wait_for_metric("s3_sink_rows_stored_total", delivered as f64)?;
    let healthcheck = |addr: &str| {
        Process::start(
            "s3-sink",
            &["healthcheck", "--admin-addr", addr],
            &[],
            scenario.folder(),
            "healthcheck",
        )?
        .wait()
    };
    sink.wait_ready()?;
    ensure!(sink.get("/healthz")?.is_some(), sink.tail());
    ensure!(!healthcheck("127.0.0.1:9")?.success(), "nothing listens there");
    sink.leave()?;
    assert_eq!(scenario.finish(all)?.rows as u64, delivered);
    Ok(())
}
