//! Objects on S3, created conditionally. The only place that names the S3 SDK.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use chunk_ledger::{
    Chunk, Described, Layout, MetadataError, ObjectName, Opening, StoreOutcome, describe,
    to_metadata,
};

use service_kit::error::causes;

use crate::metrics::{Operation, StoreMetrics};

mod footer;
mod multipart;
mod probe;
mod retry;
mod stale;
mod upload;

use footer::Footer;
pub use probe::{ProbeError, Probed};
pub use retry::StoreHealth;
pub use upload::{Upload, UploadReport};

/// Longest time for one request before it is given up and repeated, an object's upload aside.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// An upload may take as long as it needs at this rate.
const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 256 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CONTENT_TYPE: &str = "application/vnd.apache.parquet";

/// The chunks of one topic in one bucket.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    bucket: String,
    layout: Layout,
    metrics: StoreMetrics,
    health: StoreHealth,
}

/// Which store, and where in it.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The bucket; it must exist.
    pub bucket: String,
    /// Keys of the topic's chunks.
    pub layout: Layout,
    /// The endpoint that the environment names, if any; the SDK reads it itself.
    pub endpoint: Option<String>,
    /// Address objects as `endpoint/bucket/key`, as stores other than AWS want it.
    pub force_path_style: bool,
}

/// Why one request to the store failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {key} failed: {detail}")]
pub struct RequestError {
    operation: &'static str,
    key: String,
    /// S3's error code, where the store sent one.
    code: Option<String>,
    /// HTTP status, where there was an answer.
    status: Option<u16>,
    detail: String,
}

/// An answer about an object that exists.
#[derive(Debug, thiserror::Error)]
#[error("the object {key} can't be read as a chunk: {source}")]
pub struct UnreadableObject {
    key: String,
    source: MetadataError,
}

/// What lies at a chunk's key.
pub type Found = Result<Option<Chunk>, UnreadableObject>;

impl Store {
    /// A client with the settings that the AWS SDK reads from its usual places (`AWS_*`
    /// variables, profiles, instance roles). Makes no request.
    pub async fn connect(config: StoreConfig, metrics: StoreMetrics, health: StoreHealth) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            // Repetition is ours: it must tell a lost answer from a lost race, and count.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if config.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
            // The SDK's own client loads CA certificates at once, and a container may have none.
            loader = loader.http_client(aws_smithy_http_client::Builder::new().build_http());
        }
        let shared = loader.load().await;
        let service = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(config.force_path_style)
            .build();
        let StoreConfig { bucket, layout, .. } = config;
        Self { client: Client::from_conf(service), bucket, layout, metrics, health }
    }

    /// Creates the object of a chunk, on condition that there is none at its key. Repeats until
    /// the store has decided, however long that takes: the caller bounds it by dropping the
    /// future, and nothing is lost then.
    pub async fn create(
        &self,
        chunk: &Chunk,
        object: Bytes,
    ) -> Result<StoreOutcome, UnreadableObject> {
        let key = self.layout.key(chunk.partition, chunk.day(), chunk.range.start);
        let begun = Instant::now();
        let mut attempts = self.attempts(Operation::Put);
        loop {
            match self
                .put_if_absent(&key, object.clone(), to_metadata(self.layout.topic(), chunk))
                .await
            {
                Ok(Put::Created) => {
                    attempts.succeeded();
                    self.metrics.note_decision(begun);
                    return Ok(StoreOutcome::Created);
                }
                Ok(Put::Exists) => {
                    if let Some(found) = self.find_at(&key).await? {
                        attempts.succeeded();
                        self.metrics.note_decision(begun);
                        return Ok(StoreOutcome::Exists(found));
                    }
                    // Refused, yet gone when asked: somebody deletes objects. Ask again.
                    attempts.pause(&"the store refused the object as existing, but has none").await;
                }
                Err(error) => attempts.pause(&error).await,
            }
        }
    }

    /// The chunk at a key, if there is one. Repeats until the store answers.
    pub async fn find(&self, name: ObjectName) -> Found {
        self.find_at(&self.layout.key(name.partition, name.day, name.start)).await
    }

    async fn find_at(&self, key: &str) -> Found {
        let unreadable = |source| UnreadableObject { key: key.to_owned(), source };
        let mut attempts = self.attempts(Operation::Head);
        let (metadata, object_bytes) = loop {
            match self.metadata_of(key).await {
                Ok(Some(found)) => break found,
                Ok(None) => {
                    attempts.succeeded();
                    return Ok(None);
                }
                Err(error) => attempts.pause(&error).await,
            }
        };
        attempts.succeeded();
        let get = |name: &str| metadata.get(name).map(String::as_str);
        match describe(self.layout.topic(), get) {
            Ok(Described::Whole(chunk)) => Ok(Some(chunk)),
            Ok(Described::InFooter(opening)) => {
                self.footer_of(key, &opening, object_bytes).await.map_err(unreadable)
            }
            Err(error) => Err(unreadable(error)),
        }
    }

    /// The chunk in an object's footer; `None` if there is no such object any more.
    async fn footer_of(
        &self,
        key: &str,
        opening: &Opening,
        object_bytes: u64,
    ) -> Result<Option<Chunk>, MetadataError> {
        let mut attempts = self.attempts(Operation::Get);
        let mut bytes = footer::TAIL_BYTES.min(object_bytes);
        loop {
            match self.tail_of(key, bytes, object_bytes).await {
                Ok(Some(tail)) => {
                    attempts.succeeded();
                    match footer::read(self.layout.topic(), opening, &tail, object_bytes)? {
                        Footer::Chunk(chunk) => return Ok(Some(chunk)),
                        Footer::Longer(needed) => bytes = needed.min(object_bytes),
                    }
                }
                Ok(None) => {
                    attempts.succeeded();
                    return Ok(None);
                }
                Err(error) => attempts.pause(&error).await,
            }
        }
    }

    /// The last `bytes` of an object of `object_bytes`; `None` if there is no such object.
    async fn tail_of(
        &self,
        key: &str,
        bytes: u64,
        object_bytes: u64,
    ) -> Result<Option<Bytes>, RequestError> {
        const OPERATION: &str = "GET the end of";
        let range = format!("bytes={}-", object_bytes.saturating_sub(bytes));
        let request = self.client.get_object().bucket(&self.bucket).key(key).range(range);
        let object = match request.send().await {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => {
                return Ok(None);
            }
            Err(error) => return Err(request_error(OPERATION, key, &error)),
        };
        match object.body.collect().await {
            Ok(body) => Ok(Some(body.into_bytes())),
            Err(error) => Err(RequestError {
                operation: OPERATION,
                key: key.to_owned(),
                code: None,
                status: None,
                detail: causes(&error),
            }),
        }
    }

    /// The metadata and the size of an object; `None` if there is no such object.
    async fn metadata_of(
        &self,
        key: &str,
    ) -> Result<Option<(HashMap<String, String>, u64)>, RequestError> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(object) => {
                let bytes = object.content_length.and_then(|bytes| bytes.try_into().ok());
                Ok(Some((object.metadata.unwrap_or_default(), bytes.unwrap_or(0))))
            }
            Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => {
                Ok(None)
            }
            Err(error) => Err(request_error("HEAD", key, &error)),
        }
    }

    async fn put_if_absent(
        &self,
        key: &str,
        body: Bytes,
        metadata: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Put, RequestError> {
        let patience = patience(body.len() as u64);
        let mut request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .if_none_match("*")
            .content_type(CONTENT_TYPE)
            .body(ByteStream::from(body));
        for (name, value) in metadata {
            request = request.metadata(name, value);
        }
        match request.customize().config_override(patience).send().await {
            Ok(_) => Ok(Put::Created),
            Err(error) => match request_error("PUT", key, &error) {
                RequestError { status: Some(412), .. } => Ok(Put::Exists),
                error => Err(error),
            },
        }
    }

    fn attempts(&self, operation: Operation) -> retry::Attempts<'_> {
        retry::Attempts::new(operation, &self.metrics, &self.health)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    Created,
    Exists,
}

impl RequestError {
    fn is_no_such_upload(&self) -> bool {
        self.code.as_deref() == Some("NoSuchUpload")
    }

    /// Another writer is busy at the same key. The status alone would not do: some stores answer
    /// 409 for keys that they can't have.
    fn is_conflict(&self) -> bool {
        self.code.as_deref() == Some("ConditionalRequestConflict")
    }

    /// Whether the upload can never be completed: its parts are not what the store remembers.
    fn is_final_for_upload(&self) -> bool {
        let codes = ["NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall"];
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }

    /// Whether the store refuses such requests, so that repeating this one is of little use.
    fn is_refusal(&self) -> bool {
        matches!(self.status, Some(400..=407 | 410..=428 | 430..=499 | 501))
    }
}

/// How long a request with a body of `bytes` may take.
fn patience(bytes: u64) -> aws_sdk_s3::config::Builder {
    patience_of(Duration::from_secs(bytes / UPLOAD_BYTES_PER_SECOND_MIN))
}

/// How long a request may take that needs `more` time than others.
fn patience_of(more: Duration) -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT + more)
        .build();
    aws_sdk_s3::config::Builder::new().timeout_config(timeouts)
}

fn request_error<E>(operation: &'static str, key: &str, error: &SdkError<E>) -> RequestError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    RequestError {
        operation,
        key: key.to_owned(),
        code: error.code().map(str::to_owned),
        status: error.raw_response().map(|response| response.status().as_u16()),
        detail: match (error.code(), error.message()) {
            (Some(code), message) => format!("{code}: {}", message.unwrap_or("no message")),
            // No answer, or one without S3's error document: the chain of causes says more.
            (None, _) => causes(error),
        },
    }
}
