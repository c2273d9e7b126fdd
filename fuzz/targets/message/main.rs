//! A payload from Kafka: read, field by field and bit by bit, as a second reader reads it, or refused by both.
//! What was read is what comes back when it is written and read again.

#![no_main]

mod mutate;

use std::borrow::Cow;

use fastrand::Rng;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use pipeline_model::Person;
use pipeline_model::message::{self, EncodeError, MalformedReason};
use serde::Deserialize;
use serde_json::value::RawValue;

fuzz_target!(|payload: &[u8]| {
    let read = match (message::decode(payload), reference(payload)) {
        (Ok(read), Some(expected)) => {
            let texts =
                [&read.name, &read.gender, &read.address, &read.city, &read.nation, &read.email];
            let is_copied = texts.iter().any(|text| matches!(text, Cow::Owned(_)));
            assert!(!is_copied || payload.contains(&b'\\'), "text without escapes was copied");
            let [name, gender, address, city, nation, email] = texts.map(|text| text.to_string());
            let zip = read.zip.parse().expect("zip is no number of 128 bits");
            assert_eq!(read.zip, u128::to_string(&zip), "zip has a second spelling");
            let (latitude, longitude) = (read.latitude, read.longitude);
            let read =
                Person { name, gender, address, city, nation, zip, latitude, longitude, email };
            assert_same(&read, &expected);
            read
        }
        (Err(malformed), None) => {
            assert_eq!(malformed.reason == MalformedReason::Empty, payload.is_empty());
            return;
        }
        (Ok(read), None) => panic!("taken, though it should be refused: {read:?}"),
        (Err(malformed), Some(expected)) => {
            panic!("refused ({malformed}), though it is {expected:?}")
        }
    };
    let mut written = Vec::new();
    match message::encode(&read, &mut written) {
        Ok(()) => assert_same(
            &reference(&written).expect("the second reader refuses what was written"),
            &read,
        ),
        Err(EncodeError::TooLarge { .. }) => {}
        Err(error) => panic!("what was read can't be written: {error}"),
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, size_max: usize, seed: u32| {
    let mut random = Rng::with_seed(seed.into());
    // Now and then byte by byte, for what is no message.
    let mutated =
        (random.u8(..4) > 0).then(|| mutate::message(&data[..size], &mut random)).flatten();
    match mutated.filter(|message| message.len() <= size_max) {
        Some(message) => {
            data[..message.len()].copy_from_slice(message.as_bytes());
            message.len()
        }
        None => fuzzer_mutate(data, size, size_max),
    }
});

/// Equal to the last bit: `-0.0` is not `0.0`.
fn assert_same(left: &Person, right: &Person) {
    assert_eq!(left, right);
    assert_eq!(left.latitude.to_bits(), right.latitude.to_bits(), "{left:?} {right:?}");
    assert_eq!(left.longitude.to_bits(), right.longitude.to_bits(), "{left:?} {right:?}");
}

/// What README.md says a message is, read without any of the decoder's code: text through serde, the numbers through
/// other parsers than the decoder's.
fn reference(payload: &[u8]) -> Option<Person> {
    match serde_json::from_slice::<Message<'_, u128>>(payload) {
        Ok(message) => message.person(Some),
        // A string that borrows has no escapes: digits need none.
        Err(_) => serde_json::from_slice::<Message<'_, &str>>(payload).ok()?.person(|zip| {
            let is_decimal = zip.bytes().all(|byte| byte.is_ascii_digit());
            is_decimal.then(|| zip.parse().ok())?
        }),
    }
}

#[derive(Deserialize)]
struct Message<'a, Zip> {
    name: String,
    gender: String,
    address: String,
    city: String,
    nation: String,
    zip: Zip,
    #[serde(borrow)]
    latitude: &'a RawValue,
    #[serde(borrow)]
    longitude: &'a RawValue,
    email: String,
}

impl<Zip> Message<'_, Zip> {
    fn person(self, zip: impl FnOnce(Zip) -> Option<u128>) -> Option<Person> {
        let Self { name, gender, address, city, nation, email, .. } = self;
        let (latitude, longitude) = (degrees(self.latitude)?, degrees(self.longitude)?);
        Some(Person {
            name,
            gender,
            address,
            city,
            nation,
            zip: zip(self.zip)?,
            latitude,
            longitude,
            email,
        })
    }
}

/// A JSON number through the standard library, which rounds to the nearest double as serde_json is set to.
fn degrees(json: &RawValue) -> Option<f64> {
    let is_number = json.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
    is_number.then(|| json.get().parse().ok())?.filter(|degrees: &f64| degrees.is_finite())
}
