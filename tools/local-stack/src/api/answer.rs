//! The API's answers, good and bad.

use std::io;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Serialize;

use super::VERSION;
use super::faults::ApiAction;
use super::people::People;
use super::query::Wanted;
use super::user::Shown;

const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// Names the recorded file that an answer is a copy of.
const REPLAY_FILE: HeaderName = HeaderName::from_static("x-replay-file");

#[derive(Serialize)]
struct Page<'a> {
    results: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Info<'a>>,
}

#[derive(Serialize)]
struct Info<'a> {
    seed: &'a str,
    results: usize,
    page: u64,
    version: &'static str,
}

/// A page of generated users. Without a seed each request gets another one.
pub(super) fn page(wanted: &Wanted, invalid_ratio: f64) -> Response {
    let seed = wanted.seed.clone().unwrap_or_else(|| format!("{:016x}", fastrand::u64(..)));
    let mut people =
        People::new(&seed, wanted.page, wanted.nations.clone(), wanted.gender, invalid_ratio);
    let results: Vec<Shown> =
        (0..wanted.results).map(|_| Shown(people.next_user(), wanted.fields)).collect();
    let info = wanted.info.then_some(Info {
        seed: &seed,
        results: wanted.results,
        page: wanted.page,
        version: VERSION,
    });
    match serde_json::to_vec(&Page { results, info }) {
        Ok(json) => with_type(StatusCode::OK, JSON, json),
        Err(error) => {
            tracing::error!(%error, "a page of users can't be written as JSON");
            server_error()
        }
    }
}

/// A recorded file, byte for byte.
pub(super) fn replayed((name, bytes): (HeaderValue, Bytes)) -> Response {
    let mut response = with_type(StatusCode::OK, JSON, bytes);
    response.headers_mut().insert(REPLAY_FILE, name);
    response
}

/// 429 with the words that the API has for it.
pub(super) fn rate_limited(asked: u64, retry_after_seconds: Option<u64>) -> Response {
    let body = include_str!("bodies/rate_limited.json").replace("20340", &asked.to_string());
    retry_after(with_type(StatusCode::TOO_MANY_REQUESTS, JSON, body), retry_after_seconds)
}

/// 404 as the API says it, also for a version that it doesn't know.
pub(super) fn not_found() -> Response {
    with_type(StatusCode::NOT_FOUND, TEXT, include_str!("bodies/not_found.txt"))
}

/// 500 as plain text.
pub(super) fn server_error() -> Response {
    with_type(StatusCode::INTERNAL_SERVER_ERROR, TEXT, include_str!("bodies/server_error.txt"))
}

/// What a fault makes of an answer.
pub(super) enum Faulty {
    /// Another answer.
    Whole(Response),
    /// The good answer, spoiled.
    Spoiled(Spoil),
}

/// How a good answer is spoiled.
#[derive(Clone, Copy)]
pub(super) enum Spoil {
    /// Half of the body, as a complete answer.
    Truncate,
    /// Half of the body, then the connection ends.
    Cut,
}

/// What a fault's action makes of the answer; `None` leaves it as it is.
pub(super) fn of_fault(action: &ApiAction) -> Option<Faulty> {
    // Seen in the wild: the number that the API names lies above its limit of 20,000.
    const ASKED: u64 = 20_340;
    let api_error = include_str!("bodies/api_error.json");
    let bad_gateway = include_str!("bodies/bad_gateway.html");
    let response = match action {
        ApiAction::RateLimited { retry_after_seconds } => rate_limited(ASKED, *retry_after_seconds),
        ApiAction::ApiError => with_type(StatusCode::INTERNAL_SERVER_ERROR, JSON, api_error),
        ApiAction::ApiErrorOk => with_type(StatusCode::OK, JSON, api_error),
        ApiAction::EmptyResults => {
            with_type(StatusCode::OK, JSON, include_str!("bodies/empty_results.json"))
        }
        ApiAction::NotFound => not_found(),
        ApiAction::ServerError => server_error(),
        ApiAction::BadGateway => with_type(StatusCode::BAD_GATEWAY, HTML, bad_gateway),
        ApiAction::Unavailable { retry_after_seconds } => {
            let body = include_str!("bodies/unavailable.txt");
            let response = with_type(StatusCode::SERVICE_UNAVAILABLE, TEXT, body);
            retry_after(response, *retry_after_seconds)
        }
        ApiAction::GatewayTimeout => {
            with_type(StatusCode::GATEWAY_TIMEOUT, TEXT, include_str!("bodies/gateway_timeout.txt"))
        }
        ApiAction::Html => with_type(StatusCode::OK, HTML, bad_gateway),
        ApiAction::Truncated => return Some(Faulty::Spoiled(Spoil::Truncate)),
        ApiAction::Cut => return Some(Faulty::Spoiled(Spoil::Cut)),
        ApiAction::Delay { .. } | ApiAction::Hold => return None,
    };
    Some(Faulty::Whole(response))
}

impl Spoil {
    /// Spoils an answer.
    pub(super) async fn apply(self, response: Response) -> Response {
        let (mut parts, body) = response.into_parts();
        let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
            return server_error();
        };
        let half = body.slice(..body.len() / 2);
        let body_length = match self {
            Self::Truncate => half.len(),
            Self::Cut => body.len(),
        };
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body_length));
        let body = match self {
            Self::Truncate => Body::from(half),
            Self::Cut => {
                let cut = io::Error::from(io::ErrorKind::ConnectionAborted);
                Body::from_stream(futures::stream::iter([Ok(half), Err(cut)]))
            }
        };
        Response::from_parts(parts, body)
    }
}

fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    (status, [(CONTENT_TYPE, content_type)], body.into()).into_response()
}

fn retry_after(mut response: Response, seconds: Option<u64>) -> Response {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
