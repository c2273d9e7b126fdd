//! A store that fails, on its way and by itself.

use anyhow::{Result, ensure};
use e2e_tests::cluster::Cluster;
use e2e_tests::flow::Flow;
use e2e_tests::process::{PATIENCE, Process};
use e2e_tests::scenario::Scenario;
use e2e_tests::{seed, wait_for};
use local_stack::s3::{Operation, S3Action, S3Fault};

use crate::{
    HASTY, IN_PARTS, PARTITIONS, PARTITIONS_IN_PARTS, all, leave, pass, wait_for_rows,
    wait_until_shared, wait_until_they_share,
};

/// Every fault of requests, and how often it comes.
fn faults() -> Vec<(S3Action, u64)> {
    vec![
        (S3Action::SlowDown, 6),
        (S3Action::InternalError, 6),
        (S3Action::Conflict, 4),
        (S3Action::AccessDenied, 6),
        (S3Action::DropBefore, 4),
        (S3Action::DropInBody { bytes: 1000 }, 4),
        (S3Action::ApplyThenDrop, 6),
        (S3Action::ApplyThenInternalError, 6),
        (S3Action::Delay { milliseconds: 2000 }, 4),
        (S3Action::Delay { milliseconds: 30_000 }, 1),
    ]
}

#[test]
fn every_fault_of_the_store_is_waited_out() -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed());
    let scenario = Scenario::on_cluster(Cluster::shared()?, "store-faults", PARTITIONS)?;
    let plan = scenario.s3()?.faults();
    let flow = scenario.flow(PARTITIONS, 500)?;
    let mut sinks = [scenario.sink("sink-0", &HASTY)?, scenario.sink("sink-1", &HASTY)?];
    wait_until_shared(&sinks.each_ref())?;
    let mut faults = faults();
    random.shuffle(&mut faults);
    for (action, times) in faults {
        for operation in [Operation::PutObject, Operation::HeadObject] {
            let fault = S3Fault::new(action.clone()).on(operation).key_contains("date=");
            plan.push(fault.times(if operation == Operation::PutObject { times } else { 1 }));
        }
        pass(&mut random, 500..1500);
    }
    wait_for("every PUT's fault to have hit", PATIENCE, || {
        let left = plan.list();
        let is_left = left.iter().any(|fault| fault.operation == Some(Operation::PutObject));
        Ok((!is_left).then_some(()))
    })?;
    plan.clear();
    for sink in &mut sinks {
        wait_for_rows(sink, 1000.0)?;
        sink.wait_ready()?;
        // Nobody races but for a partition that was lost, where this machine stood still for long.
        if sink.metric("s3_sink_rebalances_total{kind=\"lost\"}")? == Some(0.0) {
            ensure!(sink.metric("s3_sink_conflicts_total")? == Some(0.0), sink.tail());
        }
    }
    let sent = flow.stop()?;
    leave(&mut sinks)?;
    assert_eq!(scenario.finish(all)?.rows as u64, sent);
    Ok(())
}

#[test]
fn a_store_that_is_killed_again_and_again_keeps_what_it_acknowledged() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::alone()?, "store-killed", PARTITIONS)?;
    let sinks = [scenario.sink("sink-0", &HASTY)?, scenario.sink("sink-1", &HASTY)?];
    wait_until_shared(&sinks.each_ref())?;
    kill_store_while(&scenario, sinks, scenario.flow(PARTITIONS, 1000)?)
}

#[test]
fn a_store_that_is_killed_while_it_joins_parts_keeps_what_it_acknowledged() -> Result<()> {
    let name = "store-killed-in-parts";
    let scenario = Scenario::on_cluster(Cluster::alone()?, name, PARTITIONS_IN_PARTS)?;
    let sinks = [scenario.sink("sink-0", &IN_PARTS)?, scenario.sink("sink-1", &IN_PARTS)?];
    wait_until_they_share(PARTITIONS_IN_PARTS, &sinks.each_ref())?;
    kill_store_while(&scenario, sinks, scenario.bulky_flow(PARTITIONS_IN_PARTS, 1000)?)
}

/// Kills the store and starts it again, while messages flow through these sinks.
fn kill_store_while(scenario: &Scenario, mut sinks: [Process; 2], flow: Flow) -> Result<()> {
    const KILLS: usize = 5;
    let mut random = fastrand::Rng::with_seed(seed());
    let cluster = scenario.cluster()?;
    for _ in 0..KILLS {
        pass(&mut random, 100..2000);
        cluster.kill("store")?;
        pass(&mut random, 100..4000);
        cluster.start("store")?;
        for sink in &mut sinks {
            wait_for_rows(sink, 500.0)?;
        }
    }
    let sent = flow.stop()?;
    leave(&mut sinks)?;
    assert_eq!(scenario.finish(all)?.rows as u64, sent);
    Ok(())
}
