//! A store that fails in every way short of forgetting.

use anyhow::{Result, ensure};
use e2e_tests::process::PATIENCE;
use e2e_tests::scenario::Scenario;
use e2e_tests::wait_for;
use local_stack::s3::{Operation, S3Action, S3Fault};

use crate::all;

fn on_chunks(action: S3Action) -> S3Fault {
    S3Fault::new(action).on(Operation::PutObject).key_contains("date=")
}

#[test]
fn a_put_whose_answer_is_lost_is_recognised_as_ones_own() -> Result<()> {
    let scenario = Scenario::start("answer-lost", 2)?;
    let faults = scenario.s3()?.faults();
    faults.push(on_chunks(S3Action::ApplyThenDrop).times(2));
    faults.push(on_chunks(S3Action::ApplyThenInternalError).skip(2).times(2));
    let mut sink = scenario.sink("sink", &[("CHUNK_ROWS_MAX", "50")])?;
    scenario.produce_valid(2, 0, 500)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 500.0)?;
    // Some of the faults hit the same chunk's PUT again.
    ensure!(sink.metric("s3_sink_own_retries_total")? >= Some(2.0), sink.tail());
    ensure!(sink.metric("s3_sink_conflicts_total")? == Some(0.0), sink.tail());
    sink.leave()?;
    assert_eq!(scenario.finish(all)?.rows, 500);
    Ok(())
}

#[test]
fn a_store_that_refuses_and_dawdles_holds_the_sink_back_and_loses_nothing() -> Result<()> {
    let scenario = Scenario::start("slow-store", 2)?;
    let faults = scenario.s3()?.faults();
    for action in [
        S3Action::SlowDown,
        S3Action::InternalError,
        S3Action::Conflict,
        S3Action::AccessDenied,
        S3Action::DropBefore,
        S3Action::Delay { milliseconds: 1500 },
    ] {
        faults.push(on_chunks(action).times(2));
    }
    faults.push(S3Fault::new(S3Action::SlowDown).on(Operation::HeadObject).times(3));
    let mut sink = scenario.sink("sink", &[("CHUNK_ROWS_MAX", "50")])?;
    scenario.produce_valid(2, 0, 800)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 800.0)?;
    ensure!(
        sink.metric("s3_sink_store_errors_total{operation=\"put\"}")? >= Some(10.0),
        sink.tail()
    );
    sink.wait_ready()?;
    sink.leave()?;
    assert_eq!(scenario.finish(all)?.rows, 800);
    Ok(())
}

#[test]
fn an_outage_of_the_store_is_told_and_survived() -> Result<()> {
    let scenario = Scenario::start("store-outage", 1)?;
    let mut sink = scenario.sink("sink", &[])?;
    scenario.produce_valid(1, 0, 100)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 100.0)?;
    sink.wait_ready()?;
    scenario.stack().stop_s3()?;
    scenario.produce_valid(1, 100, 100)?;
    wait_for("the sink to say that the store fails", PATIENCE, || {
        Ok(sink
            .request("/readyz")?
            .filter(|(status, body)| *status == 503 && body.contains("store")))
    })?;
    ensure!(sink.get("/livez")?.is_some(), "a failing store is no reason to restart the sink");
    scenario.stack().start_s3()?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 200.0)?;
    sink.wait_ready()?;
    sink.leave()?;
    assert_eq!(scenario.finish(all)?.rows, 200);
    Ok(())
}

#[test]
fn a_drain_that_runs_out_of_time_leaves_the_rest_to_the_next_owner() -> Result<()> {
    let scenario = Scenario::start("drain-timeout", 1)?;
    let s3 = scenario.s3()?;
    let mut sink = scenario.sink("sink", &[("DRAIN_TIMEOUT_SECONDS", "1")])?;
    s3.faults().push(on_chunks(S3Action::SlowDown).always());
    scenario.produce_valid(1, 0, 100)?;
    sink.wait_for_metric("s3_sink_store_errors_total{operation=\"put\"}", 1.0)?;
    sink.leave()?;
    ensure!(sink.log()?.contains("TimedOut"), sink.tail());
    s3.faults().clear();
    assert_eq!(scenario.finish(all)?.rows, 100);
    Ok(())
}
