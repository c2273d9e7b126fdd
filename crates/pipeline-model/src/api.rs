//! A page of the randomuser.me API → messages and rejects.
//!
//! A page that is no page is a [`PageError`]: the request failed and should be repeated. A user
//! that can't become a message is a [`Reject`]: repeating would not help, and the page goes on.

mod scalar;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::scalar::{Degrees, Label, Street};
use crate::message::{self, EncodeError};
use crate::{Person, zip_of_postcode};

/// What one API response becomes: for each user, in the response's order, a message or a reject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Payload behind payload.
    payloads: Vec<u8>,
    /// Where each user's payload stands.
    users: Vec<Result<Range<usize>, Reject>>,
}

/// Why a response is no page. Each is a failure of the request: worth a retry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Not JSON, or cut off.
    #[error("the response is not JSON: {0}")]
    NotJson(String),
    /// The API's own `{"error": "…"}`.
    #[error("the API answered with an error: {0}")]
    Api(String),
    /// JSON, but without an array `results`.
    #[error("the response has no array `results`")]
    NoResults,
    /// `"results": []`, which the API is known to send when it is in trouble.
    #[error("the response holds no users although it was asked for some")]
    Empty,
}

/// A user that can't become a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Position in the page's `results`, from 0.
    pub index: usize,
    /// The class of the mistake.
    pub reason: RejectReason,
    /// Path of the field, e.g. `location.coordinates.latitude`; empty for the user as a whole.
    pub field: &'static str,
    /// What was wrong, in words.
    pub detail: String,
}

/// The classes of rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// The user is no JSON object.
    NotAnObject,
    /// A field is absent or null.
    MissingField,
    /// A field has another JSON type than the API documents.
    WrongType,
    /// A coordinate is no finite decimal number.
    BadCoordinate,
    /// A coordinate lies outside the globe.
    OutOfRange,
    /// The message would pass the limit of [`PAYLOAD_BYTES_MAX`](crate::message::PAYLOAD_BYTES_MAX).
    TooLarge,
}

impl RejectReason {
    /// Every reason, e.g. to start each counter at zero.
    pub const ALL: [Self; 6] = [
        Self::NotAnObject,
        Self::MissingField,
        Self::WrongType,
        Self::BadCoordinate,
        Self::OutOfRange,
        Self::TooLarge,
    ];

    /// The stable name in logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotAnObject => "not_an_object",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::BadCoordinate => "bad_coordinate",
            Self::OutOfRange => "out_of_range",
            Self::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}: {}: {} {}", self.index, self.reason.code(), self.field, self.detail)
    }
}

impl Page {
    /// Reads a response of any API version.
    ///
    /// Beside the page (`{"results": […], "info": {…}}`) it takes one bare user object, the form in
    /// which responses are often recorded.
    ///
    /// ```
    /// use pipeline_model::api::{Page, PageError};
    /// assert_eq!(Page::read(br#"{"results": []}"#), Err(PageError::Empty));
    /// let page = Page::read(br#"{"results": [7]}"#).unwrap();
    /// let user = page.users().next().unwrap();
    /// assert_eq!(user.unwrap_err().reason.code(), "not_an_object");
    /// ```
    pub fn read(response: &[u8]) -> Result<Self, PageError> {
        let response =
            std::str::from_utf8(response).map_err(|error| PageError::NotJson(error.to_string()))?;
        if !response.trim_start().starts_with('{') {
            // serde takes an array for an object, by the order of its fields.
            return Err(match serde_json::from_str::<IgnoredAny>(response) {
                Ok(_) => PageError::NoResults,
                Err(error) => PageError::NotJson(error.to_string()),
            });
        }
        match serde_json::from_str(response) {
            Ok(Envelope::<User<'_>> { results: Some(users), error: None, .. }) => {
                Self::from_people(users.into_iter().map(User::into_person))
            }
            // A mistake in one user must not cost the others: each stays raw text at first.
            _ => Self::from_people(raw_users(response)?.into_iter().map(parse_user)),
        }
    }

    fn from_people(people: impl Iterator<Item = Result<Person, Fault>>) -> Result<Self, PageError> {
        let mut payloads = Vec::new();
        let users: Vec<_> = people
            .enumerate()
            .map(|(index, person)| {
                let start = payloads.len();
                person
                    .and_then(|person| Ok(message::append(&person, &mut payloads)?))
                    .map_err(|fault| fault.at(index))?;
                Ok(start..payloads.len())
            })
            .collect();
        match users.is_empty() {
            true => Err(PageError::Empty),
            false => Ok(Self { payloads, users }),
        }
    }

    /// How many users there are, rejects included; never 0.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// For each user, in the response's order, the payload of its message, or its reject.
    pub fn users(&self) -> impl Iterator<Item = Result<&[u8], &Reject>> {
        self.users.iter().map(|user| user.as_ref().map(|range| &self.payloads[range.clone()]))
    }
}

/// The JSON of each user of a response, or of whatever stands in a user's place.
fn raw_users(response: &str) -> Result<Vec<&str>, PageError> {
    let envelope: Envelope<'_, &RawValue> =
        serde_json::from_str(response).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => PageError::NoResults,
            _ => PageError::NotJson(error.to_string()),
        })?;
    if let Some(error) = envelope.error {
        return Err(PageError::Api(
            error.as_str().map_or_else(|| error.to_string(), str::to_owned),
        ));
    }
    match envelope.results {
        Some(results) => Ok(results.into_iter().map(RawValue::get).collect()),
        None if envelope.name.is_some() && envelope.location.is_some() => Ok(vec![response]),
        None => Err(PageError::NoResults),
    }
}

#[derive(Deserialize)]
struct Envelope<'a, U> {
    results: Option<Vec<U>>,
    error: Option<Value>,
    /// Present in a bare user only, like `location`.
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    location: Option<&'a RawValue>,
}

fn parse_user(json: &str) -> Result<Person, Fault> {
    if let Ok(user) = serde_json::from_str::<User<'_>>(json) {
        return user.into_person();
    }
    // Off the common path: find out which field is to blame, by walking the user as a tree.
    Err(match serde_json::from_str(json) {
        Ok(Value::Object(user)) => diagnose(&user),
        Err(_) if json.starts_with('{') => {
            let detail = "the user holds a number or text that can't be read";
            Fault::new(RejectReason::WrongType, "", detail)
        }
        _ => Fault::new(RejectReason::NotAnObject, "", "the user is no JSON object"),
    })
}

/// The fields that we use, as every API version since 1.3 sends them.
#[derive(Deserialize)]
struct User<'a> {
    #[serde(borrow)]
    gender: Cow<'a, str>,
    #[serde(borrow)]
    name: Name<'a>,
    #[serde(borrow)]
    location: Location<'a>,
    #[serde(borrow)]
    email: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Name<'a> {
    #[serde(borrow)]
    title: Cow<'a, str>,
    #[serde(borrow)]
    first: Cow<'a, str>,
    #[serde(borrow)]
    last: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Location<'a> {
    #[serde(borrow)]
    street: Street<'a>,
    #[serde(borrow)]
    city: Cow<'a, str>,
    #[serde(borrow)]
    country: Cow<'a, str>,
    #[serde(borrow)]
    postcode: Label<'a>,
    #[serde(borrow)]
    coordinates: Coordinates<'a>,
}

#[derive(Deserialize)]
struct Coordinates<'a> {
    #[serde(borrow)]
    latitude: Degrees<'a>,
    #[serde(borrow)]
    longitude: Degrees<'a>,
}

impl User<'_> {
    fn into_person(self) -> Result<Person, Fault> {
        let Self { gender, name, location, email } = self;
        let Coordinates { latitude, longitude } = location.coordinates;
        Ok(Person {
            latitude: check_coordinate("location.coordinates.latitude", latitude, 90.0)?,
            longitude: check_coordinate("location.coordinates.longitude", longitude, 180.0)?,
            name: [&name.title, ". ", &name.first, " ", &name.last].concat(),
            gender: gender.into_owned(),
            address: match location.street {
                Street::Parts { number, name } => [&number.0, ", ", &name].concat(),
                Street::Whole(street) => street.into_owned(),
            },
            city: location.city.into_owned(),
            nation: location.country.into_owned(),
            zip: zip_of_postcode(&location.postcode.0),
            email: email.into_owned(),
        })
    }
}

fn check_coordinate(field: &'static str, degrees: Degrees<'_>, limit: f64) -> Result<f64, Fault> {
    let bad = |detail: String| Err(Fault::new(RejectReason::BadCoordinate, field, detail));
    let degrees = match degrees {
        Degrees::Number(degrees) => degrees,
        Degrees::Text(text) => match text.trim().parse() {
            Ok(degrees) => degrees,
            Err(_) => return bad("is no decimal number".to_owned()),
        },
    };
    if !degrees.is_finite() {
        bad(format!("is {degrees}, not a finite number"))
    } else if degrees.abs() > limit {
        let detail = format!("is {degrees}, outside -{limit} ..= {limit}");
        Err(Fault::new(RejectReason::OutOfRange, field, detail))
    } else {
        Ok(degrees)
    }
}

/// A reject that does not know its user's index yet.
struct Fault {
    reason: RejectReason,
    field: &'static str,
    detail: String,
}

impl Fault {
    fn new(reason: RejectReason, field: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, field, detail: detail.into() }
    }

    fn at(self, index: usize) -> Reject {
        Reject { index, reason: self.reason, field: self.field, detail: self.detail }
    }
}

impl From<EncodeError> for Fault {
    /// Coordinates were checked before: of these errors only [`EncodeError::TooLarge`] is known.
    fn from(error: EncodeError) -> Self {
        let (reason, field) = match &error {
            EncodeError::NotFinite { field, .. } => (RejectReason::BadCoordinate, *field),
            EncodeError::TooLarge { .. } => (RejectReason::TooLarge, ""),
            EncodeError::Json(_) => (RejectReason::WrongType, ""),
        };
        Self::new(reason, field, error.to_string())
    }
}

/// Names the first field, in the record's order, that keeps a user from being read.
fn diagnose(user: &Map<String, Value>) -> Fault {
    const TEXT: fn(&Value) -> bool = Value::is_string;
    const LABEL: fn(&Value) -> bool = |value| value.is_string() || value.is_i64() || value.is_u64();
    const DEGREES: fn(&Value) -> bool = |value| value.is_string() || value.is_number();
    const OBJECT: fn(&Value) -> bool = Value::is_object;
    const STREET: fn(&Value) -> bool = |value| value.is_string() || value.is_object();
    let mut checks = vec![
        ("name", OBJECT, "an object"),
        ("name.title", TEXT, "a string"),
        ("name.first", TEXT, "a string"),
        ("name.last", TEXT, "a string"),
        ("gender", TEXT, "a string"),
        ("location", OBJECT, "an object"),
        ("location.street", STREET, "an object or a string"),
        ("location.city", TEXT, "a string"),
        ("location.country", TEXT, "a string"),
        ("location.postcode", LABEL, "an integer or a string"),
        ("location.coordinates", OBJECT, "an object"),
        ("location.coordinates.latitude", DEGREES, "a string or a number"),
        ("location.coordinates.longitude", DEGREES, "a string or a number"),
        ("email", TEXT, "a string"),
    ];
    if lookup(user, "location.street").is_some_and(Value::is_object) {
        checks.push(("location.street.number", LABEL, "an integer or a string"));
        checks.push(("location.street.name", TEXT, "a string"));
    }
    for (field, is_right, expected) in checks {
        match lookup(user, field) {
            None | Some(Value::Null) => {
                return Fault::new(RejectReason::MissingField, field, "is missing");
            }
            Some(value) if !is_right(value) => {
                return Fault::new(RejectReason::WrongType, field, format!("is not {expected}"));
            }
            Some(_) => {}
        }
    }
    // Every field alone is right, yet the whole was refused: a key that stands twice.
    Fault::new(RejectReason::WrongType, "", "the user has a field twice")
}

fn lookup<'a>(user: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let mut value = user.get(first)?;
    for key in rest.split('.').filter(|key| !key.is_empty()) {
        value = value.get(key)?;
    }
    Some(value)
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
