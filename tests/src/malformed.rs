//! Messages that can't become rows.

use crate::oracle::Sent;
use crate::scenario::NewMessage;

/// A valid message as the usual Python producers write it.
pub const PYTHON: &str = r#"{"name": "Mr. \u0627\u062d\u0633\u0627\u0646 O'Neil", "gender": "male", "address": "4193, \"x\"", "city": "c", "nation": "Iran", "zip": 340282366920938463463374607431768211455, "latitude": 33.9747, "longitude": -71.0, "email": "e"}"#;

/// Messages of every kind that can't become a row, for partition 0, and the reason that each has.
pub fn malformed() -> Vec<(NewMessage, &'static str)> {
    let mut cases: Vec<_> = [
        (&b""[..], "empty"),
        (b"null", "wrong_shape"),
        (b"{\"name\": \"cut", "not_json"),
        (b"\xff\xfe{}", "not_json"),
        (b"[1, 2]", "wrong_shape"),
    ]
    .into_iter()
    .map(|(payload, reason)| (NewMessage::raw(0, payload), reason))
    .collect();
    let changed = [
        ("33.9747", "\"33.9747\"", "wrong_shape"),
        ("211455,", "211456,", "bad_zip"),
        ("340282366920938463463374607431768211455", "-1", "bad_zip"),
        ("\"city\": \"c\"", "\"city\": null", "wrong_shape"),
        ("\"city\": \"c\", ", "", "wrong_shape"),
        ("\"city\": \"c\"", "\"city\": \"c\", \"city\": \"d\"", "wrong_shape"),
    ];
    cases.extend(
        changed
            .map(|(from, to, reason)| (NewMessage::raw(0, PYTHON.replacen(from, to, 1)), reason)),
    );
    let tombstone = NewMessage { payload: None, ..NewMessage::raw(0, "") };
    let headers =
        vec![("schema-version".to_owned(), "2".to_owned()), ("mine".to_owned(), "kept".to_owned())];
    let future = NewMessage { headers, ..NewMessage::raw(0, PYTHON) };
    let large = NewMessage::raw(0, format!("{{\"name\": \"{}\"}}", "x".repeat(600_000)));
    cases.extend([
        (tombstone, "empty"),
        (future, "unsupported_schema_version"),
        (large, "wrong_shape"),
    ]);
    cases
}

/// Whether a message should become a row.
pub fn is_valid(sent: &Sent) -> bool {
    sent.header("schema-version").is_none_or(|version| version == "1")
        && sent
            .payload
            .as_deref()
            .is_some_and(|payload| pipeline_model::message::decode(payload).is_ok())
}
