//! Objects on S3, created conditionally. The only place that names the S3 SDK.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use chunk_ledger::{
    Chunk, Layout, MetadataError, ObjectName, StoreOutcome, from_metadata, to_metadata,
};

use service_kit::error::causes;

use crate::metrics::{Operation, StoreMetrics};

mod probe;
mod retry;

pub use probe::ProbeError;
pub use retry::StoreHealth;

/// Longest time for one request before it is given up and repeated, an object's upload aside.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// An upload may take as long as it needs at this rate.
const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 256 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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
        let _timer = self.metrics.create_seconds.start_timer();
        let mut attempts = self.attempts(Operation::Put);
        loop {
            match self
                .put_if_absent(&key, object.clone(), to_metadata(self.layout.topic(), chunk))
                .await
            {
                Ok(Put::Created) => {
                    attempts.succeeded();
                    return Ok(StoreOutcome::Created);
                }
                Ok(Put::Exists) => {
                    if let Some(found) = self.find_at(&key).await? {
                        attempts.succeeded();
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
        let mut attempts = self.attempts(Operation::Head);
        loop {
            match self.metadata_of(key).await {
                Ok(metadata) => {
                    attempts.succeeded();
                    let Some(metadata) = metadata else { return Ok(None) };
                    let get = |name: &str| metadata.get(name).map(String::as_str);
                    return match from_metadata(self.layout.topic(), get) {
                        Ok(chunk) => Ok(Some(chunk)),
                        Err(source) => Err(UnreadableObject { key: key.to_owned(), source }),
                    };
                }
                Err(error) => attempts.pause(&error).await,
            }
        }
    }

    /// The metadata of an object; `None` if there is no such object.
    async fn metadata_of(
        &self,
        key: &str,
    ) -> Result<Option<HashMap<String, String>>, RequestError> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(object) => Ok(Some(object.metadata.unwrap_or_default())),
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
        let upload = Duration::from_secs(body.len() as u64 / UPLOAD_BYTES_PER_SECOND_MIN);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT + upload)
            .build();
        let patience = aws_sdk_s3::config::Builder::new().timeout_config(timeouts);
        let mut request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .if_none_match("*")
            .content_type("application/vnd.apache.parquet")
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
