//! One request to the API: a page of users, capped in size and time, or the class of its failure.

use std::time::{Duration, SystemTime};

use pipeline_model::api::{Page, PageError};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

use crate::config::ApiConfig;
use crate::retry::parse_retry_after;

/// Time to reach the server, inside the request's whole time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REDIRECTS_MAX: usize = 5;
/// How much of a refusal's body is read, in bytes, and shown, in characters.
const REFUSAL_BYTES_MAX: usize = 4096;
const REFUSAL_CHARS_SHOWN: usize = 200;

/// The API client can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// TLS can't verify anybody.
    #[error(
        "the HTTP client for {url} can't be created: {reason}; for https the system's CA \
         certificates are needed: install the ca-certificates package or mount \
         /etc/ssl/certs/ca-certificates.crt, or name another bundle in SSL_CERT_FILE"
    )]
    Client {
        /// The API.
        url: Url,
        /// What the client says.
        reason: String,
    },
}

/// Why a request gave no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// No whole answer within the time.
    #[error("no whole answer within {0:?}")]
    Timeout(Duration),
    /// The connection could not be made, or broke.
    #[error("the connection failed: {0}")]
    Connection(String),
    /// The API answers with another status than 200.
    #[error("HTTP {status}: {body}")]
    Status {
        /// The status.
        status: StatusCode,
        /// The beginning of the body, on one line.
        body: String,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The body passes the limit.
    #[error("the body has more than {0} bytes; see API_RESPONSE_BYTES_MAX")]
    TooLarge(usize),
    /// A body that is no page.
    #[error(transparent)]
    Page(#[from] PageError),
}

impl FetchError {
    /// Every value of [`outcome`](Self::outcome), and `ok`.
    pub(crate) const OUTCOMES: [&'static str; 11] = [
        "ok",
        "timeout",
        "connection",
        "rate_limited",
        "client_error",
        "server_error",
        "too_large",
        "not_json",
        "api_error",
        "no_results",
        "empty",
    ];

    /// The stable name of the failure's class, for metrics and logs.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Connection(_) => "connection",
            Self::Status { status, .. } => match status.as_u16() {
                429 => "rate_limited",
                400..=499 => "client_error",
                _ => "server_error",
            },
            Self::TooLarge(_) => "too_large",
            Self::Page(PageError::NotJson(_)) => "not_json",
            Self::Page(PageError::Api(_)) => "api_error",
            Self::Page(PageError::NoResults) => "no_results",
            Self::Page(PageError::Empty) => "empty",
        }
    }

    /// Whether the same request may succeed a little later. The API is known to answer 404 and
    /// pages of its proxy when it is in trouble; only what says that the request itself is wrong
    /// or not allowed is not repeated.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Status { status, .. } => !matches!(
                *status,
                StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
            ),
            // The next answer to the same request is as large.
            Self::TooLarge(_) => false,
            _ => true,
        }
    }

    /// How long the server asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The API, and how to ask it. Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    client: Client,
    config: ApiConfig,
}

/// The pages of one run.
#[derive(Debug)]
pub(crate) struct Pages {
    fetcher: Fetcher,
    url: Url,
    by_page: bool,
}

impl Fetcher {
    /// Fails if TLS finds no CA certificates, so that this comes out at the start and not at the
    /// first request.
    pub(crate) fn new(config: &ApiConfig) -> Result<Self, SetupError> {
        let builder = || {
            Client::builder()
                .user_agent(concat!("ingestor/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(config.timeout)
                .redirect(redirect::Policy::limited(REDIRECTS_MAX))
        };
        let client = builder()
            .build()
            .or_else(|error| match config.url.scheme() {
                // Plain HTTP must work in an image without certificates too. A redirect to https
                // is then refused.
                "http" => builder().tls_certs_only([]).build(),
                _ => Err(error),
            })
            .map_err(|error| SetupError::Client {
                url: config.url.clone(),
                reason: chain(&error),
            })?;
        Ok(Self { client, config: config.clone() })
    }

    /// Pages of `results` users each, the same ones each time if there is a `seed`.
    pub(crate) fn pages(&self, results: u16, seed: Option<&str>) -> Pages {
        Pages {
            fetcher: self.clone(),
            url: request_url(&self.config, results, seed),
            by_page: seed.is_some(),
        }
    }

    async fn get(&self, url: Url) -> Result<Page, FetchError> {
        let answer = self.client.get(url).send().await.map_err(|error| self.classify(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(refusal(answer).await);
        }
        let body = self.body(answer).await?;
        Ok(Page::read(&body)?)
    }

    /// Reads the body while it comes, unpacked, so that a small answer can't unpack to a large one.
    async fn body(&self, mut answer: Response) -> Result<Vec<u8>, FetchError> {
        let bytes_max = self.config.response_bytes_max;
        let too_large = FetchError::TooLarge(bytes_max);
        let announced = answer.content_length().unwrap_or(0);
        if announced > bytes_max as u64 {
            return Err(too_large);
        }
        let mut body = Vec::with_capacity(announced as usize);
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.classify(&error))? {
            if body.len() + chunk.len() > bytes_max {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn classify(&self, error: &reqwest::Error) -> FetchError {
        match error.is_timeout() {
            true => FetchError::Timeout(self.config.timeout),
            false => FetchError::Connection(chain(error)),
        }
    }
}

impl Pages {
    /// Makes one request, the `number`-th of its run, counted from 1.
    pub(crate) async fn page(&self, number: u64) -> Result<Page, FetchError> {
        let mut url = self.url.clone();
        if self.by_page {
            // The same seed gives the same users: page by page they differ.
            url.query_pairs_mut().append_pair("page", &number.to_string());
        }
        self.fetcher.get(url).await
    }
}

/// The configured URL with our parameters instead of any that it holds under the same names.
fn request_url(config: &ApiConfig, results: u16, seed: Option<&str>) -> Url {
    let mut ours = vec![("results", results.to_string())];
    ours.extend(seed.map(|seed| ("seed", seed.to_string())));
    ours.extend(config.nat.clone().map(|nat| ("nat", nat)));
    let is_ours =
        |name: &str| ours.iter().any(|(our, _)| *our == name) || (name == "page" && seed.is_some());
    let theirs: Vec<(String, String)> = config
        .url
        .query_pairs()
        .filter(|(name, _)| !is_ours(name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let mut url = config.url.clone();
    url.query_pairs_mut().clear().extend_pairs(theirs).extend_pairs(&ours);
    url
}

async fn refusal(mut answer: Response) -> FetchError {
    let status = answer.status();
    let retry_after = answer
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| parse_retry_after(value, SystemTime::now()));
    let mut body = Vec::new();
    // The status tells enough: a body that breaks off is shown as far as it came.
    while body.len() < REFUSAL_BYTES_MAX
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    let text = String::from_utf8_lossy(&body);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let body = line.chars().take(REFUSAL_CHARS_SHOWN).collect();
    FetchError::Status { status, body, retry_after }
}

/// An error with its sources: reqwest's own text leaves out what went wrong below.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let below = error.to_string();
        if !text.contains(&below) {
            text = format!("{text}: {below}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
