//! The bucket, as the tool reads it: list, HEAD, GET. The only place that names the S3 SDK.

mod bucket;

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use service_kit::error::causes;
use url::Url;

pub use self::bucket::Created;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence of the store.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Tries of one request, the first one included.
const ATTEMPTS_MAX: u32 = 5;
const NO_SUCH_BUCKET: &str = "NoSuchBucket";

/// Which store, and which bucket in it. Credentials and region come from the usual places of the
/// AWS SDK: `AWS_*` variables, profiles, instance roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The bucket.
    pub bucket: String,
    /// Address of a store that is not AWS.
    pub endpoint: Option<Url>,
    /// Address objects as `endpoint/bucket/key`.
    pub force_path_style: bool,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
}

/// An object's own metadata, names in lower case and without `x-amz-meta-`.
pub type Metadata = HashMap<String, String>;

/// Why the store could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Requests can't be signed.
    #[error("no AWS region is set: set AWS_REGION, e.g. to us-east-1 for a store that is not AWS")]
    NoRegion,
    /// A request failed for good.
    #[error("{operation} {target} failed: {detail}")]
    Request {
        /// What was asked.
        operation: &'static str,
        /// The bucket and the key or prefix.
        target: String,
        /// The store's answer, or why there was none.
        detail: String,
        /// Whether it may go better a moment later.
        passing: bool,
    },
}

impl StoreError {
    /// Whether the same request may go better a moment later.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Request { passing: true, .. })
    }
}

/// One bucket. Clones share connections.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    bucket: String,
    region: String,
    /// `None` for AWS.
    endpoint_host: Option<String>,
}

impl Store {
    /// Makes no request to the store.
    pub async fn connect(config: &StoreConfig) -> Result<Self, StoreError> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            .timeout_config(timeouts);
        if let Some(endpoint) = &config.endpoint {
            loader = loader.endpoint_url(endpoint.as_str());
            if endpoint.scheme() == "http" {
                // The SDK's own client loads CA certificates at once, and a machine may have none.
                // Credentials then can't come from where TLS is needed, such as AWS STS.
                loader = loader.http_client(aws_smithy_http_client::Builder::new().build_http());
            }
        }
        let shared = loader.load().await;
        let region = shared.region().ok_or(StoreError::NoRegion)?.to_string();
        let builder =
            aws_sdk_s3::config::Builder::from(&shared).force_path_style(config.force_path_style);
        let endpoint_host = config.endpoint.as_ref().and_then(Url::host_str).map(str::to_owned);
        let (client, bucket) = (Client::from_conf(builder.build()), config.bucket.clone());
        Ok(Self { client, bucket, region, endpoint_host })
    }

    /// Every object below `prefix`, in the order of keys. `on_page` hears the objects of each page.
    pub async fn list(
        &self,
        prefix: &str,
        on_page: impl Fn(u64),
    ) -> Result<Vec<Listed>, StoreError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let mut pages = request.into_paginator().send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed("LIST", prefix, &error))?;
            on_page(page.contents().len() as u64);
            listed.extend(page.contents.into_iter().flatten().filter_map(|object| {
                let bytes = object.size.and_then(|size| size.try_into().ok()).unwrap_or(0);
                object.key.map(|key| Listed { key, bytes })
            }));
        }
        Ok(listed)
    }

    /// An object's metadata; `None` if there is no such object.
    pub async fn head(&self, key: &str) -> Result<Option<Metadata>, StoreError> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(object) => Ok(Some(object.metadata.unwrap_or_default())),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(self.failed("HEAD", key, &error)),
        }
    }

    /// A whole object, in one piece of memory of its size; `None` if there is no such object.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.fetch(key, None).await
    }

    /// An object from the byte `start` on; `None` if there is no such object.
    pub async fn get_from(&self, key: &str, start: u64) -> Result<Option<Bytes>, StoreError> {
        self.fetch(key, (start > 0).then(|| format!("bytes={start}-"))).await
    }

    /// Some bytes of an object, fewer where it ends; `None` if there is no such object.
    pub async fn get_range(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, StoreError> {
        match range.end.checked_sub(1).filter(|last| range.start <= *last) {
            Some(last) => self.fetch(key, Some(format!("bytes={}-{last}", range.start))).await,
            // HTTP has no words for no bytes.
            None => Ok(Some(Bytes::new())),
        }
    }

    async fn fetch(&self, key: &str, range: Option<String>) -> Result<Option<Bytes>, StoreError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let request = self.client.get_object().bucket(&self.bucket).key(key);
            let object = match request.set_range(range.clone()).send().await {
                Ok(object) => object,
                Err(error) if is_not_found(&error) => return Ok(None),
                Err(error) => return Err(self.failed("GET", key, &error)),
            };
            let bytes = object.content_length.and_then(|length| length.try_into().ok());
            // The SDK repeats requests, not bodies that break off.
            match collect(object.body, bytes.unwrap_or(0)).await {
                Ok(body) => return Ok(Some(body)),
                Err(error) if attempts >= ATTEMPTS_MAX => {
                    return Err(self.failure("GET", key, causes(&error), true));
                }
                Err(error) => tracing::warn!(key, %error, "object broke off, asking again"),
            }
        }
    }

    fn failed<E>(&self, operation: &'static str, key: &str, error: &SdkError<E>) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let detail = match (error.code(), error.message(), status) {
            (Some(NO_SUCH_BUCKET), ..) => format!(
                "{NO_SUCH_BUCKET}: `pipectl bucket ensure` creates it, unless S3_BUCKET should name \
                 another one"
            ),
            (Some(code), Some(message), _) => format!("{code}: {message}"),
            (Some(code), None, Some(status)) => format!("{code} (HTTP {status})"),
            // A HEAD is answered without a body: the status is all there is.
            (None, _, Some(status)) => format!("HTTP {status}"),
            _ => causes(error),
        };
        self.failure(operation, key, detail, is_passing(error))
    }

    fn failure(
        &self,
        operation: &'static str,
        key: &str,
        detail: String,
        passing: bool,
    ) -> StoreError {
        StoreError::Request { operation, target: format!("{}/{key}", self.bucket), detail, passing }
    }
}

fn is_not_found<E>(error: &SdkError<E>) -> bool {
    error.raw_response().is_some_and(|response| response.status().as_u16() == 404)
}

/// Nobody there, no answer in time, or one of a store that is overloaded or about to start.
fn is_passing<E>(error: &SdkError<E>) -> bool {
    match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        // The rest of a kind that the SDK names is a cut connection; without one it is a setting,
        // such as credentials that are nowhere to be found.
        SdkError::DispatchFailure(failure) => {
            failure.is_io() || failure.is_timeout() || failure.as_other().is_some()
        }
        SdkError::ServiceError(answer) => {
            matches!(answer.raw().status().as_u16(), 408 | 409 | 429 | 500..)
        }
        _ => false,
    }
}

async fn collect(
    mut body: ByteStream,
    bytes: usize,
) -> Result<Bytes, aws_sdk_s3::primitives::ByteStreamError> {
    let mut whole = BytesMut::with_capacity(bytes);
    while let Some(part) = body.try_next().await? {
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}
