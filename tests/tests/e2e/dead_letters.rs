//! Messages that can't become rows: each in the dead-letter topic, with its bytes, its coordinates
//! and the reason; every other one in the bucket.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use e2e_tests::malformed::{PYTHON, is_valid, malformed};
use e2e_tests::process::PATIENCE;
use e2e_tests::rows;
use e2e_tests::scenario::{NewMessage, Scenario, TOPIC};
use e2e_tests::wait_for;

#[test]
fn each_malformed_message_becomes_a_dead_letter_and_each_good_one_a_row() -> Result<()> {
    let scenario = Scenario::start("dead-letters", 2)?;
    let cases = malformed();
    let mut messages = Vec::new();
    for (number, (malformed, _)) in cases.iter().enumerate() {
        for good in 0..3 {
            messages.push(NewMessage::valid(good % 2, number as u64 * 10 + good as u64));
        }
        messages.push(Ok(malformed.clone()));
    }
    messages.push(Ok(NewMessage::raw(1, PYTHON)));
    scenario.produce(messages)?;
    scenario.drain("drain", &[])?.wait_success()?;

    let sent = scenario.messages()?;
    let letters = scenario.dead_letters()?;
    assert_eq!(letters.len(), cases.len());
    let mut by_offset = BTreeMap::new();
    for letter in letters {
        let offset: i64 = letter.header("dead-letter-offset").context("no offset")?.parse()?;
        assert_eq!(letter.header("dead-letter-topic").as_deref(), Some(TOPIC));
        assert_eq!(letter.header("dead-letter-partition").as_deref(), Some("0"));
        by_offset.insert(offset, letter);
    }
    let originals = sent.iter().filter(|(_, sent)| !is_valid(sent));
    for (((_, offset), original), (_, reason)) in originals.zip(&cases) {
        let letter =
            by_offset.get(offset).with_context(|| format!("no dead letter for offset {offset}"))?;
        assert_eq!(letter.payload, original.payload, "offset {offset}");
        assert_eq!(
            letter.header("dead-letter-reason").as_deref(),
            Some(*reason),
            "offset {offset}"
        );
        assert_eq!(letter.header("mine"), original.header("mine"));
    }
    let verdict = scenario.finish(is_valid)?;
    assert_eq!(verdict.rows, cases.len() * 3 + 1);
    let python =
        rows::read(scenario.objects())?.into_iter().find(|row| row.text[0] == "Mr. احسان O'Neil");
    let python = python.context("what Python wrote is no row")?;
    assert_eq!(python.text[5], u128::MAX.to_string());
    Ok(())
}

#[test]
fn a_chunk_of_dead_letters_alone_moves_the_chain_on() -> Result<()> {
    let scenario = Scenario::start("only-dead-letters", 1)?;
    scenario.produce((0..20).map(|_| Ok(NewMessage::raw(0, "no json"))))?;
    scenario.drain("first", &[])?.wait_success()?;
    assert_eq!(rows::files(scenario.objects())?.len(), 1);
    scenario.produce_valid(1, 0, 10)?;
    let verdict = scenario.finish(is_valid)?;
    assert_eq!(verdict.rows, 10);
    assert_eq!(scenario.dead_letters()?.len(), 20);
    Ok(())
}

#[test]
fn a_dead_letter_that_is_mended_and_replayed_becomes_one_row() -> Result<()> {
    let scenario = Scenario::start("dead-letters-replayed", 2)?;
    scenario.produce_valid(2, 0, 20)?;
    let malformed = PYTHON.replacen("33.9747", "\"33.9747\"", 1);
    scenario.produce([Ok(NewMessage::raw(1, malformed))])?;
    scenario.drain("first", &[])?.wait_success()?;
    let letters = scenario.dead_letters()?;
    let [letter] = letters.as_slice() else { bail!("{letters:?}") };
    let header = |name: &str| letter.header(name).with_context(|| format!("no {name}"));
    let place = format!("{}+{}", header("dead-letter-partition")?, header("dead-letter-offset")?);

    let mended = scenario.folder().join("mended.json");
    std::fs::write(&mended, PYTHON)?;
    let mended = mended.to_str().context("the folder's name is no UTF-8")?;
    for label in ["replay", "replay-again"] {
        let line = ["dead-letters", "replay", &place, "--payload-file", mended];
        scenario.pipectl(label, &line)?.wait_success()?;
    }
    let verdict = scenario.finish(is_valid)?;
    assert_eq!(verdict.rows, 21);
    let rows = rows::read(scenario.objects())?;
    let row = rows.iter().find(|row| row.text[5] == u128::MAX.to_string());
    assert_eq!(row.context("what was mended is no row")?.partition, 1, "where it came from");
    Ok(())
}

#[test]
fn while_dead_letters_are_not_accepted_their_chunk_waits() -> Result<()> {
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    let scenario = Scenario::start("dead-letters-refused", 1)?;
    let Some(kafka) = scenario.stack().kafka() else { anyhow::bail!("no Kafka") };
    scenario.produce([Ok(NewMessage::raw(0, "no json")), NewMessage::valid(0, 1)])?;
    // The sink itself produces nothing but dead letters.
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 1000];
    kafka.request_errors(RDKafkaApiKey::Produce, &refusals)?;
    let mut sink = scenario.sink("sink", &[("LOG_LEVEL", "info,s3_sink=debug")])?;
    // By the third refusal the chunk is older than its limit.
    wait_for("three refusals", PATIENCE, || {
        ensure!(sink.is_running()?, sink.tail());
        Ok((sink.log()?.matches("dead letter was not accepted").count() >= 3).then_some(()))
    })?;
    let not_ready = sink.request("/readyz")?.filter(|(status, _)| *status == 503);
    ensure!(not_ready.is_some_and(|(_, why)| why.contains("dead_letters")), sink.tail());
    assert_eq!(rows::files(scenario.objects())?.len(), 0, "its chunk did not wait");
    kafka.clear_request_errors(RDKafkaApiKey::Produce)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 1.0)?;
    sink.wait_ready()?;
    sink.leave()?;
    assert_eq!(scenario.finish(is_valid)?.rows, 1);
    assert_eq!(scenario.dead_letters()?.len(), 1);
    Ok(())
}
