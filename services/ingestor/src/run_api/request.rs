//! Reads requests to the run API, and refuses what is not as the contract says.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};
use service_kit::admin::Problem;
use tokio::time::timeout;
use url::form_urlencoded;

use crate::config::{PAUSE_MAX, RESULTS, STREAMING_MAX};
use crate::runs::{RUNS_MAX, Requested};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// In characters.
pub(super) const KEY_CHARS_MAX: usize = 255;
pub(super) const BODY_BYTES_MAX: usize = 4_096;
/// Longer bodies are drip-fed.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// In characters.
pub(super) const SEED_CHARS_MAX: usize = 256;
/// Runs that are listed unless asked otherwise.
pub(super) const LIMIT_DEFAULT: usize = 20;

/// The key of the request, if it has one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let is_key = (1..=KEY_CHARS_MAX).contains(&value.len())
        && value.as_bytes().iter().all(u8::is_ascii_graphic)
        && values.next().is_none();
    let key = value.to_str().ok().filter(|_| is_key);
    key.map(|key| Some(key.to_string())).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_idempotency_key",
            format!(
                "expected one header Idempotency-Key with 1 to {KEY_CHARS_MAX} printable ASCII \
                 characters without blanks"
            ),
        )
    })
}

/// How many runs to list.
pub(super) fn limit(query: &str) -> Result<usize, Problem> {
    let mut limit = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let number =
            value.parse().ok().filter(|number| is_number && (1..=RUNS_MAX).contains(number));
        if name != "limit" || number.is_none() || limit.is_some() {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "invalid_query",
                format!(
                    "expected nothing but `limit`, once, an integer from 1 to {RUNS_MAX}; \
                     found `{name}`"
                ),
            ));
        }
        limit = number;
    }
    Ok(limit.unwrap_or(LIMIT_DEFAULT))
}

/// What the body asks for; nothing without a body.
pub(super) async fn requested(request: Request) -> Result<Requested, Problem> {
    let (parts, body) = request.into_parts();
    let body = read(&parts.headers, body).await?;
    if body.is_empty() {
        return Ok(Requested::default());
    }
    if !is_plain_json(&parts.headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send the body as `Content-Type: application/json`, not compressed, or send none",
        ));
    }
    parse(&body).map_err(|mistakes| {
        let errors: Vec<Value> = mistakes
            .iter()
            .map(|Mistake { pointer, detail }| json!({ "pointer": pointer, "detail": detail }))
            .collect();
        let detail = match errors.len() {
            1 => "the body has a mistake".to_string(),
            count => format!("the body has {count} mistakes"),
        };
        Problem::new(StatusCode::BAD_REQUEST, "invalid_body", detail).member("errors", errors)
    })
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("a body has at most {BODY_BYTES_MAX} bytes"),
        )
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced
        .and_then(|length| length.parse().ok())
        .is_some_and(|length: u64| length > BODY_BYTES_MAX as u64)
    {
        return Err(too_large());
    }
    // It fails if the body is larger; or if the connection breaks, and then nobody gets the answer.
    match timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => Ok(body.into()),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            format!("the body did not come within {} s", BODY_TIMEOUT.as_secs()),
        )),
    }
}

fn is_plain_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(given), None) = (types.next(), types.next()) else { return false };
    let essence = given.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
        && !headers.contains_key(header::CONTENT_ENCODING)
}

/// What is wrong with one member of the body, or with all of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// A JSON pointer as a URI fragment: `#/results`.
    pub(super) pointer: String,
    /// What is expected there.
    pub(super) detail: String,
}

impl Mistake {
    fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// The body's members, or every mistake in them.
pub(super) fn parse(body: &[u8]) -> Result<Requested, Vec<Mistake>> {
    let Members(members) = serde_json::from_slice(body)
        .map_err(|error| vec![Mistake::new("#", format!("expected a JSON object: {error}"))])?;
    let (mut requested, mut mistakes) = (Requested::default(), Vec::new());
    let mut seen = BTreeSet::new();
    for (name, value) in &members {
        let mut mistake = |detail: String| {
            let escaped = name.replace('~', "~0").replace('/', "~1");
            mistakes.push(Mistake::new(format!("#/{escaped}"), detail));
        };
        if !seen.insert(name) {
            mistake("expected at most once".to_string());
        }
        match name.as_str() {
            "results" => match integer(value).filter(|number| RESULTS.contains(number)) {
                Some(results) => requested.results = Some(results),
                None => mistake(format!(
                    "expected an integer from {} to {}",
                    RESULTS.start(),
                    RESULTS.end()
                )),
            },
            "pause_seconds" => match seconds(value, PAUSE_MAX) {
                Some(pause) => requested.pause = Some(pause),
                None => mistake(format!("expected a number from 0 to {}", PAUSE_MAX.as_secs())),
            },
            "streaming_seconds" => match seconds(value, STREAMING_MAX) {
                Some(streaming) => requested.streaming = Some(streaming),
                None => mistake(format!("expected a number from 0 to {}", STREAMING_MAX.as_secs())),
            },
            "seed" => match seed(value) {
                Some(seed) => requested.seed = Some(seed),
                None => mistake(format!("expected a text of 1 to {SEED_CHARS_MAX} characters")),
            },
            _ => mistake(
                "expected `results`, `pause_seconds`, `streaming_seconds` and `seed` only"
                    .to_string(),
            ),
        }
    }
    if mistakes.is_empty() { Ok(requested) } else { Err(mistakes) }
}

/// An integer; `10.0` is one, as JSON Schema sees it.
fn integer(value: &Value) -> Option<u16> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
    (0.0..=f64::from(u16::MAX)).contains(&number).then_some(number as u16)
}

fn seconds(value: &Value, max: Duration) -> Option<Duration> {
    let seconds = value.as_f64().filter(|seconds| (0.0..=max.as_secs_f64()).contains(seconds))?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn seed(value: &Value) -> Option<String> {
    let seed = value.as_str()?;
    (1..=SEED_CHARS_MAX).contains(&seed.chars().count()).then(|| seed.to_string())
}

/// The members of a JSON object in their order, those that come twice included.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}
