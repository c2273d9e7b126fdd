#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

const VALID: &str = r#"{"name":"n","gender":"g","address":"a","city":"c","nation":"x","zip":7,"latitude":1.5,"longitude":-2.5,"email":"e"}"#;

fn reason_of(payload: impl AsRef<[u8]>) -> &'static str {
    decode(payload.as_ref()).unwrap_err().reason.code()
}

#[test]
fn each_malformed_payload_has_its_reason() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases = [
        (String::new(), "empty"),
        ("null".to_owned(), "wrong_shape"),
        ("[]".to_owned(), "wrong_shape"),
        ("{}".to_owned(), "wrong_shape"),
        (VALID[..VALID.len() - 1].to_owned(), "not_json"),
        (format!("{VALID}x"), "not_json"),
        (nested.clone(), "wrong_shape"),
        (VALID.replace('7', &nested), "bad_zip"),
        (VALID.replace(r#","email":"e""#, ""), "wrong_shape"),
        (VALID.replace(r#""e""#, "null"), "wrong_shape"),
        (VALID.replace("1.5", r#""1.5""#), "wrong_shape"),
        (VALID.replace("1.5", "1e999"), "not_json"),
        (VALID.replace("1.5", "NaN"), "not_json"),
        (VALID.replacen('{', r#"{"email":"f","#, 1), "wrong_shape"),
        (VALID.replace('7', "-7"), "bad_zip"),
        (VALID.replace('7', "7.0"), "bad_zip"),
        (VALID.replace('7', "7e3"), "bad_zip"),
        (VALID.replace('7', "07"), "not_json"),
        (VALID.replace('7', r#""""#), "bad_zip"),
        (VALID.replace('7', r#""+7""#), "bad_zip"),
        (VALID.replace('7', "340282366920938463463374607431768211456"), "bad_zip"),
        (VALID.replace('7', r#""340282366920938463463374607431768211456""#), "bad_zip"),
        (VALID.replace('7', &"9".repeat(5_000_000)), "bad_zip"),
    ];
    for (payload, reason) in cases {
        let shown: String = payload.chars().take(150).collect();
        assert_eq!(reason_of(&payload), reason, "{shown}");
    }
    assert_eq!(reason_of(VALID.replace("\"e\"", "\"\u{0}\"")), "not_json");
    assert_eq!(reason_of(b"{\"name\":\"\xff\"}"), "not_json");
    assert_eq!(reason_of(VALID.replace("\"e\"", r#""\ud800""#)), "not_json");
}

#[test]
fn zip_is_exact_as_an_integer_and_as_text() {
    let padded =
        decode(VALID.replace('7', "\"007\"").as_bytes()).map(|person| person.zip.to_owned());
    assert_eq!(padded.as_deref(), Ok("7"));
    for zip in [0, 1, u128::from(u64::MAX) + 1, 2_u128.pow(53) + 1, u128::MAX - 1, u128::MAX] {
        let number = VALID.replace('7', &zip.to_string());
        let text = VALID.replace('7', &format!("\"{zip}\""));
        assert_eq!(decode(number.as_bytes()).unwrap().zip, zip.to_string());
        assert_eq!(decode(text.as_bytes()).unwrap().zip, zip.to_string());
    }
}

#[test]
fn what_the_python_producer_wrote_is_read() {
    let payload = br#"{"name": "Mr. \u0627\u062d\u0633\u0627\u0646 \ud83d\ude00", "gender": "male", "address": "4193, \"x\"", "city": "c", "nation": "Iran", "zip": 215102520294325371701120351969351396188, "latitude": 33.9747, "longitude": -71.3897, "email": "e"}"#;
    let person = decode(payload).unwrap();
    assert_eq!(person.name, "Mr. احسان 😀");
    assert_eq!(person.zip, crate::zip_of_postcode("752").to_string());
    assert_eq!(person.address, "4193, \"x\"");
}

#[test]
fn unknown_fields_are_ignored() {
    let payload = VALID.replacen('{', r#"{"phone":{"a":[1,null]},"#, 1);
    assert_eq!(decode(payload.as_bytes()).unwrap(), decode(VALID.as_bytes()).unwrap());
}

#[test]
fn the_detail_names_the_place_and_keeps_the_value_to_itself() {
    let malformed = decode(VALID.replace("1.5", r#""secret""#).as_bytes()).unwrap_err();
    assert!(malformed.detail.contains("line 1 column"), "{malformed}");
    assert!(!malformed.detail.contains("secret"), "{malformed}");
}

#[test]
fn a_person_that_json_cannot_hold_is_refused() {
    let person = Person {
        name: "n".into(),
        gender: String::new(),
        address: String::new(),
        city: String::new(),
        nation: String::new(),
        zip: 0,
        latitude: f64::NAN,
        longitude: 0.0,
        email: String::new(),
    };
    let mut payload = Vec::new();
    assert!(matches!(
        encode(&person, &mut payload),
        Err(EncodeError::NotFinite { field: "latitude", .. })
    ));
    let person = Person { latitude: 0.0, name: "x".repeat(PAYLOAD_BYTES_MAX), ..person };
    assert!(matches!(encode(&person, &mut payload), Err(EncodeError::TooLarge { .. })));
}

prop_compose! {
    /// Anybody, with coordinates of few and of many digits.
    pub(super) fn people()(
        text in prop::array::uniform6(any::<String>()),
        zip: u128,
        latitude in (-900_000..=900_000).prop_map(|number| f64::from(number) / 10_000.0),
        longitude in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
    ) -> Person {
        let [name, gender, address, city, nation, email] = text;
        Person { name, gender, address, city, nation, zip, latitude, longitude, email }
    }
}

proptest! {
    #[test]
    fn encode_then_decode_is_the_identity(person in people()) {
        let mut payload = b"left over".to_vec();
        encode(&person, &mut payload).unwrap();
        let decoded = decode(&payload).unwrap();
        prop_assert_eq!(&person.name, &decoded.name);
        prop_assert_eq!(&person.gender, &decoded.gender);
        prop_assert_eq!(&person.address, &decoded.address);
        prop_assert_eq!(&person.city, &decoded.city);
        prop_assert_eq!(&person.nation, &decoded.nation);
        prop_assert_eq!(&person.email, &decoded.email);
        prop_assert_eq!(person.zip.to_string(), decoded.zip);
        prop_assert_eq!(person.latitude.to_bits(), decoded.latitude.to_bits());
        prop_assert_eq!(person.longitude.to_bits(), decoded.longitude.to_bits());
    }

    #[test]
    fn decode_never_panics(payload: Vec<u8>, cut in 0..VALID.len(), byte: u8) {
        let _ = decode(&payload);
        let mut mutated = VALID.as_bytes().to_vec();
        mutated[cut] = byte;
        let _ = decode(&mutated);
    }
}
