#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::*;
use crate::message::{PAYLOAD_BYTES_MAX, PersonRef};

type PersonCheck = fn(&PersonRef<'_>) -> bool;
type ErrorCheck = fn(&PageError) -> bool;

fn user() -> Value {
    json!({
        "gender": "female",
        "name": {"title": "Ms", "first": "Zoé", "last": "O'Neil"},
        "location": {
            "street": {"number": 7, "name": "Rue  Haute "},
            "city": "Lyon", "country": "France", "postcode": 69001,
            "coordinates": {"latitude": "45.7500", "longitude": "-4.8500"},
        },
        "email": "zoe@example.com",
    })
}

/// The user with the value at `pointer` replaced, or removed when `value` is `None`.
fn user_with(pointer: &str, value: Option<Value>) -> Value {
    let mut user = user();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = user.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(key.to_owned(), value),
        None => parent.remove(key),
    };
    user
}

fn parse_one(user: &Value) -> Result<Vec<u8>, Reject> {
    let page = Page::read(json!({ "results": [user] }).to_string().as_bytes()).unwrap();
    page.users().next().unwrap().map(<[u8]>::to_vec).map_err(Reject::clone)
}

#[test]
fn a_user_becomes_a_person_with_its_text_kept_as_it_is() {
    let message = parse_one(&user()).unwrap();
    let person = message::decode(&message).unwrap();
    assert_eq!(person.name, "Ms. Zoé O'Neil");
    assert_eq!(person.address, "7, Rue  Haute ");
    assert_eq!(person.nation, "France");
    assert_eq!(person.zip, zip_of_postcode("69001").to_string());
    assert_eq!((person.latitude, person.longitude), (45.75, -4.85));
}

#[test]
fn fields_of_more_than_one_type_are_read_by_their_text() {
    let cases: [(&str, Value, PersonCheck); 7] = [
        ("/location/postcode", json!("0301"), |p| p.zip == zip_of_postcode("0301").to_string()),
        ("/location/postcode", json!("W9C 0Z6"), |p| {
            p.zip == zip_of_postcode("W9C 0Z6").to_string()
        }),
        ("/location/street", json!("4330 reijolankatu"), |p| p.address == "4330 reijolankatu"),
        ("/location/street/number", json!("12B"), |p| p.address == "12B, Rue  Haute "),
        ("/location/coordinates/latitude", json!(-90), |p| p.latitude == -90.0),
        ("/location/coordinates/latitude", json!(12.5), |p| p.latitude == 12.5),
        ("/location/city", json!("a\"b\\c\u{200c}"), |p| p.city == "a\"b\\c\u{200c}"),
    ];
    for (pointer, value, holds) in cases {
        let message = parse_one(&user_with(pointer, Some(value.clone()))).unwrap();
        let person = message::decode(&message).unwrap();
        assert!(holds(&person), "{pointer} = {value}: {person:?}");
    }
}

#[test]
fn each_mistake_has_its_reason_and_names_its_field() {
    let cases = [
        ("/email", None, "missing_field", "email"),
        ("/email", Some(Value::Null), "missing_field", "email"),
        ("/email", Some(json!(5)), "wrong_type", "email"),
        ("/name", Some(json!("Zoé")), "wrong_type", "name"),
        ("/name/first", None, "missing_field", "name.first"),
        ("/location/country", None, "missing_field", "location.country"),
        ("/location/street", Some(json!(3)), "wrong_type", "location.street"),
        ("/location/street/name", None, "missing_field", "location.street.name"),
        ("/location/postcode", Some(json!(1.5)), "wrong_type", "location.postcode"),
        ("/location/coordinates", None, "missing_field", "location.coordinates"),
        (
            "/location/coordinates/latitude",
            Some(json!("north")),
            "bad_coordinate",
            "location.coordinates.latitude",
        ),
        (
            "/location/coordinates/latitude",
            Some(json!("NaN")),
            "bad_coordinate",
            "location.coordinates.latitude",
        ),
        (
            "/location/coordinates/longitude",
            Some(json!("inf")),
            "bad_coordinate",
            "location.coordinates.longitude",
        ),
        (
            "/location/coordinates/latitude",
            Some(json!("90.0001")),
            "out_of_range",
            "location.coordinates.latitude",
        ),
        (
            "/location/coordinates/longitude",
            Some(json!(-180.5)),
            "out_of_range",
            "location.coordinates.longitude",
        ),
    ];
    for (pointer, value, reason, field) in cases {
        let reject = parse_one(&user_with(pointer, value.clone())).unwrap_err();
        assert_eq!((reject.reason.code(), reject.field), (reason, field), "{pointer} = {value:?}");
    }
    assert_eq!(parse_one(&json!([])).unwrap_err().reason, RejectReason::NotAnObject);
}

#[test]
fn a_key_that_stands_twice_is_a_reject() {
    let doubled = user().to_string().replacen('{', r#"{"email": "other@example.com","#, 1);
    let page = Page::read(format!(r#"{{"results": [{doubled}]}}"#).as_bytes()).unwrap();
    let reject = page.users().next().unwrap().unwrap_err();
    assert_eq!(
        (reject.reason, reject.detail.as_str()),
        (RejectReason::WrongType, "the user has a field twice")
    );
}

#[test]
fn text_that_json_can_t_hold_is_a_reject_of_its_user() {
    let broken = user().to_string().replace("zoe@example.com", r"\ud800");
    let page = Page::read(format!(r#"{{"results": [{broken}]}}"#).as_bytes()).unwrap();
    let reject = page.users().next().unwrap().unwrap_err();
    assert_eq!(
        (reject.reason, reject.detail.as_str()),
        (RejectReason::WrongType, "the user holds a number or text that can't be read")
    );
}

#[test]
fn one_bad_user_does_not_cost_the_others() {
    let too_large = user_with("/email", Some("x".repeat(PAYLOAD_BYTES_MAX).into()));
    let off_the_globe = user_with("/location/coordinates/latitude", Some(json!(91)));
    // Those that can be read, but not sent, and with them one that can't be read.
    for (second, third) in [(&too_large, &off_the_globe), (&off_the_globe, &json!(7))] {
        let response = json!({"results": [user(), second, third, user()]}).to_string();
        let page = Page::read(response.as_bytes()).unwrap();
        let alone = parse_one(&user()).unwrap();
        let outcomes: Vec<_> =
            page.users().map(|user| user.map_err(|reject| reject.index)).collect();
        assert_eq!(outcomes, [Ok(&*alone), Err(1), Err(2), Ok(&*alone)]);
        assert_eq!(page.user_count(), 4);
    }
}

#[test]
fn a_response_that_is_no_page_is_an_error_of_the_request() {
    let cases: [(&[u8], ErrorCheck); 12] = [
        (b"", |error| matches!(error, PageError::NotJson(_))),
        (b"<html>502</html>", |error| matches!(error, PageError::NotJson(_))),
        (br#"{"results": [{"gender""#, |error| matches!(error, PageError::NotJson(_))),
        (b"{\"results\": [\"\xff\"]}", |error| matches!(error, PageError::NotJson(_))),
        (br#"{"error": "Uh oh"}"#, |error| *error == PageError::Api("Uh oh".into())),
        (br#"{"results": [], "info": {"results": 1}}"#, |error| *error == PageError::Empty),
        (br#"{"info": {}}"#, |error| *error == PageError::NoResults),
        (br#"{"results": {}}"#, |error| *error == PageError::NoResults),
        (b"[1]", |error| *error == PageError::NoResults),
        (b" [[{}], null, null, null]", |error| *error == PageError::NoResults),
        (b"[1", |error| matches!(error, PageError::NotJson(_))),
        (b"{\"info\": \"\xff\", \"results\": [1]}", |error| matches!(error, PageError::NotJson(_))),
    ];
    for (response, is_expected) in cases {
        let error = Page::read(response).unwrap_err();
        assert!(is_expected(&error), "{:?}: {error:?}", String::from_utf8_lossy(response));
    }
}

#[test]
fn a_bare_user_is_a_page_of_one() {
    let page = Page::read(user().to_string().as_bytes()).unwrap();
    assert_eq!(page.users().next().unwrap(), Ok(&*parse_one(&user()).unwrap()));
    assert_eq!(page.user_count(), 1);
}
