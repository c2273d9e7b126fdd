//! The control endpoint, with which other processes drive the faults.

use local_stack::{LocalStack, Options};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{BUCKET, http, http_get, refusal, s3_client};

async fn post(url: &str, body: &Value) -> (StatusCode, String) {
    let response = http().post(url).json(body).send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

#[tokio::test]
async fn faults_are_planned_listed_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { kafka: None, ..Options::new(folder.path()) };
    let stack = LocalStack::start(options).unwrap();
    let control = stack.control_url().unwrap().to_owned();
    let faults = format!("{control}/faults");
    let plan = json!([
        { "part": "s3", "operation": "PutObject", "key_contains": "date=", "action": { "kind": "slow_down" } },
        { "part": "api", "times": null, "action": { "kind": "rate_limited", "retry_after_seconds": 2 } },
    ]);
    assert_eq!(post(&faults, &plan).await.0, StatusCode::NO_CONTENT);

    let client = s3_client(&stack, 1);
    let put = |key: &str| client.put_object().bucket(BUCKET).key(key).send();
    put("other").await.unwrap();
    assert_eq!(refusal(put("date=1/k").await).0, 503);
    let api = || http_get(stack.api().unwrap().url());
    assert_eq!(api().await.headers()["retry-after"], "2");

    let listed: Value = http_get(&faults).await.json().await.unwrap();
    assert_eq!(
        listed,
        json!([{ "part": "api", "skip": 0, "times": null,
        "action": { "kind": "rate_limited", "retry_after_seconds": 2 } }])
    );
    http().delete(&faults).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(api().await.status(), StatusCode::OK);

    let stats: Value = http_get(format!("{control}/stats")).await.json().await.unwrap();
    assert_eq!(
        stats,
        json!({
            "s3": { "requests": { "PutObject": { "200": 1, "503": 1 } }, "held": 0 },
            "api": { "requests": { "200": 1, "429": 1 }, "users": 1, "held": 0 },
        })
    );
}

#[tokio::test]
async fn a_fault_that_is_not_understood_plans_nothing_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let stack = LocalStack::start(Options { kafka: None, ..Options::new(folder.path()) }).unwrap();
    let faults = format!("{}/faults", stack.control_url().unwrap());
    let good = json!({ "part": "s3", "action": { "kind": "hold" } });
    for (bad, named) in [
        (json!({ "part": "s3", "action": { "kind": "explode" } }), "explode"),
        (json!({ "part": "s3", "key": "k", "action": { "kind": "hold" } }), "key"),
        (json!({ "part": "kafka", "action": { "kind": "hold" } }), "kafka"),
        (json!({ "part": "s3", "operation": "PUT", "action": { "kind": "hold" } }), "PUT"),
    ] {
        let (status, body) = post(&faults, &json!([good, bad])).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
        assert!(body.contains(named), "{body}");
    }
    assert!(stack.s3().unwrap().faults().list().is_empty());
}

#[tokio::test]
async fn outages_are_driven_from_outside() {
    let folder = tempfile::tempdir().unwrap();
    let stack = LocalStack::start(Options { api: None, ..Options::new(folder.path()) }).unwrap();
    let control = stack.control_url().unwrap();
    let client = s3_client(&stack, 1);
    for (path, s3_answers) in [("s3/stop", false), ("s3/stop", false), ("s3/start", true)] {
        let (status, body) = post(&format!("{control}/{path}"), &Value::Null).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
        assert_eq!(client.head_bucket().bucket(BUCKET).send().await.is_ok(), s3_answers, "{path}");
    }
    for (path, expected) in [
        ("kafka/brokers/2/down", StatusCode::NO_CONTENT),
        ("kafka/brokers/2/up", StatusCode::NO_CONTENT),
        ("kafka/brokers/9/up", StatusCode::BAD_REQUEST),
        ("s3/explode", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(post(&format!("{control}/{path}"), &Value::Null).await.0, expected, "{path}");
    }
    let fault = json!({ "part": "api", "action": { "kind": "hold" } });
    let (status, body) = post(&format!("{control}/faults"), &fault).await;
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::NOT_FOUND, "{\"error\":\"this stack has no API\"}")
    );
}
