//! A refusal as `application/problem+json` (RFC 9457), the one form of every 4xx and 5xx of a
//! service's own routes.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;
use serde_json::{Map, Value};

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Why a request is refused.
///
/// Its JSON has `title` (the status in words), `status`, `code` and `detail`, and further members
/// if there are any.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    members: Map<String, Value>,
}

impl Problem {
    /// A refusal with its kind for programs, such as `run_active`, and what to do for people.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let (headers, members) = (Vec::new(), Map::new());
        Self { status, code, detail: detail.into(), headers, members }
    }

    /// The same with one more header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same with one more member. A value that has no JSON (a map with other keys than text)
    /// becomes null.
    pub fn member(mut self, name: &str, value: impl Serialize) -> Self {
        self.members.insert(name.to_string(), serde_json::to_value(value).unwrap_or_default());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        let title = self.status.canonical_reason().unwrap_or("Error");
        body.insert("title".to_string(), title.into());
        body.insert("status".to_string(), self.status.as_u16().into());
        body.insert("code".to_string(), self.code.into());
        body.insert("detail".to_string(), self.detail.into());
        body.extend(self.members);
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
        response.headers_mut().extend(self.headers);
        response
    }
}

/// The answer to a path that nothing serves.
pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "nothing is served at this path")
}

/// The answer to a method that the path does not take; axum adds `Allow`.
pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not take this method; `Allow` names those that it takes",
    )
}
