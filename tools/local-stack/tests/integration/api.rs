//! The API as the ingestor sees it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use local_stack::api::{ApiAction, ApiFault, RateLimit};
use local_stack::{ApiOptions, LocalStack, Options, StackError};
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{http, http_get};

fn api_stack(api: ApiOptions) -> (TempDir, LocalStack) {
    let folder = tempfile::tempdir().unwrap();
    let stack = LocalStack::start(api_options(folder.path(), api)).unwrap();
    (folder, stack)
}

fn api_options(folder: &Path, api: ApiOptions) -> Options {
    Options { kafka: None, s3: None, control_port: None, api: Some(api), ..Options::new(folder) }
}

async fn get(stack: &LocalStack, query: &str) -> reqwest::Response {
    http_get(format!("{}{query}", stack.api().unwrap().url())).await
}

async fn users(stack: &LocalStack, query: &str) -> Value {
    let response = get(stack, query).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    response.json().await.unwrap()
}

/// The paths of every leaf and whether it is a text, a number or null.
fn shape(value: &Value, path: &str, leaves: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                shape(field, &format!("{path}/{name}"), leaves);
            }
        }
        Value::String(_) => drop(leaves.insert(format!("{path} text"))),
        Value::Number(_) => drop(leaves.insert(format!("{path} number"))),
        Value::Null => drop(leaves.insert(format!("{path} null"))),
        other => panic!("{path} is {other}"),
    }
}

#[tokio::test]
async fn users_have_the_shape_of_the_real_ones() {
    let (_folder, stack) = api_stack(ApiOptions::default());
    let page = users(&stack, "?results=2000&seed=shape").await;
    let mut leaves = BTreeSet::new();
    for user in page["results"].as_array().unwrap() {
        shape(user, "", &mut leaves);
    }
    // Every leaf of the recorded responses of version 1.4, with the kinds that occur in them.
    let expected = "/cell text|/dob/age number|/dob/date text|/email text|/gender text|/id/name text\
        |/id/value null|/id/value text|/location/city text|/location/coordinates/latitude text\
        |/location/coordinates/longitude text|/location/country text|/location/postcode number\
        |/location/postcode text|/location/state text|/location/street/name text\
        |/location/street/number number|/location/timezone/description text\
        |/location/timezone/offset text|/login/md5 text|/login/password text|/login/salt text\
        |/login/sha1 text|/login/sha256 text|/login/username text|/login/uuid text\
        |/name/first text|/name/last text|/name/title text|/nat text|/phone text\
        |/picture/large text|/picture/medium text|/picture/thumbnail text|/registered/age number\
        |/registered/date text";
    assert_eq!(leaves.into_iter().collect::<Vec<_>>().join("|"), expected);
    let info = &page["info"];
    assert_eq!(
        info,
        &serde_json::json!({
            "seed": "shape", "results": 2000, "page": 1, "version": "1.4"
        })
    );
}

#[tokio::test]
async fn a_seed_and_a_page_give_the_same_users_again() {
    let (_folder, stack) = api_stack(ApiOptions::default());
    let first = users(&stack, "?results=5&seed=s&page=2").await;
    assert_eq!(users(&stack, "1.4/?results=5&seed=s&page=2").await, first);
    assert_ne!(users(&stack, "?results=5&seed=s&page=3").await["results"], first["results"]);
    let (one, other) = (users(&stack, "").await, users(&stack, "").await);
    assert_ne!(one["results"], other["results"], "without a seed each request has its own");
    assert_eq!(one["info"]["seed"].as_str().unwrap().len(), 16);
}

#[tokio::test]
async fn queries_are_honoured() {
    let (_folder, stack) = api_stack(ApiOptions::default());
    let page = users(&stack, "?results=50&nat=ir,gb&inc=nat,name,gender&gender=female").await;
    for user in page["results"].as_array().unwrap() {
        assert_eq!(user.as_object().unwrap().len(), 3);
        assert_eq!(user["gender"], "female");
        assert!(["IR", "GB"].contains(&user["nat"].as_str().unwrap()));
    }
    let page = users(&stack, "?exc=login,picture&noinfo").await;
    assert!(page.get("info").is_none());
    assert_eq!(page["results"][0].as_object().unwrap().len(), 10);
    for (query, count) in [("?results=5000", 5000), ("?results=5001", 1), ("?results=none", 1)] {
        let page = users(&stack, query).await;
        assert_eq!(page["results"].as_array().unwrap().len(), count, "{query}");
        assert_eq!(page["info"]["results"], count);
    }
    let unknown = get(&stack, "0.9/").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(unknown.text().await.unwrap(), "Not Found");
    assert_eq!(stack.api().unwrap().counts().users, 50 + 1 + 5002);
}

#[tokio::test]
async fn recorded_files_are_replayed_in_order_and_over_again() {
    let recorded = tempfile::tempdir().unwrap();
    let files = [("b.json", "{\"results\": [1] }"), ("a.json", "not JSON"), ("c.json", "")];
    for (name, body) in files {
        std::fs::write(recorded.path().join(name), body).unwrap();
    }
    std::fs::write(recorded.path().join("notes.txt"), "no response").unwrap();
    let replay = Some(recorded.path().to_owned());
    let (_folder, stack) = api_stack(ApiOptions { replay, ..ApiOptions::default() });
    for (name, body) in [files[1], files[0], files[2], files[1]] {
        let response = get(&stack, "?results=5").await;
        assert_eq!(response.headers()["x-replay-file"], name);
        assert_eq!(response.text().await.unwrap(), body);
    }
    assert_eq!(stack.api().unwrap().counts().requests[&200], 4);

    let folder = tempfile::tempdir().unwrap();
    let empty = ApiOptions { replay: Some(folder.path().to_owned()), ..ApiOptions::default() };
    let error = LocalStack::start(api_options(&folder.path().join("data"), empty)).unwrap_err();
    assert!(error.to_string().contains("holds no *.json file"), "{error}");
}

#[tokio::test]
async fn the_rate_limit_counts_users() {
    let limit = RateLimit { users: 20_000, window: Duration::from_secs(3600) };
    let rate_limit = Some(limit);
    let (_folder, stack) = api_stack(ApiOptions { rate_limit, ..ApiOptions::default() });
    for _ in 0..4 {
        users(&stack, "?results=5000").await;
    }
    let refused = get(&stack, "?results=340").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(!refused.headers().contains_key("retry-after"));
    let body: Value = refused.json().await.unwrap();
    assert!(body["error"].as_str().unwrap().contains("requested 20340 users"), "{body}");
}

#[tokio::test]
async fn faults_come_in_the_order_in_which_they_are_planned() {
    let (_folder, stack) = api_stack(ApiOptions::default());
    let faults = stack.api().unwrap().faults();
    let json = "application/json; charset=utf-8";
    let text = "text/plain; charset=utf-8";
    let html = "text/html; charset=utf-8";
    let cases = [
        (ApiAction::RateLimited { retry_after_seconds: Some(7) }, 429, json, "Whoa"),
        (ApiAction::ApiError, 500, json, "{\"error\":\"Uh oh"),
        (ApiAction::ApiErrorOk, 200, json, "{\"error\":\"Uh oh"),
        (ApiAction::EmptyResults, 200, json, "{\"results\":[],"),
        (ApiAction::NotFound, 404, text, "Not Found"),
        (ApiAction::ServerError, 500, text, "Internal Server Error"),
        (ApiAction::BadGateway, 502, html, "<!DOCTYPE html>"),
        (ApiAction::Unavailable { retry_after_seconds: None }, 503, text, "503"),
        (ApiAction::GatewayTimeout, 504, text, "504"),
        (ApiAction::Html, 200, html, "<!DOCTYPE html>"),
    ];
    for (action, ..) in &cases {
        faults.push(ApiFault::new(action.clone()));
    }
    for (action, status, content_type, start) in cases {
        let response = get(&stack, "").await;
        assert_eq!(response.status().as_u16(), status, "{action:?}");
        assert_eq!(response.headers()["content-type"], content_type, "{action:?}");
        if status == 429 {
            assert_eq!(response.headers()["retry-after"], "7");
        }
        assert!(response.text().await.unwrap().contains(start), "{action:?}");
    }
    users(&stack, "").await;
}

#[tokio::test]
async fn answers_can_be_spoiled_late_and_held() {
    let (_folder, stack) = api_stack(ApiOptions::default());
    let faults = stack.api().unwrap().faults();
    faults.push(ApiFault::new(ApiAction::Truncated));
    faults.push(ApiFault::new(ApiAction::Cut));
    faults.push(ApiFault::new(ApiAction::Delay { milliseconds: 1 }));
    faults.push(ApiFault::new(ApiAction::Hold));
    let truncated = get(&stack, "?results=100").await.text().await.unwrap();
    assert!(truncated.starts_with("{\"results\":[{"));
    assert!(serde_json::from_str::<Value>(&truncated).unwrap_err().is_eof());
    let cut = http().get(format!("{}?results=100", stack.api().unwrap().url())).send().await;
    let is_whole = match cut {
        Ok(response) => response.bytes().await.is_ok(),
        Err(_) => false,
    };
    assert!(!is_whole);
    users(&stack, "").await;
    let (page, ()) = tokio::join!(users(&stack, ""), async {
        faults.wait_held(1).await;
        faults.clear();
    });
    assert_eq!(page["info"]["results"], 1);
}

#[test]
fn a_ratio_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        api_options(folder.path(), ApiOptions { invalid_ratio: 1.5, ..Default::default() });
    let error = LocalStack::start(options).unwrap_err();
    assert!(matches!(error, StackError::Api(_)));
    assert!(error.to_string().contains("1.5"), "{error}");
}
