//! `ingestor serve`: its schedule, its signals, its metrics.

use crate::api::{Api, Scripted};
use crate::kafka::Kafka;
use crate::pages;
use crate::process::Ingestor;
use crate::served::{ENDLESS, Served, manual};

#[tokio::test(flavor = "multi_thread")]
async fn serve_is_ready_answers_probes_and_drains() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let serve = Ingestor::serve(&kafka, &api).envs(pages(2)).env("SCHEDULE", "continuous");
    let mut serve = Served::start(serve).await;
    for _ in 0..2 {
        let run = serve.ended().await;
        assert_eq!((&run["trigger"], &run["state"]), (&"continuous".into(), &"succeeded".into()));
    }
    let ready = serve.get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.body);
    let metrics = serve.get("/metrics").await;
    let metrics = metrics.body.as_str().unwrap();
    for line in [
        "ingestor_build_info{",
        "ingestor_runs_total{outcome=\"failed\"} 0",
        "ingestor_runs_total{outcome=\"cancelled\"} 0",
        "ingestor_rejects_total{reason=\"missing_field\"} 0",
        "ingestor_requests_total{outcome=\"ok\"} ",
        "ingestor_ticks_skipped_total{reason=\"busy\"} 0",
        "ingestor_next_tick_timestamp_seconds 0",
        "ingestor_run_history_kept 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert!(serve.metric("ingestor_run_duration_seconds_count").await >= 2.0);
    Ingestor::healthcheck(&serve.admin).start().wait().await.expect_code(0);

    let admin = serve.admin.clone();
    let ended = serve.terminate().await;
    ended.expect_code(0);
    let delivered: u64 =
        ended.logged("run ended").iter().map(|line| line["delivered"].as_u64().unwrap()).sum();
    assert_eq!(kafka.messages().len() as u64, delivered);
    Ingestor::healthcheck(&admin).start().wait().await.expect_code(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_waits_by_a_manual_schedule() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let serve = Served::start(manual(&kafka, &api)).await;
    assert_eq!(serve.get("/runs").await.body["runs"], serde_json::json!([]));
    serve.terminate().await.expect_code(0);
    assert_eq!(api.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_tells_the_next_tick() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let serve = Served::start(Ingestor::serve(&kafka, &api)).await;
    let next = serve.metric("ingestor_next_tick_timestamp_seconds").await;
    assert_eq!(next % 86_400.0, 3_600.0, "daily at 01:00 UTC");
    serve.terminate().await.expect_code(0);
    assert_eq!(api.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_on_start_that_fails_is_repeated_once() {
    let kafka = Kafka::start();
    let api = Api::start([Scripted::new(400, "no"), Scripted::new(400, "not yet")]).await;
    let serve = manual(&kafka, &api)
        .env("RUN_ON_START", "true")
        .env("RUN_RETRY_DELAY_SECONDS", "100ms")
        .env("STREAMING_SECONDS", "0");
    let mut serve = Served::start(serve).await;
    let first = serve.ended().await;
    assert_eq!((&first["trigger"], &first["state"]), (&"start".into(), &"failed".into()));
    assert!(first["last_error"].as_str().unwrap().contains("HTTP 400"), "{first}");
    let second = serve.ended().await;
    assert_eq!((&second["trigger"], &second["retry_of"]), (&"retry".into(), &first["id"]));
    assert_eq!(second["state"], "failed");
    // A third request would succeed, and nothing makes it.
    assert_eq!(serve.get("/runs").await.body["runs"].as_array().unwrap().len(), 2);
    assert_eq!(serve.metric("ingestor_last_success_timestamp_seconds").await, 0.0);
    serve.terminate().await.expect_code(0);
    assert_eq!(api.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_a_run_drains_it_and_records_it_as_cancelled() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let serve = Served::start(manual(&kafka, &api)).await;
    let id = serve.begin(ENDLESS).await;
    api.served(3).await;
    let ended = serve.terminate().await;
    ended.expect_code(0);
    let line = &ended.logged("run ended")[0];
    assert_eq!((&line["run_id"], &line["outcome"]), (&id.clone().into(), &"cancelled".into()));
    let delivered = line["delivered"].as_u64().unwrap();
    assert!(delivered >= 2 * 9, "{line}");
    assert_eq!(kafka.messages().len() as u64, delivered);
    assert_eq!(kafka.emails().len() as u64, delivered);

    let serve = Served::start(manual(&kafka, &api)).await;
    let run = serve.show(&id).await;
    assert_eq!((&run["state"], &run["last_error"]), (&"cancelled".into(), &().into()), "{run}");
    assert_eq!(run["counts"]["delivered"], delivered);
    assert!(run["cancel_requested_at"].is_string() && run["ended_at"].is_string(), "{run}");
    serve.terminate().await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_can_not_deliver_is_a_failure_after_the_restart_too() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let serve = manual(&kafka, &api).env("DRAIN_TIMEOUT_SECONDS", "100ms");
    let mut serve = Served::start(serve).await;
    let id = serve.begin(ENDLESS).await;
    serve.process.logs("page produced").await;
    kafka.down();
    serve.process.logs("kafka client error").await;
    serve.process.logs("page produced").await;
    let ended = serve.terminate().await;
    ended.expect_code(1);
    assert_eq!(ended.logged("run ended")[0]["outcome"], "failed");
    assert_eq!(ended.logged("the last records of runs could not be written in time").len(), 1);

    kafka.up();
    let serve = Served::start(manual(&kafka, &api)).await;
    let run = serve.show(&id).await;
    assert_eq!(run["state"], "failed", "{run}");
    assert_eq!(run["last_error"], "the ingestor ended during the run", "{run}");
    serve.terminate().await.expect_code(0);
}
