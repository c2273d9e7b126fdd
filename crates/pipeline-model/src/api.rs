//! A page of the randomuser.me API → people and rejects.
//!
//! A page that is no page is a [`PageError`]: the request failed and should be repeated. A user
//! that can't become a [`Person`] is a [`Reject`]: repeating would not help, and the page goes on.

mod scalar;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::scalar::{Degrees, Label, Street};
use crate::{Person, zip_of_postcode};

/// Every user of one API response, in its order.
#[derive(Debug, PartialEq)]
pub struct Page {
    /// One entry a user.
    pub users: Vec<Result<Person, Reject>>,
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

/// A user that can't become a [`Person`].
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

/// Reads a response of any API version.
///
/// Beside the page (`{"results": […], "info": {…}}`) it takes one bare user object, the form in
/// which responses are often recorded.
///
/// ```
/// use pipeline_model::api::{PageError, parse_page};
/// assert_eq!(parse_page(br#"{"results": []}"#), Err(PageError::Empty));
/// let page = parse_page(br#"{"results": [7]}"#).unwrap();
/// assert_eq!(page.users[0].as_ref().unwrap_err().reason.code(), "not_an_object");
/// ```
pub fn parse_page(response: &[u8]) -> Result<Page, PageError> {
    // Each user stays raw text at first: a mistake in one must not cost the others.
    let envelope: Envelope<'_> =
        serde_json::from_slice(response).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => PageError::NoResults,
            _ => PageError::NotJson(error.to_string()),
        })?;
    if let Some(error) = envelope.error {
        return Err(PageError::Api(
            error.as_str().map_or_else(|| error.to_string(), str::to_owned),
        ));
    }
    let users: Vec<&str> = match envelope.results {
        Some(results) => results.into_iter().map(RawValue::get).collect(),
        None if envelope.name.is_some() && envelope.location.is_some() => {
            vec![
                std::str::from_utf8(response)
                    .map_err(|error| PageError::NotJson(error.to_string()))?,
            ]
        }
        None => return Err(PageError::NoResults),
    };
    if users.is_empty() {
        return Err(PageError::Empty);
    }
    let users =
        users.into_iter().enumerate().map(|(index, json)| parse_user(index, json)).collect();
    Ok(Page { users })
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    results: Option<Vec<&'a RawValue>>,
    error: Option<Value>,
    /// Present in a bare user only, like `location`.
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    location: Option<&'a RawValue>,
}

fn parse_user(index: usize, json: &str) -> Result<Person, Reject> {
    if let Ok(user) = serde_json::from_str::<User<'_>>(json) {
        return user.into_person(index);
    }
    // Off the common path: find out which field is to blame, by walking the user as a tree.
    let fault = match serde_json::from_str(json) {
        Ok(Value::Object(user)) => diagnose(&user),
        _ => Fault::new(RejectReason::NotAnObject, "", "the user is no JSON object"),
    };
    Err(fault.at(index))
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
    fn into_person(self, index: usize) -> Result<Person, Reject> {
        let Self { gender, name, location, email } = self;
        let Coordinates { latitude, longitude } = location.coordinates;
        let coordinate = |field, degrees, limit| {
            check_coordinate(field, degrees, limit).map_err(|fault| fault.at(index))
        };
        Ok(Person {
            latitude: coordinate("location.coordinates.latitude", latitude, 90.0)?,
            longitude: coordinate("location.coordinates.longitude", longitude, 180.0)?,
            name: format!("{}. {} {}", name.title, name.first, name.last),
            gender: gender.into_owned(),
            address: match location.street {
                Street::Parts { number, name } => format!("{}, {name}", number.0),
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
