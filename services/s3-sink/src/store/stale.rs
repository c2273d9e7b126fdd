//! Removing uploads: one's own that came to nothing, and those that crashed owners left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use chunk_ledger::Partition;
use futures::stream::{self, StreamExt};
use tokio::sync::watch;
use tracing::{info, warn};

use super::multipart::UploadName;
use super::{RequestError, Store};
use crate::metrics::{AbortReason, Operation};

/// Removing is a courtesy: what remains costs storage and does no harm.
const TRIES_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
const CONCURRENT_MAX: usize = 8;

impl Store {
    /// Removes the uploads that earlier owners of the partitions left behind, as a crash does, and
    /// then drops the senders.
    ///
    /// To be called by the new owner, before it begins uploads of its own there. It owns a
    /// partition as long as its sender has a receiver: the uploads of whoever comes after it are
    /// not touched, however long the store took to list them. Should an earlier owner be alive all
    /// the same and not know that it lost the partition, its upload fails like one that somebody
    /// else has completed first, and it reads on from where the chain ends.
    pub async fn abort_stale_uploads(&self, owned: BTreeMap<Partition, watch::Sender<()>>) {
        let prefix = self.layout.topic_prefix();
        let listing = self.few_tries(Operation::ListUploads, || self.list_parts_begun(&prefix));
        let uploads = match listing.await {
            Ok(uploads) => uploads,
            Err(error) => {
                warn!(%error, "uploads that an earlier owner left behind can't be listed; they stay until a lifecycle rule of the bucket removes them");
                return;
            }
        };
        let removals = stream::iter(uploads).for_each_concurrent(CONCURRENT_MAX, |upload| {
            let name = self.layout.parse(&upload.key);
            let owner = name.and_then(|name| owned.get(&name.partition));
            async move {
                if owner.is_some_and(|owner| !owner.is_closed()) {
                    self.abort_upload(&upload, AbortReason::Stale).await;
                }
            }
        });
        removals.await;
    }

    /// Removes an upload, if that can be done in a few tries.
    pub(super) async fn abort_upload(&self, upload: &UploadName, reason: AbortReason) {
        let key = &upload.key;
        let removal = self.few_tries(Operation::AbortUpload, || self.remove_parts(upload));
        match removal.await {
            Ok(true) => {
                info!(key, reason = reason.code(), "removed an upload that was not completed");
                self.metrics.uploads_aborted(reason).inc();
            }
            // Its owner or another sink was faster.
            Ok(false) => {}
            Err(error) => {
                warn!(key, reason = reason.code(), %error, "an upload that was not completed can't be removed; it stays until the partition's next owner or a lifecycle rule of the bucket removes it");
            }
        }
    }

    async fn few_tries<T, F>(
        &self,
        operation: Operation,
        request: impl Fn() -> F,
    ) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let mut failures = 0;
        loop {
            match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    self.metrics.errors(operation).inc();
                    failures += 1;
                    if failures >= TRIES_MAX || error.is_refusal() {
                        return Err(error);
                    }
                }
            }
            tokio::time::sleep(PAUSE * failures).await;
        }
    }
}
