//! Receiving a body: into a staged file, counted and hashed on the way, refused if it is not what
//! its headers promise.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt as _;
use hyper::HeaderMap;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::StreamingBlob;
use s3s::{S3Result, TrailingHeaders, s3_error};
use tokio::io::AsyncWriteExt as _;

use super::Operations;
use crate::s3::checksum::{Checksums, hex};
use crate::s3::store::StagedFile;

/// What the headers say about a body.
pub(super) struct Promised {
    pub(super) body: Option<StreamingBlob>,
    pub(super) bytes: Option<i64>,
    /// MD5 in base64.
    pub(super) content_md5: Option<String>,
    pub(super) checksums: Checksums,
    pub(super) headers: HeaderMap,
    pub(super) trailers: Option<TrailingHeaders>,
}

/// A body that kept its promises, not yet published.
pub(super) struct Received {
    pub(super) staged: StagedFile,
    /// MD5 in hexadecimal digits.
    pub(super) etag: String,
    /// The checksums that the client sent and that hold.
    pub(super) checksums: Checksums,
}

impl Operations {
    /// Receives a body. Nothing is left behind on an error, or if the client goes away.
    pub(super) async fn receive(&self, promised: Promised) -> S3Result<Received> {
        let Promised { body, bytes, content_md5, checksums: mut sent, headers, trailers } =
            promised;
        let mut staged = self.blocking(|store| store.stage()).await?;
        let mut file = tokio::fs::File::from_std(clone_handle(&staged)?);
        let mut md5 = Md5::new();
        let mut hasher = sent.hasher(&headers);
        let mut received: u64 = 0;
        if let Some(mut body) = body {
            while let Some(chunk) = body.next().await {
                let chunk = chunk.map_err(|error| refuse_body(&*error))?;
                md5.update(&chunk);
                hasher.update(&chunk);
                received += chunk.len() as u64;
                file.write_all(&chunk).await.map_err(write_failed)?;
            }
        }
        file.flush().await.map_err(write_failed)?;
        staged.file = file.into_std().await;

        if bytes.is_some_and(|promised| u64::try_from(promised) != Ok(received)) {
            return Err(s3_error!(
                IncompleteBody,
                "{received} bytes came, {bytes:?} were promised"
            ));
        }
        let digest = md5.finalize();
        if let Some(promised) = content_md5 {
            let Ok(promised) = BASE64_STANDARD.decode(&promised) else {
                return Err(s3_error!(InvalidDigest, "Content-MD5 {promised:?} is not base64"));
            };
            if promised != digest.as_ref() {
                return Err(s3_error!(BadDigest, "the body's MD5 differs from Content-MD5"));
            }
        }
        if let Some(trailers) = trailers {
            trailers.read(|trailers| sent.add_trailers(trailers));
        }
        let computed = Checksums::full_object(hasher.finalize());
        if let Some(algorithm) = sent.first_difference(&computed) {
            let name = algorithm.name();
            return Err(s3_error!(BadDigest, "the body's {name} differs from the checksum sent"));
        }
        Ok(Received { staged, etag: hex(digest), checksums: computed })
    }
}

fn clone_handle(staged: &StagedFile) -> S3Result<std::fs::File> {
    staged.file.try_clone().map_err(write_failed)
}

fn write_failed(error: std::io::Error) -> s3s::S3Error {
    s3_error!(error, InternalError, "writing the body to the staging folder failed")
}

/// A body breaks off, or a signature or hash over it doesn't hold: the client's fault.
fn refuse_body(error: &(dyn std::error::Error + 'static)) -> s3s::S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        s3_error!(BadDigest, "the body's SHA-256 differs from x-amz-content-sha256")
    } else if text.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch, "a chunk's signature does not match")
    } else {
        s3_error!(IncompleteBody, "the body can't be read to its end: {text}")
    }
}
