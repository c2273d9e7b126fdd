//! Malformed messages among good ones, and a dead-letter topic that does not take them.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e_tests::cluster::Cluster;
use e2e_tests::malformed::{is_valid, malformed};
use e2e_tests::process::PATIENCE;
use e2e_tests::scenario::{NewMessage, Scenario};
use e2e_tests::wait_for;

use crate::{HASTY, PARTITIONS, leave};

#[test]
fn one_message_in_ten_is_malformed_and_the_dead_letter_topic_is_away_for_a_while() -> Result<()> {
    const MESSAGES: u64 = 6000;
    let scenario = Scenario::on_cluster(Cluster::shared()?, "malformed", PARTITIONS)?;
    let letters = format!("{}.dlq", scenario.topic());
    let mut sink = scenario.sink("sink", &HASTY)?;
    sink.wait_ready()?;
    scenario.cluster()?.delete_topic(&letters)?;
    scenario.produce(messages(MESSAGES)?)?;
    wait_for("the sink to say that dead letters are refused", PATIENCE, || {
        Ok(sink
            .request("/readyz")?
            .filter(|(status, body)| *status == 503 && body.contains("dead_letters")))
    })?;
    // Those in front of the first malformed one may be stored by now.
    let good = (MESSAGES / 10 * 9) as f64;
    ensure!(sink.metric("s3_sink_rows_stored_total")? < Some(good / 2.0), "nothing waits");
    scenario.ensure_topics(PARTITIONS)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", good)?;
    leave([&mut sink])?;
    assert_eq!(scenario.finish(is_valid)?.rows as u64, MESSAGES / 10 * 9);

    let sent = scenario.messages()?;
    let mut told = BTreeSet::new();
    for letter in scenario.dead_letters()? {
        let number = |name: &str| letter.header(name).with_context(|| format!("no {name}"));
        let partition = number("dead-letter-partition")?.parse()?;
        let offset = number("dead-letter-offset")?.parse()?;
        let original = sent.get(&(partition, offset)).context("a letter of no message")?;
        ensure!(!is_valid(original) && letter.payload == original.payload, "{letter:?}");
        told.insert((partition, offset));
    }
    assert_eq!(told.len() as u64, MESSAGES / 10);
    Ok(())
}

/// Each tenth one is malformed, every kind in its turn and a large one among them, on every
/// partition.
fn messages(count: u64) -> Result<Vec<Result<NewMessage>>> {
    let mut kinds: Vec<_> = malformed().into_iter().map(|(message, _)| message).collect();
    let deep = format!("{{\"name\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(900_000));
    kinds.extend([NewMessage::raw(0, deep), NewMessage::raw(0, large)]);
    let partition = |number: u64| i32::try_from(number / 10 % PARTITIONS as u64);
    (0..count)
        .map(|number| {
            let partition = partition(number)?;
            Ok(if number % 10 == 9 {
                let kind = &kinds[usize::try_from(number / 10)? % kinds.len()];
                Ok(NewMessage { partition, ..kind.clone() })
            } else {
                NewMessage::valid(partition, number)
            })
        })
        .collect()
}
