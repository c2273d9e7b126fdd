//! The Kafka message: `Person` → JSON payload, and payload → borrowed fields.
//!
//! The payload is one JSON object of nine fields. The reader also takes what the original Python
//! producer wrote: blanks after `:` and `,`, ASCII `\u` escapes, `zip` as a bare integer of up to
//! 128 bits, and no headers.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Person;

mod fast;

/// The version of the message that this build writes and reads.
pub const SCHEMA_VERSION: &str = "1";
/// Header with [`SCHEMA_VERSION`]. A message without it is of version 1.
pub const HEADER_SCHEMA_VERSION: &str = "schema-version";
/// Header with the id of the ingestor's run that produced the message.
pub const HEADER_RUN_ID: &str = "run-id";
/// The longest payload, in bytes, that the ingestor produces: below the brokers' usual limit of
/// 1 MiB a record batch with room for headers. A user that needs more is a reject.
pub const PAYLOAD_BYTES_MAX: usize = 1_000_000;

/// Why a person can't become a message.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// JSON has no word for NaN or infinity.
    #[error("{field} is {value}, which JSON can't hold")]
    NotFinite {
        /// `latitude` or `longitude`.
        field: &'static str,
        /// The value.
        value: f64,
    },
    /// The payload would pass [`PAYLOAD_BYTES_MAX`].
    #[error("the payload has {bytes} bytes, the limit is {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Length of the payload.
        bytes: usize,
    },
    /// The JSON writer refused.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Replaces the contents of `payload` by the JSON message of `person`: compact, UTF-8, fields in
/// the order of [`Person`].
pub fn encode(person: &Person, payload: &mut Vec<u8>) -> Result<(), EncodeError> {
    payload.clear();
    append(person, payload)
}

/// Appends the JSON message of `person`; after an error there are the same bytes as before.
pub(crate) fn append(person: &Person, payloads: &mut Vec<u8>) -> Result<(), EncodeError> {
    for (field, value) in [("latitude", person.latitude), ("longitude", person.longitude)] {
        if !value.is_finite() {
            return Err(EncodeError::NotFinite { field, value });
        }
    }
    let start = payloads.len();
    let written = serde_json::to_writer(&mut *payloads, person);
    let bytes = payloads.len() - start;
    let error = match written {
        Ok(()) if bytes <= PAYLOAD_BYTES_MAX => return Ok(()),
        Ok(()) => EncodeError::TooLarge { bytes },
        Err(error) => EncodeError::Json(error),
    };
    payloads.truncate(start);
    Err(error)
}

/// A decoded message; text borrows from the payload unless it held escapes.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonRef<'a> {
    /// See [`Person::name`].
    pub name: Cow<'a, str>,
    /// See [`Person::gender`].
    pub gender: Cow<'a, str>,
    /// See [`Person::address`].
    pub address: Cow<'a, str>,
    /// See [`Person::city`].
    pub city: Cow<'a, str>,
    /// See [`Person::nation`].
    pub nation: Cow<'a, str>,
    /// The decimal digits of [`Person::zip`], without leading zeros.
    pub zip: &'a str,
    /// See [`Person::latitude`].
    pub latitude: f64,
    /// See [`Person::longitude`].
    pub longitude: f64,
    /// See [`Person::email`].
    pub email: Cow<'a, str>,
}

/// Why a payload can't become a row: a value, not a failure of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The class of the mistake, for metrics and dead letters.
    pub reason: MalformedReason,
    /// What exactly was wrong, and where; holds none of the payload's values.
    pub detail: String,
}

/// The classes of malformed payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MalformedReason {
    /// The message has no payload (a tombstone) or an empty one.
    Empty,
    /// The payload is no complete JSON value in UTF-8, or is nested too deep.
    NotJson,
    /// The payload is JSON, but not this record: a field is missing, doubled, null or of another
    /// type.
    WrongShape,
    /// `zip` is no integer in 0 ..= 2^128-1.
    BadZip,
}

impl MalformedReason {
    /// Every reason, e.g. to start each counter at zero.
    pub const ALL: [Self; 4] = [Self::Empty, Self::NotJson, Self::WrongShape, Self::BadZip];

    /// The stable name in headers, logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotJson => "not_json",
            Self::WrongShape => "wrong_shape",
            Self::BadZip => "bad_zip",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.code(), self.detail)
    }
}

/// Reads a payload.
///
/// Fields may come in any order; unknown ones are ignored, so that a producer may add a field
/// without breaking readers. All nine must be there, once, and none may be null.
///
/// ```
/// let payload = br#"{"name": "Ms. Zo\u00e9 K", "gender": "female", "address": "1, Rue", "city": "Lyon",
///   "nation": "France", "zip": 340282366920938463463374607431768211455,
///   "latitude": 45.75, "longitude": -4.85, "email": "z@example.com"}"#;
/// let person = pipeline_model::message::decode(payload).unwrap();
/// assert_eq!((person.zip.parse(), &*person.name), (Ok(u128::MAX), "Ms. Zoé K"));
/// ```
pub fn decode(payload: &[u8]) -> Result<PersonRef<'_>, Malformed> {
    match fast::read(payload) {
        Some(person) => Ok(person),
        None => read_any(payload),
    }
}

/// Reads a payload of any form.
fn read_any(payload: &[u8]) -> Result<PersonRef<'_>, Malformed> {
    if payload.is_empty() {
        return Err(malformed(MalformedReason::Empty, "the message has no payload"));
    }
    let wire: Wire<'_> = serde_json::from_slice(payload).map_err(|error| {
        let reason = match error.classify() {
            serde_json::error::Category::Data => MalformedReason::WrongShape,
            _ => MalformedReason::NotJson,
        };
        malformed(reason, without_values(&error))
    })?;
    Ok(PersonRef {
        zip: zip_of_json(wire.zip.get())?,
        name: wire.name,
        gender: wire.gender,
        address: wire.address,
        city: wire.city,
        nation: wire.nation,
        latitude: wire.latitude,
        longitude: wire.longitude,
        email: wire.email,
    })
}

fn malformed(reason: MalformedReason, detail: impl Into<String>) -> Malformed {
    Malformed { reason, detail: detail.into() }
}

/// serde's messages quote the offending text (`invalid type: string "…"`), which may be personal
/// data and of any length; keep what comes before it, and the place.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once('"') {
        Some((kind, _)) => format!("{kind}at line {} column {}", error.line(), error.column()),
        None => text,
    }
}

/// The payload as serde reads it. `zip` stays text: through a 64-bit integer or a float its low
/// digits would be lost.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    gender: Cow<'a, str>,
    #[serde(borrow)]
    address: Cow<'a, str>,
    #[serde(borrow)]
    city: Cow<'a, str>,
    #[serde(borrow)]
    nation: Cow<'a, str>,
    #[serde(borrow)]
    zip: &'a RawValue,
    latitude: f64,
    longitude: f64,
    #[serde(borrow)]
    email: Cow<'a, str>,
}

/// The digits of `zip`, which is a JSON integer or a string of decimal digits.
fn zip_of_json(json: &str) -> Result<&str, Malformed> {
    let quoted = json.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let digits = quoted.unwrap_or(json);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let detail = "zip is neither an integer nor a string of decimal digits";
        return Err(malformed(MalformedReason::BadZip, detail));
    }
    // Leading zeros: in a number JSON forbids them, in a string they are harmless.
    let zeros = digits.bytes().take(digits.len() - 1).take_while(|digit| *digit == b'0').count();
    zip_digits(&digits[zeros..])
        .ok_or_else(|| malformed(MalformedReason::BadZip, "zip is larger than 2^128-1"))
}

/// Decimal digits without leading zeros, if their number has no more than 128 bits. It is never
/// computed: a row holds the digits.
#[inline]
fn zip_digits(digits: &str) -> Option<&str> {
    const MAX: &str = "340282366920938463463374607431768211455";
    let is_within = digits.len() < MAX.len() || digits.len() == MAX.len() && digits <= MAX;
    is_within.then_some(digits)
}

#[cfg(test)]
mod tests;
