//! What can be made to go wrong in the API, as it has been seen to.

use serde::{Deserialize, Serialize};

use crate::faults::{Fault, once};

/// What happens to a request that a fault hits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ApiAction {
    /// 429 with the error object.
    RateLimited {
        /// Sent as `Retry-After`; randomuser.me sends none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_seconds: Option<u64>,
    },
    /// 500 with the error object.
    ApiError,
    /// 200 with the error object, which has no `results`.
    ApiErrorOk,
    /// 200 with `"results":[]`.
    EmptyResults,
    /// 404 as plain text.
    NotFound,
    /// 500 as plain text.
    ServerError,
    /// 502 as HTML.
    BadGateway,
    /// 503 as plain text.
    Unavailable {
        /// Sent as `Retry-After`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_seconds: Option<u64>,
    },
    /// 504 as plain text.
    GatewayTimeout,
    /// 200 with an HTML page.
    Html,
    /// 200, and the JSON ends in its middle; as HTTP the answer is complete.
    Truncated,
    /// 200, and the connection is cut in the middle of the body.
    Cut,
    /// Waits, then answers as usual.
    Delay {
        /// How long.
        milliseconds: u64,
    },
    /// Waits until the plan releases it, then answers as usual.
    Hold,
}

/// A fault of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiFault {
    /// Requests that pass unharmed first.
    #[serde(default)]
    pub skip: u64,
    /// How many requests it hits; `None` (JSON `null`): every one until the plan is cleared.
    #[serde(default = "once")]
    pub times: Option<u64>,
    /// What it does.
    pub action: ApiAction,
}

impl ApiFault {
    /// A fault that hits the next request.
    pub fn new(action: ApiAction) -> Self {
        Self { skip: 0, times: once(), action }
    }

    /// Lets so many requests pass first.
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

impl Fault for ApiFault {
    type Request<'a> = ();
    type Action = ApiAction;

    fn matches(&self, (): &()) -> bool {
        true
    }

    fn skips_left(&mut self) -> &mut u64 {
        &mut self.skip
    }

    fn times_left(&mut self) -> &mut Option<u64> {
        &mut self.times
    }

    fn action(&self) -> &ApiAction {
        &self.action
    }
}
