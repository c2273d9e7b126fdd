//! The start-up probe: exactly once rests on the store refusing to create an object twice, so the
//! sink tries that before it trusts it, with objects in one piece and with objects in parts.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::types::CompletedPart;
use bytes::Bytes;
use chunk_ledger::WriterId;
use futures::future::join_all;
use tracing::{info, warn};

use super::multipart::UploadName;
use super::{Put, RequestError, Store};

/// Writers that race for the probe object. Stores that check the condition and create the object
/// in two steps let several win.
const RACERS: usize = 8;
/// The same for objects in parts, which take three requests each.
const UPLOAD_RACERS: usize = 4;
/// Answers that are neither "created" nor "exists" before the probe gives up.
const FAILURES_MAX: u32 = 8;
/// Chunks are adopted by their metadata.
const METADATA: (&str, &str) = ("probe", "kept");
const PAUSE: Duration = Duration::from_millis(500);

/// What the store can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    /// It creates objects of parts as conditionally as others. Where it does not, objects must be
    /// created in one piece.
    pub takes_parts: bool,
}

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The store created an object that existed.
    #[error(
        "the store does not honour `If-None-Match: *`: {winners} of {tries} creations of the same object {key} \
         succeeded, where at most one may; exactly-once delivery is impossible on this store. Use one with atomic \
         conditional writes, such as AWS S3 or VersityGW 1.8 and later"
    )]
    Unconditional {
        /// Creations that the store reported as successful.
        winners: usize,
        /// Creations tried.
        tries: usize,
        /// The probe's key.
        key: String,
    },
    /// The store forgets metadata, or makes it up.
    #[error(
        "the store does not keep an object's metadata (`x-amz-meta-*`), or has objects that nobody created: a chunk that \
         another sink stored could not be adopted"
    )]
    NoMetadata,
    /// There is no such bucket.
    #[error("the bucket {bucket:?} does not exist: create it, or correct S3_BUCKET")]
    NoBucket {
        /// Its name.
        bucket: String,
    },
    /// The credentials are wrong or lack a right.
    #[error(
        "the store refuses access to bucket {bucket:?}: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they \
         allow s3:PutObject, s3:GetObject and s3:ListBucket"
    )]
    Denied {
        /// The bucket.
        bucket: String,
        /// What the store said.
        source: RequestError,
    },
    /// The store did not answer as a store.
    #[error("the store does not work; check AWS_ENDPOINT_URL_S3 and AWS_REGION")]
    Failed(#[from] RequestError),
}

impl Store {
    /// Creates the same object several times, in a race and one after another, and fails if the
    /// store let more than one through, or does not keep their metadata; then tells whether it
    /// does as well with objects in parts. The objects are deleted again.
    pub async fn probe(&self, writer: WriterId) -> Result<Probed, ProbeError> {
        self.probe_objects(writer).await?;
        let takes_parts = match self.probe_uploads(writer).await {
            Ok((winners @ 0..=1, true)) => {
                info!(bucket = self.bucket, winners, "the store honours conditional writes");
                true
            }
            Ok((_, false)) => {
                warn!(
                    "the store completes objects from parts, but has none; objects are stored in one piece, and sealed early where that needs too much memory"
                );
                false
            }
            Ok((winners, true)) => {
                warn!(
                    winners,
                    "the store honours conditional writes, but not where an object is completed from parts; objects are stored in one piece, and sealed early where that needs too much memory"
                );
                false
            }
            Err(ProbeError::Failed(error)) if error.is_refusal() => {
                warn!(%error, "the store refuses objects in parts; they are stored in one piece, and sealed early where that needs too much memory");
                false
            }
            Err(error) => return Err(error),
        };
        Ok(Probed { takes_parts })
    }

    async fn probe_objects(&self, writer: WriterId) -> Result<(), ProbeError> {
        let key = self.layout.probe_key(writer);
        // One at first, so that a missing bucket or a wrong password is said once and not in eight voices.
        let first = self.probe_put(&key).await?;
        let race_key = format!("{key}-race");
        let race = join_all((0..RACERS).map(|_| self.probe_put(&race_key))).await;
        let race = race.into_iter().collect::<Result<Vec<_>, _>>()?;
        let again = [self.probe_put(&key).await?, self.probe_put(&race_key).await?];
        let metadata = self.probe_metadata(&key).await?;
        let absent = self.probe_metadata(&format!("{key}-absent")).await?;
        for key in [&key, &race_key] {
            self.delete_probe(key).await;
        }
        for (tries, key) in
            [(vec![first, again[0]], key), ([race, vec![again[1]]].concat(), race_key)]
        {
            // None is no proof of anything: the answer of the one that won may have been lost.
            let winners = tries.iter().filter(|put| **put == Put::Created).count();
            if winners > 1 {
                return Err(ProbeError::Unconditional { winners, tries: tries.len(), key });
            }
        }
        let kept = metadata.as_ref().and_then(|metadata| metadata.get(METADATA.0));
        if kept.map(String::as_str) != Some(METADATA.1) || absent.is_some() {
            return Err(ProbeError::NoMetadata);
        }
        Ok(())
    }

    /// Completes uploads of the same object, in a race and one afterwards; how many the store let
    /// through, and whether there is an object. None let through is no proof of anything, as above.
    async fn probe_uploads(&self, writer: WriterId) -> Result<(usize, bool), ProbeError> {
        let key = format!("{}-parts", self.layout.probe_key(writer));
        let begun = join_all((0..=UPLOAD_RACERS).map(|_| self.probe_parts(&key))).await;
        let begun = begun.into_iter().collect::<Result<Vec<_>, _>>()?;
        let (last, racers) = begun.split_at(1);
        let race = join_all(racers.iter().map(|upload| self.probe_join(upload))).await;
        let again = join_all(last.iter().map(|upload| self.probe_join(upload))).await;
        let joined: Vec<_> = race.into_iter().chain(again).collect();
        for ((name, _), joined) in racers.iter().chain(last).zip(&joined) {
            if !matches!(joined, Ok(Put::Created))
                && let Err(error) = self.remove_parts(name).await
            {
                warn!(%error, "the start-up probe's upload could not be removed; it does no harm");
            }
        }
        let object = self.probe_metadata(&key).await;
        self.delete_probe(&key).await;
        let joined = joined.into_iter().collect::<Result<Vec<_>, _>>()?;
        let winners = joined.iter().filter(|put| **put == Put::Created).count();
        Ok((winners, object?.is_some()))
    }

    async fn probe_parts(&self, key: &str) -> Result<(UploadName, CompletedPart), ProbeError> {
        let metadata = || [(METADATA.0, METADATA.1.to_owned())];
        let name = self.insist(async || self.begin_parts(key, metadata()).await).await?;
        let body = || Bytes::from_static(b"probe");
        let part = self.insist(async || self.put_part(&name, 1, body()).await).await?;
        Ok((name, part))
    }

    async fn probe_join(
        &self,
        (name, part): &(UploadName, CompletedPart),
    ) -> Result<Put, ProbeError> {
        let join = async || {
            let joined = self.join_parts(name, std::slice::from_ref(part), 5).await;
            match joined {
                // It was refused, or it is an earlier try that was not.
                Err(error) if error.is_conflict() || error.is_no_such_upload() => Ok(Put::Exists),
                joined => joined,
            }
        };
        self.insist(join).await
    }

    async fn delete_probe(&self, key: &str) {
        if let Err(error) = self.client.delete_object().bucket(&self.bucket).key(key).send().await {
            let error = super::request_error("DELETE", key, &error);
            warn!(%error, "the start-up probe's object could not be deleted; it does no harm");
        }
    }

    async fn probe_put(&self, key: &str) -> Result<Put, ProbeError> {
        let metadata = || [(METADATA.0, METADATA.1.to_owned())];
        self.insist(|| self.put_if_absent(key, Bytes::from_static(b"probe"), metadata())).await
    }

    /// Fails if the rights don't suffice to learn that an object is not there.
    async fn probe_metadata(
        &self,
        key: &str,
    ) -> Result<Option<HashMap<String, String>>, ProbeError> {
        let found = self.insist(|| self.metadata_of(key)).await?;
        Ok(found.map(|(metadata, _)| metadata))
    }

    /// Repeats what may heal, and says at once what does not.
    async fn insist<T>(
        &self,
        request: impl AsyncFn() -> Result<T, RequestError>,
    ) -> Result<T, ProbeError> {
        let mut failures = 0;
        loop {
            let error = match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let bucket = self.bucket.clone();
            match (error.code.as_deref(), error.status) {
                (Some("NoSuchBucket"), _) => return Err(ProbeError::NoBucket { bucket }),
                (_, Some(401 | 403)) => return Err(ProbeError::Denied { bucket, source: error }),
                (Some("NotImplemented" | "MethodNotAllowed"), _) => return Err(error.into()),
                _ => {}
            }
            failures += 1;
            if failures >= FAILURES_MAX {
                return Err(error.into());
            }
            warn!(%error, failures, "the start-up probe failed, will repeat");
            tokio::time::sleep(PAUSE * failures).await;
        }
    }
}
