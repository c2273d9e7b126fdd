//! Runs of the ingestor into real brokers.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use e2e_tests::cluster::Cluster;
use e2e_tests::process::Process;
use e2e_tests::scenario::Scenario;
use e2e_tests::seed;
use local_stack::Network;

use crate::{PARTITIONS, all, pass};

fn run(scenario: &Scenario, label: &str, more: &[(&str, &str)]) -> Result<Process> {
    let mut settings = vec![
        ("ADMIN_ADDR", "127.0.0.1:0"),
        ("API_RESULTS", "200"),
        ("PAUSE_SECONDS", "0.05"),
        ("KAFKA_CONFIG", ""),
    ];
    settings.extend(more);
    let environment = scenario.environment(&settings)?;
    Process::start("ingestor", &["run"], &environment, scenario.folder(), label)
}

/// How often each user is on the topic.
fn copies(scenario: &Scenario) -> Result<BTreeMap<Vec<u8>, u32>> {
    let mut copies = BTreeMap::new();
    for sent in scenario.messages()?.into_values() {
        *copies.entry(sent.payload.context("a tombstone")?).or_default() += 1;
    }
    Ok(copies)
}

#[test]
fn what_a_killed_run_has_sent_is_there_once() -> Result<()> {
    const KILLS: usize = 5;
    let mut random = fastrand::Rng::with_seed(seed());
    let scenario = Scenario::on_cluster(Cluster::shared()?, "ingestor-killed", PARTITIONS)?;
    let mut acknowledged = 0.0;
    for kill in 0..KILLS {
        let mut ingestor = run(&scenario, &format!("ingestor-{kill}"), &[])?;
        ingestor.wait_for_metric("ingestor_messages_delivered_total", 1.0)?;
        pass(&mut random, 50..1000);
        acknowledged += ingestor.metric("ingestor_messages_delivered_total")?.unwrap_or(0.0);
        ingestor.kill()?;
    }
    let copies = copies(&scenario)?;
    ensure!(copies.len() as f64 >= acknowledged, "{} of {acknowledged}", copies.len());
    ensure!(copies.values().all(|count| *count == 1), "a user is there twice");
    assert_eq!(scenario.finish(all)?.rows, copies.len());
    Ok(())
}

#[test]
fn a_run_outlives_its_brokers_outage_and_says_what_became_of_it() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::alone()?, "ingestor-cut-off", PARTITIONS)?;
    let servers = scenario.proxied_servers();
    let settings = [("KAFKA_BOOTSTRAP_SERVERS", servers.as_str()), ("RUN_REQUESTS_MAX", "100")];
    let mut ingestor = run(&scenario, "ingestor", &settings)?;
    ingestor.wait_for_metric("ingestor_messages_delivered_total", 1000.0)?;
    for network in [Network::Down, Network::Stalled] {
        scenario.set_network(network);
        std::thread::sleep(std::time::Duration::from_secs(10));
        scenario.set_network(Network::Up);
    }
    ingestor.wait_success()?;
    let summary: serde_json::Value = serde_json::from_str(&ingestor.output()?)?;
    let copies = copies(&scenario)?;
    assert_eq!(summary["delivered"].as_u64(), Some(copies.len() as u64), "{summary}");
    ensure!(copies.values().all(|count| *count == 1), "a user is there twice");
    let rows = scenario.finish(all)?.rows;
    assert_eq!(rows, copies.len());
    Ok(())
}
