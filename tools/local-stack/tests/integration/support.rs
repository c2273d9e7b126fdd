//! What several tests need.

use std::fmt::Debug;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use local_stack::s3::REGION;
use local_stack::{LocalStack, Options, S3Options};
use tempfile::TempDir;

pub(crate) const BUCKET: &str = "names";

/// S3 alone over a folder of its own.
pub(crate) fn s3_stack() -> (TempDir, LocalStack) {
    let folder = tempfile::tempdir().unwrap();
    let stack = LocalStack::start(Options::s3_only(folder.path())).unwrap();
    (folder, stack)
}

/// A client that makes so many attempts.
pub(crate) fn s3_client(stack: &LocalStack, attempts: u32) -> Client {
    let s3 = stack.s3().unwrap();
    s3_client_at(s3.endpoint(), s3.options(), attempts)
}

/// A client with these credentials.
pub(crate) fn s3_client_at(endpoint: &str, options: &S3Options, attempts: u32) -> Client {
    let credentials =
        Credentials::new(&options.access_key, &options.secret_key, None, None, "test");
    let retries = RetryConfig::standard()
        .with_max_attempts(attempts)
        .with_initial_backoff(std::time::Duration::from_millis(1));
    Client::from_conf(
        aws_sdk_s3::Config::builder()
            .behavior_version_latest()
            .region(Region::new(REGION))
            .endpoint_url(endpoint)
            .force_path_style(true)
            .credentials_provider(credentials)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(retries)
            .build(),
    )
}

/// A plain HTTP client that no proxy of the environment gets between.
pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// GETs a URL.
pub(crate) async fn http_get(url: impl AsRef<str>) -> reqwest::Response {
    http().get(url.as_ref()).send().await.unwrap()
}

/// The HTTP status and S3 error code of a refusal.
pub(crate) fn refusal<T: Debug, E: ProvideErrorMetadata + Debug>(
    result: Result<T, SdkError<E>>,
) -> (u16, String) {
    let error = result.unwrap_err();
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    (status, error.code().unwrap_or_default().to_owned())
}

/// The keys in the bucket, of the first page.
pub(crate) async fn keys(client: &Client) -> Vec<String> {
    let page = client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    page.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8).collect()
}
