//! `bucket ensure`: creates the bucket if it is not there. One that exists is left as it is.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::store::{Created, Store, StoreConfig, StoreError};

const POLL_PAUSE: Duration = Duration::from_millis(500);

/// Which bucket, in which store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnsureBucketConfig {
    /// The store, and the bucket in it.
    pub store: StoreConfig,
    /// Longest wait for a store that does not answer yet.
    pub timeout: Duration,
}

/// How the bucket fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its name.
    pub bucket: String,
    /// Whether it was created just now.
    pub created: bool,
}

/// Why the bucket is not there.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The store refused, or can't be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store was not ready in time.
    #[error("the store was not ready within {timeout:?}: {last}")]
    NotReady {
        /// How long it was waited for.
        timeout: Duration,
        /// Why it was not ready.
        last: StoreError,
    },
    /// The bucket belongs to another account.
    #[error(
        "bucket {bucket:?} exists and belongs to somebody else: names are shared by all accounts, \
         set S3_BUCKET to another one"
    )]
    Taken {
        /// Its name.
        bucket: String,
    },
}

/// Creates the bucket unless it is there. Waits for a store that does not answer yet, no longer
/// than the timeout; a request that is under way then is waited for.
pub async fn ensure(config: &EnsureBucketConfig) -> Result<Outcome, BucketError> {
    let deadline = Instant::now() + config.timeout;
    let store = Store::connect(&config.store).await?;
    loop {
        match once(&store, &config.store.bucket).await {
            Err(BucketError::Store(error)) if error.is_passing() => {
                if Instant::now() >= deadline {
                    return Err(BucketError::NotReady { timeout: config.timeout, last: error });
                }
                tracing::debug!(%error, "store not ready, asking again");
                sleep(POLL_PAUSE).await;
            }
            result => return result,
        }
    }
}

async fn once(store: &Store, bucket: &str) -> Result<Outcome, BucketError> {
    let bucket = bucket.to_owned();
    if store.has_bucket().await? {
        return Ok(Outcome { bucket, created: false });
    }
    match store.create_bucket().await? {
        Created::Yes => Ok(Outcome { bucket, created: true }),
        Created::Exists => Ok(Outcome { bucket, created: false }),
        // Some stores say so of one's own bucket, too, which somebody has created in between.
        Created::Taken => match store.has_bucket().await {
            Ok(true) => Ok(Outcome { bucket, created: false }),
            _ => Err(BucketError::Taken { bucket }),
        },
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = if self.created { "created" } else { "exists" };
        write!(f, "{}: {done}", self.bucket)
    }
}
