//! What can be made to go wrong in the S3 server, and how a request is told apart.

use hyper::Method;
use hyper::http::Uri;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::faults::{Fault, once};

/// The operations of S3 that faults and counters tell apart, by the names that S3 gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the S3 operation of its name")]
pub enum Operation {
    PutObject,
    GetObject,
    HeadObject,
    DeleteObject,
    DeleteObjects,
    /// Both versions of it.
    ListObjects,
    CreateMultipartUpload,
    UploadPart,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    ListMultipartUploads,
    CreateBucket,
    HeadBucket,
    ListBuckets,
    /// Everything else.
    Other,
}

/// What happens to a request that a fault hits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum S3Action {
    /// 503 `SlowDown`; not applied.
    SlowDown,
    /// 500 `InternalError`; not applied.
    InternalError,
    /// 409 `ConditionalRequestConflict`; not applied.
    Conflict,
    /// 403 `AccessDenied`; not applied.
    AccessDenied,
    /// Waits, then goes on as usual.
    Delay {
        /// How long.
        milliseconds: u64,
    },
    /// Waits until the plan releases it, then goes on as usual.
    Hold,
    /// The connection is cut; not applied.
    DropBefore,
    /// The connection is cut in the middle of the request's body; not applied.
    DropInBody {
        /// How many bytes of the body arrive.
        bytes: usize,
    },
    /// Applied, but the connection is cut instead of an answer.
    ApplyThenDrop,
    /// Answered with 200 as if it had been applied, but it is not.
    ClaimSuccess,
    /// Applied, but answered with 500 `InternalError`.
    ApplyThenInternalError,
    /// `If-None-Match` is ignored, as some stores do: a conditional PUT replaces the object. Of no effect in front of
    /// another server.
    IgnoreCondition,
    /// Waits until the plan releases it, and then `If-None-Match` is ignored.
    HoldThenIgnoreCondition,
}

/// A fault of the S3 server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Fault {
    /// Hits this operation alone; every one if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Hits keys that contain this; every key, and requests without a key, if empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key_contains: String,
    /// Matching requests that pass unharmed first.
    #[serde(default)]
    pub skip: u64,
    /// How many requests it hits; `None` (JSON `null`): every one until the plan is cleared.
    #[serde(default = "once")]
    pub times: Option<u64>,
    /// What it does.
    pub action: S3Action,
}

impl S3Fault {
    /// A fault that hits the next request, whatever it is.
    pub fn new(action: S3Action) -> Self {
        Self { operation: None, key_contains: String::new(), skip: 0, times: once(), action }
    }

    /// Hits this operation alone.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Hits keys that contain `part`.
    #[must_use]
    pub fn key_contains(mut self, part: impl Into<String>) -> Self {
        self.key_contains = part.into();
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Hits so many requests.
    #[must_use]
    pub fn times(mut self, requests: u64) -> Self {
        self.times = Some(requests);
        self
    }

    /// Hits until the plan is cleared.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }
}

impl Fault for S3Fault {
    type Request<'a> = Target;
    type Action = S3Action;

    fn matches(&self, target: &Target) -> bool {
        self.operation.is_none_or(|operation| operation == target.operation)
            && target.key.contains(&self.key_contains)
    }

    fn skips_left(&mut self) -> &mut u64 {
        &mut self.skip
    }

    fn times_left(&mut self) -> &mut Option<u64> {
        &mut self.times
    }

    fn action(&self) -> &S3Action {
        &self.action
    }
}

/// What a request is about, read from its request line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub(super) operation: Operation,
    /// Empty for a request about a bucket or the service.
    pub(super) key: String,
}

impl Target {
    /// Reads a path-style request line.
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        let path = percent_decode_str(uri.path()).decode_utf8_lossy();
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let asks = |name: &str| {
            uri.query()
                .unwrap_or_default()
                .split('&')
                .any(|pair| pair.split('=').next() == Some(name))
        };
        let is_object = !key.is_empty();
        let operation = match *method {
            Method::PUT if is_object && asks("partNumber") => Operation::UploadPart,
            Method::PUT if is_object => Operation::PutObject,
            Method::PUT => Operation::CreateBucket,
            Method::HEAD if is_object => Operation::HeadObject,
            Method::HEAD => Operation::HeadBucket,
            Method::GET if is_object && asks("uploadId") => Operation::ListParts,
            Method::GET if is_object => Operation::GetObject,
            Method::GET if bucket.is_empty() => Operation::ListBuckets,
            Method::GET if asks("uploads") => Operation::ListMultipartUploads,
            Method::GET if asks("location") => Operation::Other,
            Method::GET => Operation::ListObjects,
            Method::DELETE if is_object && asks("uploadId") => Operation::AbortMultipartUpload,
            Method::DELETE if is_object => Operation::DeleteObject,
            Method::POST if is_object && asks("uploads") => Operation::CreateMultipartUpload,
            Method::POST if is_object && asks("uploadId") => Operation::CompleteMultipartUpload,
            Method::POST if asks("delete") => Operation::DeleteObjects,
            _ => Operation::Other,
        };
        Self { operation, key: key.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    fn target(method: Method, uri: &str) -> Target {
        Target::of(&method, &uri.parse().unwrap())
    }

    #[test]
    fn request_lines_are_told_apart() {
        use Operation as Op;
        let cases = [
            (Method::PUT, "/b/k?x-id=PutObject", Op::PutObject, "k"),
            (Method::PUT, "/b/a%20b/c?partNumber=1&uploadId=x", Op::UploadPart, "a b/c"),
            (Method::PUT, "/b", Op::CreateBucket, ""),
            (Method::PUT, "/b/", Op::CreateBucket, ""),
            (Method::HEAD, "/b/k", Op::HeadObject, "k"),
            (Method::HEAD, "/b", Op::HeadBucket, ""),
            (Method::GET, "/", Op::ListBuckets, ""),
            (Method::GET, "/b?list-type=2&prefix=uploads", Op::ListObjects, ""),
            (Method::GET, "/b?uploads", Op::ListMultipartUploads, ""),
            (Method::GET, "/b?location", Op::Other, ""),
            (Method::GET, "/b/k", Op::GetObject, "k"),
            (Method::GET, "/b/k?uploadId=x", Op::ListParts, "k"),
            (Method::POST, "/b/k?uploads", Op::CreateMultipartUpload, "k"),
            (Method::POST, "/b/k?uploadId=x", Op::CompleteMultipartUpload, "k"),
            (Method::POST, "/b?delete", Op::DeleteObjects, ""),
            (Method::DELETE, "/b/k", Op::DeleteObject, "k"),
            (Method::DELETE, "/b/k?uploadId=x", Op::AbortMultipartUpload, "k"),
            (Method::DELETE, "/b", Op::Other, ""),
        ];
        for (method, uri, operation, key) in cases {
            let expected = Target { operation, key: key.to_owned() };
            assert_eq!(target(method, uri), expected, "{uri}");
        }
    }

    #[test]
    fn json_has_defaults() {
        let fault: S3Fault = serde_json::from_str(
            r#"{"operation":"PutObject","key_contains":"date=","action":{"kind":"slow_down"}}"#,
        )
        .unwrap();
        let expected =
            S3Fault::new(S3Action::SlowDown).on(Operation::PutObject).key_contains("date=");
        assert_eq!(fault, expected);
        let fault: S3Fault =
            serde_json::from_str(r#"{"times":null,"action":{"kind":"delay","milliseconds":5}}"#)
                .unwrap();
        assert_eq!(fault, S3Fault::new(S3Action::Delay { milliseconds: 5 }).always());
    }
}
