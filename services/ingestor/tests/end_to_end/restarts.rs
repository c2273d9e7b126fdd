//! What a restart of `ingestor serve` remembers, and what happens while it can't.

use rdkafka::types::RDKafkaRespErr;
use serde_json::Value;

use crate::api::Api;
use crate::kafka::{Kafka, RUNS_TOPIC};
use crate::process::KILL;
use crate::served::{ENDLESS, Reply, SHORT, Served, manual};

/// The request was refused since nothing would remember it; returns the text.
fn expect_not_recorded(reply: &Reply) -> &str {
    assert_eq!((reply.status.as_u16(), &reply.body["code"]), (503, &"not_recorded".into()));
    assert_eq!(reply.headers["retry-after"], "5");
    reply.body["detail"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_remembers_runs_keys_and_the_last_success() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let mut serve = Served::start(manual(&kafka, &api)).await;
    let id = serve.post_with_key("k-1", SHORT).await.body["id"].as_str().unwrap().to_string();
    let before = serve.ended().await;
    let last_success = serve.metric("ingestor_last_success_timestamp_seconds").await;
    serve.terminate().await.expect_code(0);

    let serve = Served::start(manual(&kafka, &api)).await;
    assert_eq!(serve.show(&id).await, before);
    let repeat = serve.post_with_key("k-1", SHORT).await;
    assert_eq!((repeat.status.as_u16(), &repeat.body), (202, &before));
    assert_eq!(serve.post_with_key("k-1", "{}").await.status, 422);
    let restored = serve.metric("ingestor_last_success_timestamp_seconds").await;
    // One is the end of the run as it is shown, the other the moment at which it was counted.
    assert!((restored - last_success).abs() < 60.0, "{restored} and {last_success}");
    serve.terminate().await.expect_code(0);
    assert_eq!(api.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_process_dies_is_failed_after_the_restart() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let mut serve = Served::start(manual(&kafka, &api)).await;
    let id = serve.post_with_key("k-1", ENDLESS).await.body["id"].as_str().unwrap().to_string();
    api.served(3).await;
    serve.process.signal(KILL);
    serve.process.wait().await;

    let serve = Served::start(manual(&kafka, &api)).await;
    let run = serve.show(&id).await;
    assert_eq!((&run["state"], &run["trigger"]), (&"failed".into(), &"api".into()), "{run}");
    assert_eq!(run["last_error"], "the ingestor ended during the run");
    assert!(run["ended_at"].is_string(), "{run}");
    assert_eq!(serve.post_with_key("k-1", ENDLESS).await.body, run);
    let next = serve.post_with_key("k-2", ENDLESS).await;
    assert_eq!(next.status, 202, "{}", next.body);
    serve.terminate().await.expect_code(0);
    assert_eq!(kafka.recorded_states(&id), ["queued", "running", "failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_topic_runs_are_kept_in_memory_and_it_is_told() {
    let kafka = Kafka::without_runs_topic();
    let api = Api::start([]).await;
    let mut serve = Served::listening(manual(&kafka, &api)).await;
    let reply = serve.post(SHORT).await;
    assert_eq!((reply.status.as_u16(), &reply.body["code"]), (503, &"starting".into()));
    assert_eq!(reply.headers["retry-after"], "1");
    let warning = serve.process.logs("no run history").await;
    assert!(warning["error"].as_str().unwrap().contains("pipectl topics ensure"), "{warning}");

    let id = serve.begin(SHORT).await;
    let run = serve.ended().await;
    assert_eq!((&run["id"], &run["state"]), (&id.clone().into(), &"succeeded".into()));
    let refused = serve.post_with_key("k-1", SHORT).await;
    let detail = expect_not_recorded(&refused);
    assert!(detail.contains("check RUNS_TOPIC") && detail.contains(RUNS_TOPIC), "{detail}");
    let listing = serve.get("/runs").await.body;
    let problem = listing["history_problem"].as_str().unwrap();
    assert!(problem.contains(RUNS_TOPIC) && problem.contains("does not exist"), "{problem}");
    assert_eq!(serve.metric("ingestor_run_history_kept").await, 0.0);
    assert_eq!(serve.get("/readyz").await.status, 200);

    // Once the topic is there, it gets what was missing.
    kafka.create_runs_topic();
    serve.process.logs("run history is read and kept").await;
    assert_eq!(serve.get("/runs").await.body["history_problem"], Value::Null);
    let taken = serve.post_with_key("k-1", SHORT).await;
    assert_eq!(taken.status, 202, "{}", taken.body);
    serve.ended().await;
    serve.terminate().await.expect_code(0);
    let serve = Served::start(manual(&kafka, &api)).await;
    assert_eq!(serve.show(&id).await, run);
    serve.terminate().await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_begins_no_second_run_while_the_history_is_refused() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let mut serve = Served::start(manual(&kafka, &api)).await;
    serve.post_with_key("k-1", SHORT).await;
    let run = serve.ended().await;
    serve.terminate().await.expect_code(0);

    kafka.refuse_fetch();
    let mut serve = Served::listening(manual(&kafka, &api)).await;
    serve.process.logs("no run history").await;
    for key in ["k-1", "k-2"] {
        let refused = serve.post_with_key(key, SHORT).await;
        let detail = expect_not_recorded(&refused);
        assert!(detail.contains("check RUNS_TOPIC and the rights on it"), "{detail}");
    }
    assert_eq!(serve.get("/runs").await.body["runs"], serde_json::json!([]));
    // Whether the key has a run is not known, whatever else is active.
    let active = serve.begin(ENDLESS).await;
    expect_not_recorded(&serve.post_with_key("k-1", SHORT).await);
    assert_eq!(serve.post(SHORT).await.status, 409);
    assert_eq!(serve.cancel(&active).await.status, 202);
    serve.ended().await;

    kafka.allow_fetch();
    serve.process.logs("run history is read and kept").await;
    let repeat = serve.post_with_key("k-1", SHORT).await;
    assert_eq!((repeat.status.as_u16(), &repeat.body), (202, &run));
    serve.terminate().await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_record_hinders_no_run_and_is_told() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let mut serve = Served::start(manual(&kafka, &api)).await;
    kafka.refuse_produce(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1);
    let id = serve.begin(SHORT).await;
    let run = serve.ended().await;
    assert_eq!((&run["id"], &run["state"]), (&id.into(), &"succeeded".into()), "{run}");
    let listing = serve.get("/runs").await.body;
    let problem = listing["history_problem"].as_str().unwrap();
    assert!(problem.contains("authorization"), "{problem}");
    serve.terminate().await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_a_key_does_not_begin_if_its_record_is_refused() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let mut serve = Served::start(manual(&kafka, &api)).await;
    let known = serve.post_with_key("k-1", SHORT).await.body["id"].clone();
    serve.ended().await;
    kafka.refuse_produce(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1);
    for _ in 0..2 {
        // The first is refused with its record, the second at once.
        let refused = serve.post_with_key("k-2", SHORT).await;
        let detail = expect_not_recorded(&refused);
        assert!(detail.contains("authorization") && detail.contains("RUNS_TOPIC"), "{detail}");
    }
    assert_eq!(serve.post_with_key("k-1", SHORT).await.body["id"], known);
    assert_eq!(serve.get("/runs").await.body["runs"].as_array().unwrap().len(), 1);
    serve.begin(SHORT).await;
    assert_eq!(serve.ended().await["state"], "succeeded");
    serve.terminate().await.expect_code(0);

    let mut serve = Served::start(manual(&kafka, &api)).await;
    let taken = serve.post_with_key("k-2", SHORT).await;
    assert_eq!(taken.status, 202, "{}", taken.body);
    serve.ended().await;
    serve.terminate().await.expect_code(0);
    assert_eq!(api.requests(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_kafka_is_away_no_run_begins_by_request() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let mut serve = Served::start(manual(&kafka, &api)).await;
    let first = serve.post_with_key("k-1", SHORT).await.body["id"].clone();
    serve.ended().await;
    kafka.down();
    for _ in 0..2 {
        // The first waits for the acknowledgement, the second is refused at once.
        expect_not_recorded(&serve.post_with_key("k-2", SHORT).await);
    }
    assert_eq!(serve.post_with_key("k-1", SHORT).await.body["id"], first);
    assert_eq!(serve.get("/runs").await.body["runs"].as_array().unwrap().len(), 1);
    kafka.up();
    serve.process.logs("run history is read and kept").await;
    let reply = serve.post_with_key("k-2", SHORT).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    assert_eq!(serve.ended().await["state"], "succeeded");
    serve.terminate().await.expect_code(0);

    // What was refused has left nothing behind.
    let serve = Served::start(manual(&kafka, &api)).await;
    let runs = serve.get("/runs").await.body["runs"].clone();
    let states: Vec<_> = runs.as_array().unwrap().iter().map(|run| &run["state"]).collect();
    assert_eq!(states, ["succeeded", "succeeded"], "{runs}");
    serve.terminate().await.expect_code(0);
    assert_eq!(api.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_on_the_topic_are_named_and_left_out() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    kafka.record("not-an-id", "{}");
    kafka.record("01890000-0000-7000-8000-000000000000", "not json");
    let mut serve = Served::listening(manual(&kafka, &api)).await;
    for offset in [0, 1] {
        let warning = serve.process.logs("a message on the topic of runs is no record").await;
        assert_eq!((&warning["topic"], &warning["offset"]), (&RUNS_TOPIC.into(), &offset.into()));
    }
    serve.process.logs("run history is read and kept").await;
    assert_eq!(serve.get("/runs").await.body["runs"], serde_json::json!([]));
    serve.terminate().await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_needs_no_rights_on_a_group() {
    let kafka = Kafka::start();
    kafka.refuse_groups();
    let api = Api::start([]).await;
    let mut serve = Served::start(manual(&kafka, &api)).await;
    let id = serve.begin(SHORT).await;
    serve.ended().await;
    serve.terminate().await.expect_code(0);
    let serve = Served::start(manual(&kafka, &api)).await;
    assert_eq!(serve.show(&id).await["state"], "succeeded");
    serve.terminate().await.expect_code(0);
}
