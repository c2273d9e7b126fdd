//! An answer of the API: no page, or one entry for each of its results, which depends on that result alone: a reject at
//! its place, or a person whose message a sink reads back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline_model::api::{self, Page, PageError};
use pipeline_model::{Person, message};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The answer as far as it has to be known to count.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    results: Option<Vec<&'a RawValue>>,
}

fuzz_target!(|response: &[u8]| {
    let parsed = api::parse_page(response);
    let results =
        serde_json::from_slice::<Answer<'_>>(response).ok().and_then(|answer| answer.results);
    let Page { users } = match parsed {
        Ok(page) => page,
        Err(PageError::Empty) => return assert!(results.is_some_and(|results| results.is_empty())),
        Err(PageError::NotJson(_) | PageError::Api(_) | PageError::NoResults) => return,
    };
    // A bare user has no results.
    assert_eq!(users.len(), results.as_ref().map_or(1, Vec::len));
    let mut rejects = 0;
    for (index, user) in users.iter().enumerate() {
        match user {
            Ok(person) => assert_is_sendable(person),
            Err(reject) => {
                assert_eq!(reject.index, index);
                rejects += 1;
            }
        }
    }
    assert_eq!(users.iter().flatten().count() + rejects, users.len());
    for (user, json) in users.into_iter().zip(results.into_iter().flatten()) {
        let alone = api::parse_page(format!(r#"{{"results":[{}]}}"#, json.get()).as_bytes())
            .expect("a page of one");
        let user = user.map_err(|reject| api::Reject { index: 0, ..reject });
        assert_eq!(alone.users, [user], "its neighbours change what becomes of a user");
    }
});

fn assert_is_sendable(person: &Person) {
    assert!(person.latitude.abs() <= 90.0 && person.longitude.abs() <= 180.0, "{person:?}");
    let mut payload = Vec::new();
    match message::encode(person, &mut payload) {
        Ok(()) => {
            let read = message::decode(&payload).expect("a sink refuses what was written");
            assert_eq!(
                (&*read.name, &*read.gender, &*read.email),
                (&*person.name, &*person.gender, &*person.email)
            );
            assert_eq!(
                (&*read.address, &*read.city, &*read.nation),
                (&*person.address, &*person.city, &*person.nation)
            );
            assert_eq!(read.zip, person.zip.to_string());
            assert_eq!(read.latitude.to_bits(), person.latitude.to_bits());
            assert_eq!(read.longitude.to_bits(), person.longitude.to_bits());
        }
        Err(message::EncodeError::TooLarge { .. }) => {}
        Err(error) => panic!("a user that is no reject can't be written: {error}"),
    }
}
