//! Clients that attack the admin servers while messages flow.

use anyhow::{Context, Result, ensure};
use e2e_tests::attack::Attack;
use e2e_tests::process::{PATIENCE, Process};
use e2e_tests::scenario::Scenario;
use e2e_tests::wait_for;

use crate::all;

#[test]
fn attacks_on_the_admin_servers_cost_no_message_and_no_answer() -> Result<()> {
    const PAGES: u64 = 40;
    const USERS: u64 = 100;
    const ANSWERS: usize = 10;
    let scenario = Scenario::start("attacked", 3)?;
    let mut sink = scenario.sink("sink", &[("CHUNK_ROWS_MAX", "200")])?;
    let (pages, users) = (PAGES.to_string(), USERS.to_string());
    let settings = [
        ("SCHEDULE", "manual"),
        ("PAUSE_SECONDS", "0.1"),
        ("RUN_REQUESTS_MAX", pages.as_str()),
        ("API_RESULTS", users.as_str()),
    ];
    let environment = scenario.environment(&settings)?;
    let mut ingestor =
        Process::start("ingestor", &["serve"], &environment, scenario.folder(), "ingestor")?;
    for service in [&mut sink, &mut ingestor] {
        service.wait_ready()?;
    }
    let attack = |service: &Process| -> Result<Attack> {
        Ok(Attack::start(service.admin_addr()?.context("no address")?.parse()?))
    };
    let attacks = [attack(&sink)?, attack(&ingestor)?];
    // They hold what the servers have, and more.
    sink.wait_for_metric("s3_sink_admin_connections_evicted_total", 100.0)?;
    ingestor.wait_for_metric("ingestor_admin_connections_evicted_total", 100.0)?;

    // The answer of the first try may be lost; 409 says that there is a run.
    wait_for("a run", PATIENCE, || {
        let status = ingestor.post("/runs")?.map(|(status, _)| status);
        ensure!(matches!(status, None | Some(202 | 409)), "{status:?}\n{}", ingestor.tail());
        Ok(status)
    })?;
    for _ in 0..ANSWERS {
        for service in [&sink, &ingestor] {
            wait_for("an answer for a fair client", PATIENCE, || service.get("/healthz"))?;
        }
    }
    ingestor.wait_for_metric("ingestor_messages_delivered_total", (PAGES * USERS) as f64)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", (PAGES * USERS) as f64)?;
    for service in [&mut sink, &mut ingestor] {
        let files = service.value("process_open_fds")?;
        ensure!(files < 300.0, "{files} open files");
        ensure!(service.is_running()?, service.tail());
    }
    for attack in attacks {
        attack.stop()?;
    }
    for service in [&mut sink, &mut ingestor] {
        service.terminate()?;
        service.wait_success()?;
    }
    assert_eq!(scenario.finish(all)?.rows as u64, PAGES * USERS);
    Ok(())
}
