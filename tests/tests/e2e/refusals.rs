//! What the services refuse, and how they say so.

use anyhow::{Result, ensure};
use e2e_tests::process::{PATIENCE, Process};
use e2e_tests::rows;
use e2e_tests::scenario::{NewMessage, Scenario};
use e2e_tests::wait_for;
use local_stack::s3::{S3Action, S3Fault};

use crate::all;

#[test]
fn a_store_that_ignores_the_condition_is_refused() -> Result<()> {
    let scenario = Scenario::start("unconditional-store", 1)?;
    scenario.produce_valid(1, 0, 10)?;
    scenario.s3()?.faults().push(S3Fault::new(S3Action::IgnoreCondition).always());
    let mut sink = scenario.sink("refused", &[])?;
    let status = sink.wait()?;
    ensure!(status.code() == Some(1), "{status}");
    ensure!(sink.log()?.contains("does not honour `If-None-Match: *`"), sink.tail());
    assert_eq!(rows::files(scenario.objects())?.len(), 0);
    scenario.s3()?.faults().clear();
    assert_eq!(scenario.finish(all)?.rows, 10);
    Ok(())
}

#[test]
fn a_topic_created_anew_stops_the_partition_and_names_the_remedy() -> Result<()> {
    let scenario = Scenario::start("recreated", 1)?;
    let Some(kafka) = scenario.stack().kafka() else { anyhow::bail!("no Kafka") };
    scenario.produce_valid(1, 0, 100)?;
    assert_eq!(scenario.finish(all)?.rows, 100);
    let before = rows::read(scenario.objects())?;

    kafka.recreate()?;
    let tomorrow_it_is_not = before.iter().map(|row| row.timestamp).max().unwrap_or(0) + 1;
    let message = |number| {
        Ok(NewMessage { timestamp: Some(tomorrow_it_is_not), ..NewMessage::valid(0, number)? })
    };
    scenario.produce((500..600).map(message))?;
    let mut drain = scenario.drain("drain", &[])?;
    let status = drain.wait()?;
    ensure!(status.code() == Some(1), "{status}\n{}", drain.tail());
    let log = drain.log()?;
    ensure!(log.contains("created anew") && log.contains("S3_PREFIX"), "{log}");

    let mut sink = scenario.sink("service", &[])?;
    wait_for("the service to say that it is not ready", PATIENCE, || {
        Ok(sink
            .request("/readyz")?
            .filter(|(status, body)| *status == 503 && body.contains("created anew")))
    })?;
    ensure!(sink.metric("s3_sink_partitions_stopped")? == Some(1.0), sink.tail());
    sink.leave()?;
    assert_eq!(rows::read(scenario.objects())?, before, "nothing was skipped or overwritten");

    // The remedy works.
    let mut drain = scenario.drain("other-prefix", &[("S3_PREFIX", "second-life")])?;
    drain.wait_success()?;
    assert_eq!(rows::read(&scenario.objects().join("second-life"))?.len(), 100);
    Ok(())
}

#[test]
fn messages_that_kafka_removed_are_told_and_the_sink_goes_on() -> Result<()> {
    let scenario = Scenario::start("overtaken", 1)?;
    scenario.produce_valid(1, 0, 10)?;
    scenario.drain("first", &[])?.wait_success()?;
    // The embedded cluster keeps some MB a partition: its way of retention.
    let large = |number| {
        let mut person = e2e_tests::scenario::person(number);
        person.name = format!("{number} {}", "x".repeat(500_000));
        let mut payload = Vec::new();
        pipeline_model::message::encode(&person, &mut payload)?;
        Ok(NewMessage::raw(0, payload))
    };
    scenario.produce((10..50).map(large))?;
    let mut drain = scenario.drain("second", &[])?;
    drain.wait_success()?;
    ensure!(
        drain.log()?.contains("kafka removed messages before they were consumed"),
        drain.tail()
    );
    let offsets: Vec<_> = rows::read(scenario.objects())?.iter().map(|row| row.offset).collect();
    ensure!(offsets.starts_with(&(0..10).collect::<Vec<_>>()), "{offsets:?}");
    ensure!(offsets.len() > 10 && offsets[10] > 10 && offsets.last() == Some(&49), "{offsets:?}");
    ensure!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
    // The removed offsets stay visible as gaps of their chunk.
    assert_eq!(scenario.audit()?["partitions"][0]["gaps"], 50 - offsets.len());
    Ok(())
}

#[test]
fn every_mistake_in_the_configuration_is_named_at_once() -> Result<()> {
    let scenario = Scenario::start("configuration", 1)?;
    let mistakes = [
        ("KAFKA_CONFIG", "sasl.password=hunter2,enable.auto.commit=true"),
        ("CHUNK_BYTES_MAX", "lots"),
        ("MEMORY_LIMIT", "1MiB"),
        ("CHUNK_AGE_SECONDS_MAX", "-1"),
        ("S3_BUCKET", ""),
    ];
    let mut sink = scenario.sink("sink", &mistakes)?;
    let status = sink.wait()?;
    ensure!(status.code() == Some(2), "{status}");
    let log = sink.log()?;
    for expected in [
        "enable.auto.commit",
        "CHUNK_BYTES_MAX",
        "lots",
        "MEMORY_LIMIT",
        "CHUNK_AGE_SECONDS_MAX",
        "S3_BUCKET",
    ] {
        ensure!(log.contains(expected), "{expected} is missing:\n{log}");
    }
    ensure!(!log.contains("hunter2"), "a secret is in the log:\n{log}");

    let mistakes = [
        ("API_URL", "ftp://x"),
        ("API_RESULTS", "5001"),
        ("PAUSE_SECONDS", "soon"),
        ("KAFKA_CONFIG", "acks=1"),
    ];
    let environment = scenario.environment(&mistakes)?;
    let mut ingestor =
        Process::start("ingestor", &["run"], &environment, scenario.folder(), "ingestor")?;
    let status = ingestor.wait()?;
    ensure!(status.code() == Some(2), "{status}");
    let log = ingestor.log()?;
    for expected in ["API_URL", "API_RESULTS", "5001", "PAUSE_SECONDS", "acks"] {
        ensure!(log.contains(expected), "{expected} is missing:\n{log}");
    }
    Ok(())
}

#[test]
fn a_missing_bucket_and_wrong_credentials_are_named() -> Result<()> {
    let scenario = Scenario::start("no-bucket", 1)?;
    let cases = [
        (("S3_BUCKET", "nowhere"), "does not exist"),
        (("AWS_SECRET_ACCESS_KEY", "wrong"), "refuses access"),
    ];
    for (setting, expected) in cases {
        let mut sink = scenario.sink(setting.0, &[setting])?;
        let status = sink.wait()?;
        ensure!(status.code() == Some(1), "{status}");
        let log = sink.log()?;
        ensure!(log.contains(expected), "{expected} is missing:\n{log}");
        ensure!(!log.contains("wrong"), "a secret is in the log:\n{log}");
    }
    Ok(())
}
