//! An answer of the API: no page, or one entry for each of its results, which depends on that result alone: a reject at
//! its place, or a message that a sink reads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline_model::api::{Page, PageError, Reject};
use pipeline_model::message;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The answer as far as it has to be known to count.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    results: Option<Vec<&'a RawValue>>,
}

fuzz_target!(|response: &[u8]| {
    let parsed = Page::read(response);
    let results =
        serde_json::from_slice::<Answer<'_>>(response).ok().and_then(|answer| answer.results);
    let page = match parsed {
        Ok(page) => page,
        Err(PageError::Empty) => return assert!(results.is_some_and(|results| results.is_empty())),
        Err(PageError::NotJson(_) | PageError::Api(_) | PageError::NoResults) => return,
    };
    // A bare user has no results.
    assert_eq!(page.user_count(), results.as_ref().map_or(1, Vec::len));
    assert_eq!(page.users().count(), page.user_count());
    for (index, user) in page.users().enumerate() {
        match user {
            Ok(payload) => assert!(payload.len() <= message::PAYLOAD_BYTES_MAX),
            Err(reject) => assert_eq!(reject.index, index),
        }
    }
    for (user, json) in page.users().zip(results.into_iter().flatten()) {
        if let Ok(payload) = user {
            assert_is_read(payload, json);
        }
        let user = user.map_err(|reject| Reject { index: 0, ..reject.clone() });
        // What is no user makes the page go user by user.
        for neighbours in ["", ",0"] {
            let other = format!(r#"{{"results":[{}{neighbours}]}}"#, json.get());
            let other = Page::read(other.as_bytes()).expect("a page");
            let same = other.users().next().expect("a user").map_err(Reject::clone);
            assert_eq!(same, user, "its neighbours change what becomes of a user");
        }
    }
});

/// A sink reads the message, and finds the user's own text in it.
fn assert_is_read(payload: &[u8], json: &RawValue) {
    let person = message::decode(payload).expect("a sink refuses what was written");
    assert!(person.latitude.abs() <= 90.0 && person.longitude.abs() <= 180.0, "{person:?}");
    // What a tree can't hold stands in fields that we do not use.
    let Ok(Value::Object(user)) = serde_json::from_str(json.get()) else { return };
    let location = &user["location"];
    assert_eq!(user["email"], *person.email);
    assert_eq!(user["gender"], *person.gender);
    assert_eq!(location["city"], *person.city);
    assert_eq!(location["country"], *person.nation);
}
