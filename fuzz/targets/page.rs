//! An answer of the API: no page, or one entry for each of its results, which depends on that result alone: a reject at
//! its place, or a message that a sink reads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline_model::api::{Page, PageError, Reject};
use pipeline_model::message;
use serde::Deserialize;
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
            Ok(payload) => assert_is_read(payload),
            Err(reject) => assert_eq!(reject.index, index),
        }
    }
    for (user, json) in page.users().zip(results.into_iter().flatten()) {
        let alone = format!(r#"{{"results":[{}]}}"#, json.get());
        let alone = Page::read(alone.as_bytes()).expect("a page of one");
        let user = user.map_err(|reject| Reject { index: 0, ..reject.clone() });
        let alone = alone.users().next().expect("a page of one").map_err(Reject::clone);
        assert_eq!(alone, user, "its neighbours change what becomes of a user");
    }
});

fn assert_is_read(payload: &[u8]) {
    assert!(payload.len() <= message::PAYLOAD_BYTES_MAX);
    let person = message::decode(payload).expect("a sink refuses what was written");
    assert!(person.latitude.abs() <= 90.0 && person.longitude.abs() <= 180.0, "{person:?}");
}
