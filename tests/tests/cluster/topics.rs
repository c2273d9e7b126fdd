//! Topics that lose messages, or whose offsets have gaps.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e_tests::cluster::Cluster;
use e2e_tests::oracle;
use e2e_tests::process::PATIENCE;
use e2e_tests::rows;
use e2e_tests::scenario::{Scenario, person};
use e2e_tests::wait_for;
use pipeline_model::message;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::{HASTY, all, leave};

#[test]
fn messages_that_kafka_removed_unread_are_told_and_the_sink_goes_on() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::shared()?, "overtaken", 1)?;
    scenario.produce_valid(1, 0, 100)?;
    scenario.drain("first", &HASTY)?.wait_success()?;
    scenario.produce_valid(1, 100, 900)?;
    delete_records(&scenario, 700)?;
    let mut sink = scenario.sink("second", &HASTY)?;
    sink.wait_for_metric("s3_sink_offsets_lost_total", 600.0)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 300.0)?;
    assert_eq!(sink.value("s3_sink_offsets_lost_total")?, 600.0);
    leave([&mut sink])?;
    ensure!(sink.log()?.contains("kafka removed messages before they were consumed"));
    let offsets: Vec<_> = rows::read(scenario.objects())?.iter().map(|row| row.offset).collect();
    assert_eq!(offsets, (0..100).chain(700..1000).collect::<Vec<_>>());
    assert_eq!(scenario.audit()?["partitions"][0]["gaps"], 600);
    Ok(())
}

#[test]
fn where_kafka_removed_everything_unread_a_drain_ends_and_nothing_waits() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::shared()?, "emptied", 1)?;
    scenario.produce_valid(1, 0, 100)?;
    scenario.drain("first", &HASTY)?.wait_success()?;
    scenario.produce_valid(1, 100, 50)?;
    delete_records(&scenario, 150)?;
    let mut drain = scenario.drain("second", &HASTY)?;
    drain.wait_success()?;
    ensure!(drain.log()?.contains("kafka removed messages before they were consumed"));
    let mut sink = scenario.sink("sink", &HASTY)?;
    let lag = "s3_sink_lag_messages{partition=\"0\"}";
    wait_for("a lag of 0", PATIENCE, || Ok((sink.metric(lag)? == Some(0.0)).then_some(())))
        .with_context(|| sink.tail())?;
    // Another member owns the partition here, and has nothing to commit.
    scenario.drain("beside", &HASTY)?.wait_success()?;
    scenario.produce_valid(1, 150, 50)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 50.0)?;
    leave([&mut sink])?;
    let offsets: Vec<_> = rows::read(scenario.objects())?.iter().map(|row| row.offset).collect();
    assert_eq!(offsets, (0..100).chain(150..200).collect::<Vec<_>>());
    Ok(())
}

/// Has Kafka remove what lies below an offset of partition 0, as retention does.
fn delete_records(scenario: &Scenario, offset: i64) -> Result<()> {
    let file = scenario.folder().join("delete.json");
    let partition =
        serde_json::json!({ "topic": scenario.topic(), "partition": 0, "offset": offset });
    let request = serde_json::json!({ "partitions": [partition], "version": 1 });
    std::fs::write(&file, request.to_string())?;
    let file = file.to_str().context("a path that is no text")?;
    scenario.cluster()?.tool("kafka-delete-records", &["--offset-json-file", file])?;
    Ok(())
}

#[test]
fn a_topic_created_anew_stops_the_partition_until_it_has_another_prefix() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::shared()?, "created-anew", 1)?;
    scenario.produce_valid(1, 0, 200)?;
    scenario.drain("drain", &HASTY)?.wait_success()?;
    let before = rows::read(scenario.objects())?;

    let topic = scenario.topic().to_owned();
    scenario.cluster()?.delete_topic(&topic)?;
    scenario.ensure_topics(1)?;
    scenario
        .produce((1000..1100).map(|number| e2e_tests::scenario::NewMessage::valid(0, number)))?;
    let mut sink = scenario.sink("sink", &HASTY)?;
    sink.wait_for_metric("s3_sink_partitions_stopped", 1.0)?;
    ensure!(sink.log()?.contains("S3_PREFIX"), "no remedy is named\n{}", sink.tail());
    assert_eq!(rows::read(scenario.objects())?, before, "nothing was skipped or overwritten");
    sink.kill()?;

    let group = format!("{topic}-second");
    let remedy = [HASTY[0], HASTY[1], ("S3_PREFIX", "second-life"), ("KAFKA_GROUP_ID", &group)];
    scenario.drain("second-life", &remedy)?.wait_success()?;
    let bucket = scenario.objects().parent().context("no bucket")?;
    let rows = rows::read(&bucket.join("second-life").join(&topic))?;
    let verdict = oracle::judge(&scenario.messages()?, all, &rows)?;
    ensure!(verdict.is_exactly_once() && verdict.rows == 100, "{verdict:#?}");
    Ok(())
}

#[test]
fn aborted_transactions_leave_gaps_and_no_rows() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::shared()?, "aborted", 2)?;
    let mut sink = scenario.sink("sink", &HASTY)?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", scenario.bootstrap_servers()?)
        .set("transactional.id", scenario.topic())
        .create()?;
    producer.init_transactions(PATIENCE)?;
    let mut committed = 0;
    for transaction in 0..20_u64 {
        producer.begin_transaction()?;
        for number in 0..50 {
            let mut payload = Vec::new();
            message::encode(&person(transaction * 50 + number), &mut payload)?;
            let partition = i32::try_from(number % 2)?;
            let record = BaseRecord::<[u8], [u8]>::to(scenario.topic());
            producer
                .send(record.partition(partition).payload(&payload))
                .map_err(|(error, _)| error)?;
        }
        producer.flush(PATIENCE)?;
        if transaction % 3 == 1 {
            producer.abort_transaction(PATIENCE)?;
        } else {
            producer.commit_transaction(PATIENCE)?;
            committed += 50;
        }
    }
    sink.wait_for_metric("s3_sink_rows_stored_total", f64::from(committed))?;
    // The last transaction was aborted: behind the last row there are offsets, and nothing waits.
    for partition in 0..2 {
        let lag = format!("s3_sink_lag_messages{{partition=\"{partition}\"}}");
        wait_for("a lag of 0", PATIENCE, || Ok((sink.metric(&lag)? == Some(0.0)).then_some(())))
            .with_context(|| sink.tail())?;
    }
    // Behind the begin of an open transaction nothing is offered, and all of it waits.
    producer.begin_transaction()?;
    scenario.produce_valid(2, 0, 2)?;
    let record = BaseRecord::<[u8], [u8]>::to(scenario.topic()).partition(0).payload(b"{}");
    producer.send(record).map_err(|(error, _)| error)?;
    producer.flush(PATIENCE)?;
    scenario.produce_valid(2, 2, 100)?;
    sink.wait_for_metric("s3_sink_lag_messages{partition=\"0\"}", 51.0)?;
    producer.abort_transaction(PATIENCE)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", f64::from(committed + 102))?;
    leave([&mut sink])?;
    assert_eq!(scenario.finish(all)?.rows, usize::try_from(committed + 102)?);
    Ok(())
}

#[test]
fn a_compacted_topic_has_gaps_and_every_message_that_is_left() -> Result<()> {
    const MESSAGES: u64 = 2000;
    const KEYS: u64 = 50;
    let scenario = Scenario::on_cluster(Cluster::shared()?, "compacted", 1)?;
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", scenario.bootstrap_servers()?).create()?;
    let send = |number: u64| -> Result<()> {
        let mut payload = Vec::new();
        message::encode(&person(number), &mut payload)?;
        let key = (number % KEYS).to_string();
        let record = BaseRecord::<str, [u8]>::to(scenario.topic()).partition(0).key(&key);
        producer.send(record.payload(&payload)).map_err(|(error, _)| error.into())
    };
    for number in 0..MESSAGES {
        send(number)?;
    }
    producer.flush(PATIENCE)?;
    let compacted = "cleanup.policy=compact,segment.ms=500,min.cleanable.dirty.ratio=0.001,\
                     max.compaction.lag.ms=500";
    let entity = ["--entity-type", "topics", "--entity-name", scenario.topic()];
    let change = [&["--alter"], &entity[..], &["--add-config", compacted]].concat();
    scenario.cluster()?.tool("kafka-configs", &change)?;
    // The open segment is never compacted: a message after a while begins a new one.
    let mut number = MESSAGES;
    wait_for("the log to be compacted", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(600));
        send(number)?;
        producer.flush(PATIENCE)?;
        number += 1;
        Ok((scenario.messages()?.len() < 500).then_some(()))
    })?;
    // From here on nothing more may vanish between the sink's reading and the oracle's.
    let keep = [&["--alter"], &entity[..], &["--add-config", "cleanup.policy=delete"]].concat();
    scenario.cluster()?.tool("kafka-configs", &keep)?;
    let left = wait_for("the log to stay as it is", PATIENCE, || {
        let before = scenario.messages()?.len();
        std::thread::sleep(Duration::from_secs(2));
        Ok((scenario.messages()?.len() == before).then_some(before))
    })?;
    let verdict = scenario.finish(all)?;
    assert_eq!(verdict.rows, left);
    ensure!(scenario.audit()?["partitions"][0]["gaps"].as_u64() > Some(1000));
    Ok(())
}
