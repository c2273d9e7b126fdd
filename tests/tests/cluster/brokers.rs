//! Brokers that die, leaders that move, networks that break, offsets that are gone.

use std::time::Instant;

use anyhow::{Result, ensure};
use e2e_tests::cluster::{BROKERS, Cluster};
use e2e_tests::process::PATIENCE;
use e2e_tests::rows;
use e2e_tests::scenario::{ASSIGNED, Scenario};
use e2e_tests::wait_for;
use local_stack::Network;

use crate::{HASTY, PARTITIONS, all, leave, wait_for_rows, wait_until_shared};

#[test]
fn each_broker_is_killed_and_returns() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::alone()?, "broker-killed", PARTITIONS)?;
    let cluster = scenario.cluster()?;
    let flow = scenario.flow(PARTITIONS, 1000)?;
    let mut sinks = [scenario.sink("sink-0", &HASTY)?, scenario.sink("sink-1", &HASTY)?];
    wait_until_shared(&sinks.each_ref())?;
    // One after the other: each is a leader, one of them the group's coordinator.
    for broker in 1..=BROKERS {
        let broker = format!("broker-{broker}");
        cluster.kill(&broker)?;
        for sink in &mut sinks {
            wait_for_rows(sink, 2000.0)?;
        }
        cluster.start(&broker)?;
        // Back to the replicas that are meant to lead, by hand, under way.
        let all = ["--election-type", "preferred", "--all-topic-partitions"];
        cluster.tool("kafka-leader-election", &all)?;
        for sink in &mut sinks {
            wait_for_rows(sink, 1000.0)?;
        }
    }
    let sent = flow.stop()?;
    leave(&mut sinks)?;
    assert_eq!(scenario.finish(all)?.rows as u64, sent);
    Ok(())
}

#[test]
fn a_sink_without_network_is_replaced_and_may_return() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::alone()?, "cut-off", PARTITIONS)?;
    let flow = scenario.flow(PARTITIONS, 1000)?;
    let servers = scenario.proxied_servers();
    let mut far =
        scenario.sink("far", &[HASTY[0], HASTY[1], ("KAFKA_BOOTSTRAP_SERVERS", &servers)])?;
    let mut near = scenario.sink("near", &HASTY)?;
    for network in [Network::Stalled, Network::Down] {
        wait_until_shared(&[&far, &near])?;
        scenario.set_network(network);
        wait_until_shared(&[&near])?;
        wait_for_rows(&mut near, 3000.0)?;
        scenario.set_network(Network::Up);
    }
    wait_until_shared(&[&far, &near])?;
    let sent = flow.stop()?;
    leave([&mut far, &mut near])?;
    assert_eq!(scenario.finish(all)?.rows as u64, sent);
    Ok(())
}

#[test]
fn a_minute_without_brokers_is_told_and_survived() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::alone()?, "no-brokers", PARTITIONS)?;
    let flow = scenario.flow(PARTITIONS, 500)?;
    let servers = scenario.proxied_servers();
    let mut sink =
        scenario.sink("sink", &[HASTY[0], HASTY[1], ("KAFKA_BOOTSTRAP_SERVERS", &servers)])?;
    wait_for_rows(&mut sink, 1000.0)?;
    let cut = Instant::now();
    scenario.set_network(Network::Down);
    wait_for("the sink to say that Kafka is away", PATIENCE, || {
        Ok(sink
            .request("/readyz")?
            .filter(|(status, body)| *status == 503 && body.contains("consumer_group")))
    })?;
    while cut.elapsed().as_secs() < 60 {
        ensure!(sink.is_running()?, sink.tail());
        ensure!(sink.get("/livez")?.is_some(), "to restart the sink would not help");
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    scenario.set_network(Network::Up);
    wait_until_shared(&[&sink])?;
    wait_for_rows(&mut sink, 10_000.0)?;
    sink.wait_ready()?;
    let sent = flow.stop()?;
    leave([&mut sink])?;
    assert_eq!(scenario.finish(all)?.rows as u64, sent);
    Ok(())
}

#[test]
fn a_group_without_offsets_adopts_what_is_stored() -> Result<()> {
    const CHUNKS: u64 = 1000;
    const ROWS: u64 = 10;
    let scenario = Scenario::on_cluster(Cluster::shared()?, "offsets-gone", PARTITIONS)?;
    // A session that a slow machine does not lose: a rebalance would make other chunks.
    let patient = ("KAFKA_CONFIG", "session.timeout.ms=30000");
    let small = [patient, ("CHUNK_ROWS_MAX", "10"), ("CHUNK_AGE_SECONDS_MAX", "3600")];
    scenario.produce_valid(PARTITIONS, 0, CHUNKS * ROWS)?;
    scenario.drain("drain", &small)?.wait_success()?;
    let before = rows::files(scenario.objects())?;
    ensure!(before.len() as u64 >= CHUNKS, "only {} chunks", before.len());
    let group = ["--delete", "--group", scenario.topic()];
    scenario.cluster()?.tool("kafka-consumer-groups", &group)?;

    let mut sink = scenario.sink("sink", &small)?;
    wait_for("all partitions", PATIENCE, || {
        Ok((sink.value(ASSIGNED)? == f64::from(PARTITIONS)).then_some(()))
    })?;
    let begun = Instant::now();
    sink.wait_for_metric("s3_sink_adoptions_total", before.len() as f64)?;
    println!("{} chunks adopted in {:.1} s", before.len(), begun.elapsed().as_secs_f64());
    scenario.produce_valid(PARTITIONS, CHUNKS * ROWS, 600)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 600.0)?;
    leave([&mut sink])?;
    assert_eq!(
        rows::files(scenario.objects())?.len(),
        before.len() + 60,
        "nothing but the new ones"
    );
    assert_eq!(scenario.finish(all)?.rows as u64, CHUNKS * ROWS + 600);
    Ok(())
}
