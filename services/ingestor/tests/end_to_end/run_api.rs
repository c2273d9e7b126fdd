//! The run API: what it begins, shows and cancels, and what it refuses.

use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::api::{Api, Scripted};
use crate::kafka::Kafka;
use crate::process::within_a_minute;
use crate::served::{ENDLESS, Reply, SHORT, Served, manual};

const JSON: (&str, &str) = ("content-type", "application/json");
const TOKEN: &str = "correct-horse-battery-staple";

async fn start() -> (Kafka, Api, Served) {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let serve = Served::start(manual(&kafka, &api)).await;
    (kafka, api, serve)
}

fn expect_problem(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{}", reply.body);
    assert_eq!(reply.headers["content-type"], "application/problem+json", "{}", reply.body);
    assert_eq!((&reply.body["status"], &reply.body["code"]), (&status.into(), &code.into()));
    assert!(reply.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_by_request_does_as_it_is_told_and_leaves_a_trace() {
    let (kafka, api, mut serve) = start().await;
    let reply =
        serve.post(r#"{"results":7,"pause_seconds":0,"streaming_seconds":0,"seed":"names"}"#).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let id = reply.body["id"].as_str().unwrap();
    assert_eq!(reply.headers["location"], format!("/runs/{id}"));
    assert_eq!(reply.body["state"], "running");
    assert_eq!(
        reply.body["parameters"],
        serde_json::json!(
            {"results": 7, "pause_seconds": 0.0, "streaming_seconds": 0.0, "seed": "names"}
        )
    );

    let run = serve.ended().await;
    assert_eq!((&run["id"], &run["state"]), (&id.into(), &"succeeded".into()), "{run}");
    for (count, expected) in [
        ("requests", 1),
        ("users", 7),
        ("rejected", 1),
        ("delivered", 6),
        ("failed", 0),
        ("retries", 0),
    ] {
        assert_eq!(run["counts"][count], expected, "{count} in {run}");
    }
    assert_eq!((&run["trigger"], &run["last_error"]), (&"api".into(), &Value::Null));
    let times = ["created_at", "started_at", "ended_at"].map(|name| run[name].as_str().unwrap());
    assert!(times.is_sorted() && times.iter().all(|time| time.ends_with('Z')), "{times:?}");
    assert_eq!(run["cancel_requested_at"], Value::Null);
    for message in kafka.messages() {
        assert!(message.headers.contains(&("run-id".to_string(), id.to_string())));
    }
    assert_eq!(kafka.recorded_states(id), ["queued", "running", "succeeded"]);
    assert!(serve.metric("ingestor_last_success_timestamp_seconds").await > 1.7e9);
    assert_eq!(serve.metric("ingestor_messages_delivered_total").await, 6.0);
    assert_eq!(api.requests(), 1);
    serve.terminate().await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_a_body_uses_the_settings() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let serve = manual(&kafka, &api).env("API_RESULTS", "3").env("STREAMING_SECONDS", "0");
    let mut serve = Served::start(serve).await;
    let reply = serve.send(Method::POST, "/runs", &[], None).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let run = serve.ended().await;
    assert_eq!((&run["parameters"]["results"], &run["counts"]["users"]), (&3.into(), &3.into()));
    serve.terminate().await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_by_request_says_why_and_is_not_repeated() {
    let kafka = Kafka::start();
    let api = Api::start([Scripted::new(403, "forbidden fruit")]).await;
    let serve = manual(&kafka, &api).env("RUN_RETRY_DELAY_SECONDS", "100ms");
    let mut serve = Served::start(serve).await;
    serve.begin(SHORT).await;
    let run = serve.ended().await;
    assert_eq!(run["state"], "failed", "{run}");
    assert!(run["last_error"].as_str().unwrap().contains("forbidden fruit"), "{run}");
    // The next one can begin at once: no retry waits.
    serve.begin(SHORT).await;
    assert_eq!(serve.ended().await["trigger"], "api");
    serve.terminate().await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_requests_at_once_one_begins_a_run() {
    let (kafka, _api, serve) = start().await;
    for _ in 0..5 {
        let (one, other) = tokio::join!(serve.post(ENDLESS), serve.post(ENDLESS));
        let (begun, refused) = if one.status == 202 { (one, other) } else { (other, one) };
        assert_eq!(begun.status, 202, "{}", begun.body);
        expect_problem(&refused, 409, "run_active");
        let id = begun.body["id"].as_str().unwrap();
        assert_eq!(refused.body["run"]["id"], id);
        assert!(refused.body["detail"].as_str().unwrap().contains(id));
        serve.cancel(id).await;
        until_ended(&serve, id).await;
    }
    let runs = serve.get("/runs").await.body["runs"].as_array().unwrap().len();
    assert_eq!(runs, 5);
    drop(kafka);
}

/// Asks until the run is over. Each question waits for its answer, none for the time.
async fn until_ended(serve: &Served, id: &str) -> Value {
    loop {
        let run = serve.show(id).await;
        if run["ended_at"].is_string() {
            return run;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_with_the_same_key_gets_the_same_run() {
    let (_kafka, api, mut serve) = start().await;
    let (one, other) =
        tokio::join!(serve.post_with_key("k-1", SHORT), serve.post_with_key("k-1", SHORT));
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (202, 202), "{one:?} {other:?}");
    assert_eq!(one.body["id"], other.body["id"]);
    assert_eq!(one.body["idempotency_key"], "k-1");
    serve.ended().await;
    // The same members in another order and spelling are the same request.
    let again = serve.post_with_key("k-1", r#"{"streaming_seconds":0.0, "results":10.0}"#).await;
    assert_eq!((again.status.as_u16(), &again.body["id"]), (202, &one.body["id"]));
    assert_eq!(again.body["state"], "succeeded");
    assert_eq!(again.headers["location"], one.headers["location"]);
    let reused = serve.post_with_key("k-1", r#"{"results":11}"#).await;
    expect_problem(&reused, 422, "idempotency_key_reused");

    let next = serve.post_with_key("k-2", ENDLESS).await;
    assert_eq!(next.status, 202, "{}", next.body);
    let repeat_while_active = serve.post_with_key("k-2", ENDLESS).await;
    assert_eq!(repeat_while_active.body["id"], next.body["id"]);
    expect_problem(&serve.post_with_key("k-3", ENDLESS).await, 409, "run_active");
    let id = next.body["id"].as_str().unwrap();
    serve.cancel(id).await;
    serve.ended().await;
    assert_eq!(serve.post_with_key("k-2", ENDLESS).await.body["state"], "cancelled");
    serve.terminate().await.expect_code(0);
    assert!(api.requests() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_drains_and_may_be_repeated() {
    let (kafka, api, mut serve) = start().await;
    let id = serve.begin(ENDLESS).await;
    api.served(3).await;
    let during = serve.show(&id).await;
    assert_eq!(during["state"], "running");
    assert!(during["counts"]["requests"].as_u64().unwrap() >= 1, "{during}");
    let reply = serve.cancel(&id).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    assert!(reply.body["cancel_requested_at"].is_string(), "{}", reply.body);
    let run = serve.ended().await;
    assert_eq!((&run["state"], &run["last_error"]), (&"cancelled".into(), &Value::Null), "{run}");
    assert_eq!(run["cancel_requested_at"], reply.body["cancel_requested_at"]);
    assert_eq!(run["counts"]["delivered"], kafka.messages().len());
    let again = serve.cancel(&id).await;
    assert_eq!((again.status.as_u16(), &again.body), (200, &run));
    assert_eq!(serve.metric("ingestor_runs_total{outcome=\"cancelled\"}").await, 1.0);
    serve.terminate().await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_the_newest_first() {
    let (_kafka, _api, mut serve) = start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.insert(0, serve.begin(SHORT).await);
        serve.ended().await;
    }
    let listed = async |path: &str| -> Vec<String> {
        let reply = serve.get(path).await;
        assert_eq!(reply.body["history_problem"], Value::Null);
        let runs = reply.body["runs"].as_array().unwrap();
        runs.iter().map(|run| run["id"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(listed("/runs").await, ids);
    assert_eq!(listed("/runs?limit=2").await, ids[..2]);
    assert_eq!(serve.send(Method::HEAD, "/runs", &[], None).await.status, 200);
    serve.terminate().await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_request_gets_its_own_refusal() {
    let (_kafka, api, serve) = start().await;
    let large = format!(r#"{{"seed":"{}"}}"#, "x".repeat(5_000));
    let unknown = "/runs/01890000-0000-7000-8000-000000000000";
    let long_key = "k".repeat(256);
    use Method as M;
    for (method, path, headers, body, status, code) in [
        (M::POST, "/runs", &[JSON] as &[_], Some("{"), 400, "invalid_body"),
        (M::POST, "/runs", &[JSON], Some("[]"), 400, "invalid_body"),
        (M::POST, "/runs", &[JSON], Some(" "), 400, "invalid_body"),
        (M::POST, "/runs", &[JSON], Some(r#"{"results":0}"#), 400, "invalid_body"),
        (M::POST, "/runs", &[JSON], Some(r#"{"results":"1"}"#), 400, "invalid_body"),
        (M::POST, "/runs", &[JSON], Some(r#"{"pause_seconds":-1}"#), 400, "invalid_body"),
        (M::POST, "/runs", &[JSON], Some(r#"{"seed":null}"#), 400, "invalid_body"),
        (M::POST, "/runs", &[JSON], Some(r#"{"more":1}"#), 400, "invalid_body"),
        (M::POST, "/runs", &[JSON], Some(large.as_str()), 413, "body_too_large"),
        (M::POST, "/runs", &[], Some("{}"), 415, "unsupported_media_type"),
        (
            M::POST,
            "/runs",
            &[("content-type", "text/plain")],
            Some("{}"),
            415,
            "unsupported_media_type",
        ),
        (M::POST, "/runs", &[JSON, JSON], Some("{}"), 415, "unsupported_media_type"),
        (
            M::POST,
            "/runs",
            &[JSON, ("content-encoding", "gzip")],
            Some("{}"),
            415,
            "unsupported_media_type",
        ),
        (M::POST, "/runs", &[("idempotency-key", "")], None, 400, "invalid_idempotency_key"),
        (M::POST, "/runs", &[("idempotency-key", "a b")], None, 400, "invalid_idempotency_key"),
        (M::POST, "/runs", &[("idempotency-key", &long_key)], None, 400, "invalid_idempotency_key"),
        (M::GET, "/runs?limit=0", &[], None, 400, "invalid_query"),
        (M::GET, "/runs?limit=1001", &[], None, 400, "invalid_query"),
        (M::GET, "/runs?limit=ten", &[], None, 400, "invalid_query"),
        (M::GET, "/runs?page=2", &[], None, 400, "invalid_query"),
        (M::GET, unknown, &[], None, 404, "run_not_found"),
        (M::DELETE, unknown, &[], None, 404, "run_not_found"),
        (M::GET, "/runs/last", &[], None, 404, "run_not_found"),
        (M::DELETE, "/runs/%ff", &[], None, 404, "run_not_found"),
        (M::GET, "/runs/", &[], None, 404, "not_found"),
        (M::GET, "/runs/a/b", &[], None, 404, "not_found"),
        (M::GET, "/", &[], None, 404, "not_found"),
        (M::PUT, "/runs", &[], None, 405, "method_not_allowed"),
        (M::DELETE, "/runs", &[], None, 405, "method_not_allowed"),
        (M::POST, unknown, &[], None, 405, "method_not_allowed"),
        (M::PATCH, unknown, &[], None, 405, "method_not_allowed"),
        (M::POST, "/metrics", &[], None, 405, "method_not_allowed"),
        (M::TRACE, "/openapi.json", &[], None, 405, "method_not_allowed"),
    ] {
        let reply = serve.send(method.clone(), path, headers, body).await;
        let body = body.unwrap_or_default();
        let shown: String =
            format!("{method} {path} {headers:?} {body}").chars().take(100).collect();
        println!("{shown}: {} {}", reply.status, reply.body["code"]);
        expect_problem(&reply, status, code);
        assert_eq!(reply.headers.contains_key("allow"), status == 405, "{shown}");
    }
    let reply = serve.send(M::PUT, unknown, &[], None).await;
    assert_eq!(reply.headers["allow"], "GET,HEAD,DELETE");
    let reply = serve.post(r#"{"results":0,"more":1}"#).await;
    assert_eq!(reply.body["errors"][0]["pointer"], "#/results");
    assert_eq!(reply.body["errors"][1]["pointer"], "#/more");
    assert_eq!(serve.get("/runs").await.body["runs"], serde_json::json!([]));
    serve.terminate().await.expect_code(0);
    assert_eq!(api.requests(), 0);
}

/// Sends bytes as they are, and reads the answer's first line.
async fn raw(serve: &Served, request: &str) -> String {
    let mut stream = TcpStream::connect(&serve.admin).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let line = within_a_minute(request, lines.next_line()).await.unwrap();
    line.unwrap_or_else(|| panic!("no answer to {request}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_hide_their_size_or_never_come_are_refused() {
    let (_kafka, api, serve) = start().await;
    let head = "POST /runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let chunks = format!("1389\r\n{}\r\n0\r\n\r\n", "x".repeat(0x1389));
    for (rest, status) in [
        (format!("Transfer-Encoding: chunked\r\n\r\n{chunks}"), "413"),
        ("Content-Length: 99999999999\r\n\r\n".to_string(), "413"),
        ("Content-Length: ten\r\n\r\n".to_string(), "400"),
        ("Content-Length: 2\r\n\r\n{".to_string(), "408"),
    ] {
        let answer = raw(&serve, &format!("{head}{rest}")).await;
        let shown: String = rest.chars().take(40).collect();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
    }
    serve.terminate().await.expect_code(0);
    assert_eq!(api.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_guards_what_changes_state_and_is_never_shown() {
    let kafka = Kafka::start();
    let api = Api::start([]).await;
    let serve = Served::start(manual(&kafka, &api).env("ADMIN_TOKEN", TOKEN)).await;
    let unknown = "/runs/01890000-0000-7000-8000-000000000000";
    for authorization in
        [None, Some("Bearer wrong-horse-battery-staple"), Some("Basic dXNlcjpwYXNz"), Some(TOKEN)]
    {
        for (method, path) in [(Method::POST, "/runs"), (Method::DELETE, unknown)] {
            let headers: Vec<_> =
                authorization.iter().map(|value| ("authorization", *value)).collect();
            let reply = serve.send(method, path, &headers, None).await;
            expect_problem(&reply, 401, "unauthorized");
            let challenge = reply.headers["www-authenticate"].to_str().unwrap();
            assert!(challenge.starts_with("Bearer realm="), "{challenge}");
            assert!(!format!("{reply:?}").contains("horse"), "{reply:?}");
        }
    }
    for path in ["/runs", "/openapi.json", "/metrics", "/readyz"] {
        let reply = serve.get(path).await;
        assert!(reply.status != 401 && !format!("{reply:?}").contains("horse"), "{path}");
    }
    assert_eq!(serve.get(unknown).await.status, 404);

    let bearer = format!("Bearer {TOKEN}");
    let headers = [JSON, ("authorization", bearer.as_str())];
    let reply = serve.send(Method::POST, "/runs", &headers, Some(ENDLESS)).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let path = reply.headers["location"].to_str().unwrap();
    assert_eq!(serve.send(Method::DELETE, path, &headers, None).await.status, 202);
    let ended = serve.terminate().await;
    ended.expect_code(0);
    assert!(!ended.stderr.contains("horse"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_served() {
    let (_kafka, _api, serve) = start().await;
    let reply = serve.get("/openapi.json").await;
    assert_eq!((reply.status.as_u16(), &reply.body["openapi"]), (200, &"3.1.0".into()));
    assert_eq!(reply.headers["content-type"], "application/json");
    serve.terminate().await.expect_code(0);
}
