//! The wire format and the Parquet schema, frozen: to change a golden file is a decision.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use pipeline_model::{api, schema};

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The golden file was written by `tests/transform.py`, the original producer's transform in
/// Python, from the same responses: two implementations agree byte for byte.
#[test]
fn recorded_responses_become_the_messages_that_python_makes_of_them() {
    let mut responses: Vec<_> = std::fs::read_dir(repository("tests/data/randomuser"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    responses.sort();
    let (mut messages, mut rejects) = (Vec::new(), Vec::new());
    for response in &responses {
        for user in api::Page::read(&std::fs::read(response).unwrap()).unwrap().users() {
            match user {
                Ok(payload) => messages.push(String::from_utf8(payload.to_vec()).unwrap()),
                Err(reject) => rejects.push((reject.reason.code(), reject.field)),
            }
        }
    }
    let golden = include_str!("golden/recorded_messages.ndjson");
    assert_eq!(messages, golden.lines().collect::<Vec<_>>());
    // Version 1.1 of the API knows no country.
    assert_eq!(rejects, [("missing_field", "location.country"); 2]);
}

#[test]
fn the_schema_is_the_frozen_one() {
    let lines: Vec<String> = schema::schema()
        .fields()
        .iter()
        .map(|field| {
            let id = &field.metadata()["PARQUET:field_id"];
            let nullable = if field.is_nullable() { "nullable" } else { "required" };
            format!("{id} {} {} {nullable}", field.name(), field.data_type())
        })
        .collect();
    assert_eq!(lines, include_str!("golden/schema.txt").lines().collect::<Vec<_>>());
}
