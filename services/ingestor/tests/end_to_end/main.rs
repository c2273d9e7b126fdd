//! The real binary between an API served here and librdkafka's mock cluster.
//!
//! No test sleeps to wait for something: each waits for the thing itself, and gives up after a
//! minute.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

mod api;
mod kafka;
mod process;
mod restarts;
mod run_api;
mod serve;
mod served;

use std::collections::BTreeSet;

use api::{Api, Scripted};
use kafka::Kafka;
use process::{Ingestor, TERMINATE};
use rdkafka::types::RDKafkaRespErr;

/// Settings of a run that makes its requests back to back and ends after `pages` pages.
fn pages(pages: u64) -> [(&'static str, String); 3] {
    [
        ("PAUSE_SECONDS", "0".to_string()),
        ("STREAMING_SECONDS", "1h".to_string()),
        ("RUN_REQUESTS_MAX", pages.to_string()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_delivers_every_valid_user_once_and_names_each_reject() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let run = Ingestor::run(&kafka, &api).envs(pages(3)).env("API_RESULTS", "4").start();
    let ended = run.wait().await;
    ended.expect_code(0);

    let summary = ended.summary();
    assert_eq!(summary["outcome"], "succeeded", "{summary}");
    for (count, expected) in
        [("requests", 3), ("pages", 3), ("users", 12), ("rejected", 3), ("delivered", 9)]
    {
        assert_eq!(summary[count], expected, "{count} in {summary}");
    }
    assert_eq!(summary["rejected_by_reason"]["bad_coordinate"], 3, "{summary}");

    // The API makes the last user of each page a bad one.
    let expected: BTreeSet<String> =
        [0, 1, 2, 4, 5, 6, 8, 9, 10].into_iter().map(api::payload).collect();
    let messages = kafka.messages();
    let payloads: BTreeSet<String> =
        messages.iter().map(|message| message.payload.clone()).collect();
    assert_eq!(messages.len(), 9);
    assert_eq!(payloads, expected);
    for message in &messages {
        assert_eq!(message.key, None);
        let run_id = summary["run_id"].as_str().unwrap();
        assert_eq!(
            message.headers,
            [
                ("schema-version".to_string(), "1".to_string()),
                ("run-id".to_string(), run_id.to_string())
            ]
        );
    }

    let rejects = ended.logged("user rejected");
    assert_eq!(rejects.len(), 3);
    assert_eq!(rejects[0]["reason"], "bad_coordinate");
    assert_eq!(rejects[0]["field"], "location.coordinates.latitude");
    assert_eq!(rejects[0]["index"], 3);
    assert_eq!(rejects[0]["run_id"], summary["run_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_api_are_repeated_until_a_page_comes() {
    let kafka = Kafka::start();
    let api = Api::start([
        Scripted::new(429, r#"{"error":"Whoa, ease up there cowboy."}"#).retry_after("0"),
        Scripted::new(503, "503 Service Not Available"),
        Scripted::new(404, "Not Found"),
        Scripted::new(200, "<html>502 Bad gateway</html>"),
        Scripted::new(200, r#"{"results":[],"info":{"results":1}}"#),
        Scripted::new(200, r#"{"error":"Uh oh, something has gone wrong."}"#),
    ])
    .await;
    let ended =
        Ingestor::run(&kafka, &api).envs(pages(1)).env("API_RETRIES_MAX", "6").start().wait().await;
    ended.expect_code(0);
    let summary = ended.summary();
    assert_eq!((&summary["retries"], &summary["delivered"]), (&6.into(), &1.into()), "{summary}");
    let outcomes: Vec<_> = ended
        .logged("request failed, will be repeated")
        .iter()
        .map(|line| line["outcome"].as_str().unwrap().to_string())
        .collect();
    assert_eq!(
        outcomes,
        ["rate_limited", "server_error", "client_error", "not_json", "empty", "api_error"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_request_fails_the_run_but_not_its_later_requests() {
    let kafka = Kafka::start();
    let api = Api::start([Scripted::new(503, "busy"), Scripted::new(503, "busy")]).await;
    let ended =
        Ingestor::run(&kafka, &api).envs(pages(2)).env("API_RETRIES_MAX", "1").start().wait().await;
    ended.expect_code(1);
    let summary = ended.summary();
    assert_eq!(summary["outcome"], "failed", "{summary}");
    assert_eq!((&summary["requests"], &summary["requests_failed"]), (&3.into(), &1.into()));
    assert_eq!((&summary["delivered"], kafka.messages().len()), (&2.into(), 2), "{summary}");
    assert!(summary["last_error"].as_str().unwrap().contains("HTTP 503"), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_always_fails_fails_the_run() {
    let kafka = Kafka::start();
    let api = Api::start(std::iter::repeat_n(Scripted::new(500, "Internal Server Error"), 9)).await;
    let ended = Ingestor::run(&kafka, &api)
        .env("STREAMING_SECONDS", "0")
        .env("API_RETRIES_MAX", "2")
        .start()
        .wait()
        .await;
    ended.expect_code(1);
    let summary = ended.summary();
    assert_eq!((&summary["pages"], &summary["retries"]), (&0.into(), &2.into()), "{summary}");
    assert_eq!(kafka.messages().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_waited_for() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let ended = Ingestor::run(&kafka, &api)
        .envs(pages(2))
        .env("API_RESULTS", "501")
        .env("KAFKA_CONFIG", "queue.buffering.max.messages=7,linger.ms=1")
        .start()
        .wait()
        .await;
    ended.expect_code(0);
    let summary = ended.summary();
    assert_eq!((&summary["delivered"], &summary["failed"]), (&1000.into(), &0.into()), "{summary}");
    assert_eq!(kafka.emails().len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kafka_refuses_fails_the_run() {
    let kafka = Kafka::start();
    kafka.refuse_produce(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 3);
    let api = Api::start([]).await;
    let ended = Ingestor::run(&kafka, &api).envs(pages(1)).start().wait().await;
    ended.expect_code(1);
    let summary = ended.summary();
    assert_eq!((&summary["delivered"], &summary["failed"]), (&0.into(), &1.into()), "{summary}");
    assert!(summary["last_error"].as_str().unwrap().contains("authorization"), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_client_refuses_fails_the_run() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let ended = Ingestor::run(&kafka, &api)
        .envs(pages(1))
        .env("API_RESULTS", "3")
        // The least that librdkafka takes; every user of this nationality is longer.
        .env("KAFKA_CONFIG", "message.max.bytes=1000")
        .env("API_NAT", api::LONG)
        .start()
        .wait()
        .await;
    ended.expect_code(1);
    let summary = ended.summary();
    assert_eq!((&summary["delivered"], &summary["failed"]), (&0.into(), &3.into()), "{summary}");
    assert!(summary["last_error"].as_str().unwrap().contains("MessageSizeTooLarge"), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_a_run_early_with_every_message_delivered() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let mut run = Ingestor::run(&kafka, &api)
        .env("PAUSE_SECONDS", "0")
        .env("STREAMING_SECONDS", "1h")
        .env("API_RESULTS", "100")
        .start();
    api.served(5).await;
    run.signal(TERMINATE);
    let ended = run.wait().await;
    ended.expect_code(0);
    let summary = ended.summary();
    assert_eq!(summary["outcome"], "cancelled", "{summary}");
    let delivered = usize::try_from(summary["delivered"].as_u64().unwrap()).unwrap();
    let users = summary["users"].as_u64().unwrap() - summary["rejected"].as_u64().unwrap();
    assert!(delivered >= 4 * 99, "{summary}");
    assert_eq!(delivered as u64, users, "{summary}");
    assert_eq!((kafka.messages().len(), kafka.emails().len()), (delivered, delivered));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_does_not_wait_for_a_retry() {
    let kafka = Kafka::start();
    let api = Api::start([Scripted::new(429, "Whoa").retry_after("250")]).await;
    let mut run = Ingestor::run(&kafka, &api).start();
    let waits = run.logs("request failed, will be repeated").await;
    assert_eq!(waits["delay_seconds"], 250.0);
    run.signal(TERMINATE);
    run.wait().await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_kafka_loses_and_doubles_nothing() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let mut run = Ingestor::run(&kafka, &api)
        .env("PAUSE_SECONDS", "20ms")
        .env("STREAMING_SECONDS", "1h")
        .env("API_RESULTS", "20")
        .start();
    run.logs("page produced").await;
    kafka.down();
    run.logs("kafka client error").await;
    kafka.up();
    run.logs("page produced").await;
    run.signal(TERMINATE);
    let ended = run.wait().await;
    ended.expect_code(0);
    let summary = ended.summary();
    let delivered = usize::try_from(summary["delivered"].as_u64().unwrap()).unwrap();
    assert_eq!(delivered as u64, summary["pages"].as_u64().unwrap() * 19, "{summary}");
    assert_eq!((kafka.messages().len(), kafka.emails().len()), (delivered, delivered));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rejects_are_all_counted_and_not_all_logged() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let ended = Ingestor::run(&kafka, &api)
        .envs(pages(1))
        .env("API_RESULTS", "150")
        .env("API_NAT", api::NOWHERE)
        .start()
        .wait()
        .await;
    ended.expect_code(0);
    let summary = ended.summary();
    assert_eq!((&summary["rejected"], &summary["delivered"]), (&150.into(), &0.into()));
    assert_eq!(ended.logged("user rejected").len(), 100);
    let more = ended.logged("too many rejects in one page to log them all");
    assert_eq!((more.len(), &more[0]["rejected"]), (1, &150.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let mut run = Ingestor::run(&kafka, &api)
        .env("PAUSE_SECONDS", "1h")
        .env("STREAMING_SECONDS", "2h")
        // No report comes before the message is lost, long after the drain.
        .env("KAFKA_CONFIG", "linger.ms=600000,message.timeout.ms=900000")
        .env("DRAIN_TIMEOUT_SECONDS", "10m")
        .start();
    run.logs("page produced").await;
    run.signal(TERMINATE);
    run.logs("shutdown requested").await;
    run.signal(TERMINATE);
    run.wait().await.expect_code(143);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_whose_time_is_up_is_a_failure() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let mut run = Ingestor::run(&kafka, &api)
        .env("PAUSE_SECONDS", "1h")
        .env("STREAMING_SECONDS", "2h")
        .env("KAFKA_CONFIG", "linger.ms=600000,message.timeout.ms=900000")
        .env("DRAIN_TIMEOUT_SECONDS", "100ms")
        .start();
    run.logs("page produced").await;
    run.signal(TERMINATE);
    let ended = run.wait().await;
    ended.expect_code(1);
    assert_eq!(ended.summary()["unreported"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_names_the_remedy() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let ended = Ingestor::run(&kafka, &api).env("KAFKA_TOPIC", "not_there").start().wait().await;
    ended.expect_code(1);
    let summary = ended.summary();
    let error = summary["last_error"].as_str().unwrap();
    assert!(error.contains("\"not_there\" does not exist"), "{error}");
    assert!(error.contains("pipectl topics ensure"), "{error}");
    assert_eq!(summary["requests"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_the_settings_come_out_at_once() {
    let ended = Ingestor::new(&["run"])
        .env("API_RESULTS", "0")
        .env("KAFKA_CONFIG", "acks=1")
        .start()
        .wait()
        .await;
    ended.expect_code(2);
    for name in
        ["3 settings are wrong", "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_CONFIG=***", "API_RESULTS"]
    {
        assert!(ended.stderr.contains(name), "{name} in {}", ended.stderr);
    }
}
