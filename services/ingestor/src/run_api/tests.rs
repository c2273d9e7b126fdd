#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::request::{
    BODY_BYTES_MAX, KEY_CHARS_MAX, LIMIT_DEFAULT, SEED_CHARS_MAX, idempotency_key, limit, parse,
};
use super::*;
use crate::config::{PAUSE_MAX, RESULTS, STREAMING_MAX};
use crate::runs::{RUNS_MAX, Requested};
use crate::summary::Counts;

fn contract() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

/// The keys of an object of the contract.
fn keys<'a>(contract: &'a Value, pointer: &str) -> BTreeSet<&'a str> {
    contract.pointer(pointer).unwrap().as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_contract_has_the_bounds_of_the_code() {
    let contract = contract();
    let schema = |name: &str| &contract["components"]["schemas"][name];
    assert_eq!(schema("Results")["minimum"], *RESULTS.start());
    assert_eq!(schema("Results")["maximum"], *RESULTS.end());
    assert_eq!(schema("PauseSeconds")["maximum"], PAUSE_MAX.as_secs());
    assert_eq!(schema("StreamingSeconds")["maximum"], STREAMING_MAX.as_secs());
    assert_eq!(schema("Seed")["maxLength"], SEED_CHARS_MAX);
    let limit = &contract["paths"]["/runs"]["get"]["parameters"][0]["schema"];
    assert_eq!((&limit["maximum"], &limit["default"]), (&RUNS_MAX.into(), &LIMIT_DEFAULT.into()));
    let post = &contract["paths"]["/runs"]["post"];
    assert_eq!(post["parameters"][0]["schema"]["pattern"], format!("^[!-~]{{1,{KEY_CHARS_MAX}}}$"));
    for text in [&post["requestBody"]["description"], &post["responses"]["413"]["description"]] {
        assert!(text.as_str().unwrap().contains(&BODY_BYTES_MAX.to_string()), "{text}");
    }
}

#[test]
fn the_contract_names_every_member() {
    let contract = contract();
    let counts = serde_json::to_value(Counts::default()).unwrap();
    let counted: BTreeSet<&str> = counts.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys(&contract, "/components/schemas/Counts/properties"), counted);
    for schema in ["Run", "Runs", "Parameters", "Counts"] {
        let pointer = format!("/components/schemas/{schema}");
        let required = contract.pointer(&format!("{pointer}/required")).unwrap();
        let required: BTreeSet<&str> =
            required.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(keys(&contract, &format!("{pointer}/properties")), required, "{schema}");
    }
}

#[test]
fn bodies_as_the_contract_says_are_taken() {
    let full = r#"{"results":10,"pause_seconds":0.5,"streaming_seconds":2,"seed":"names"}"#;
    let expected = Requested {
        results: Some(10),
        pause: Some(Duration::from_millis(500)),
        streaming: Some(Duration::from_secs(2)),
        seed: Some("names".to_string()),
    };
    assert_eq!(parse(full.as_bytes()), Ok(expected));
    assert_eq!(parse(b" {} "), Ok(Requested::default()));
    for body in [
        r#"{"results":1}"#,
        r#"{"results":5000.0}"#,
        r#"{"results":5e3}"#,
        r#"{"pause_seconds":0}"#,
        r#"{"pause_seconds":-0.0}"#,
        r#"{"pause_seconds":86400}"#,
        r#"{"pause_seconds":1e-320}"#,
        r#"{"streaming_seconds":2678400}"#,
        r#"{"seed":"\u0000 é 🦀"}"#,
    ] {
        assert!(parse(body.as_bytes()).is_ok(), "{body}");
    }
}

#[test]
fn each_mistake_in_a_body_is_named_with_its_place() {
    for (body, pointer, expected) in [
        ("", "#", "expected a JSON object"),
        ("null", "#", "expected a JSON object"),
        ("[]", "#", "expected a JSON object"),
        ("\"run\"", "#", "expected a JSON object"),
        ("{", "#", "expected a JSON object"),
        ("{}{}", "#", "trailing"),
        ("{'results':1}", "#", "expected a JSON object"),
        ("\u{feff}{}", "#", "expected a JSON object"),
        (r#"{"seed":"\ud800"}"#, "#", "expected a JSON object"),
        (r#"{"results":1e999}"#, "#", "number out of range"),
        (r#"{"results":0}"#, "#/results", "1 to 5000"),
        (r#"{"results":5001}"#, "#/results", "1 to 5000"),
        (r#"{"results":-1}"#, "#/results", "1 to 5000"),
        (r#"{"results":1.5}"#, "#/results", "1 to 5000"),
        (r#"{"results":65537}"#, "#/results", "1 to 5000"),
        (r#"{"results":18446744073709551617}"#, "#/results", "1 to 5000"),
        (r#"{"results":"1"}"#, "#/results", "1 to 5000"),
        (r#"{"results":true}"#, "#/results", "1 to 5000"),
        (r#"{"results":null}"#, "#/results", "1 to 5000"),
        (r#"{"results":[1]}"#, "#/results", "1 to 5000"),
        (r#"{"pause_seconds":-0.1}"#, "#/pause_seconds", "0 to 86400"),
        (r#"{"pause_seconds":86400.5}"#, "#/pause_seconds", "0 to 86400"),
        (r#"{"pause_seconds":"10"}"#, "#/pause_seconds", "0 to 86400"),
        (r#"{"pause_seconds":1e300}"#, "#/pause_seconds", "0 to 86400"),
        (r#"{"streaming_seconds":2678401}"#, "#/streaming_seconds", "0 to 2678400"),
        (r#"{"streaming_seconds":null}"#, "#/streaming_seconds", "0 to 2678400"),
        (r#"{"seed":""}"#, "#/seed", "1 to 256 characters"),
        (r#"{"seed":7}"#, "#/seed", "1 to 256 characters"),
        (r#"{"result":1}"#, "#/result", "`results`"),
        (r#"{"a/b~c":1}"#, "#/a~1b~0c", "`results`"),
        (r#"{"results":1,"results":1}"#, "#/results", "at most once"),
    ] {
        let mistakes = parse(body.as_bytes()).expect_err(body);
        assert_eq!((mistakes.len(), mistakes[0].pointer.as_str()), (1, pointer), "{body}");
        assert!(mistakes[0].detail.contains(expected), "{body}: {mistakes:?}");
    }
    let seed = "é".repeat(SEED_CHARS_MAX);
    assert!(parse(format!(r#"{{"seed":"{seed}"}}"#).as_bytes()).is_ok());
    assert!(parse(format!(r#"{{"seed":"{seed}x"}}"#).as_bytes()).is_err());
    assert!(parse(&[b"{\"seed\":\"", &[0xff][..], b"\"}"].concat()).is_err());
    let deep = "[".repeat(BODY_BYTES_MAX);
    assert!(parse(format!(r#"{{"seed":{deep}"#).as_bytes()).is_err());
}

#[test]
fn all_mistakes_of_a_body_come_at_once() {
    let body = br#"{"results":0,"pause_seconds":-1,"streaming_seconds":"","seed":"","more":1}"#;
    let mistakes = parse(body).unwrap_err();
    let pointers: Vec<&str> = mistakes.iter().map(|mistake| mistake.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        ["#/results", "#/pause_seconds", "#/streaming_seconds", "#/seed", "#/more"]
    );
}

#[test]
fn limits_are_plain_numbers_in_range() {
    for (query, expected) in
        [("", LIMIT_DEFAULT), ("limit=1", 1), ("limit=1000", RUNS_MAX), ("%6Cimit=0020", 20)]
    {
        assert_eq!(limit(query).unwrap(), expected, "{query}");
    }
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=",
        "limit",
        "limit=1.0",
        "limit=%2B1",
        "limit=+1",
        "limit=ten",
        "limit=1&limit=2",
        "limt=1",
        "limit=1&page=2",
        "limit=99999999999999999999",
        "%FF=1",
    ] {
        assert!(limit(query).is_err(), "{query}");
    }
}

#[test]
fn keys_are_printable_and_bounded() {
    let headers = |values: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("idempotency-key", HeaderValue::from_bytes(value).unwrap());
        }
        headers
    };
    let longest = "k".repeat(KEY_CHARS_MAX);
    assert_eq!(idempotency_key(&headers(&[])).unwrap(), None);
    for key in ["scheduled__2026-11-02T01:00:00+00:00/1", "\"quoted\"", longest.as_str()] {
        let taken = idempotency_key(&headers(&[key.as_bytes()])).unwrap();
        assert_eq!(taken.as_deref(), Some(key));
    }
    let too_long = "k".repeat(KEY_CHARS_MAX + 1);
    for values in [
        &[b"" as &[u8]] as &[&[u8]],
        &[b"two words"],
        &[b"tab\there"],
        &["é".as_bytes()],
        &[b"\xff"],
        &[too_long.as_bytes()],
        &[b"one", b"two"],
        &[b"same", b"same"],
    ] {
        assert!(idempotency_key(&headers(values)).is_err(), "{values:?}");
    }
}
