//! An object that is stored in parts while its chunk still fills.
//!
//! Parts lie in the store for nobody to see until they are joined. Joining is one conditional
//! request, just as the PUT of a small object: it creates the object, or is refused because there
//! is one. Whatever else happens to an upload (it is removed by the partition's next owner, by a
//! lifecycle rule, by hand) it can only come to nothing, and its messages are read again.

use std::time::Instant;

use aws_sdk_s3::types::CompletedPart;
use bytes::Bytes;
use chunk_ledger::{Chunk, Opening, StoreOutcome, opening_to_metadata};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tracing::warn;

use super::multipart::UploadName;
use super::{Put, Store, UnreadableObject};
use crate::metrics::{AbortReason, Operation};

/// Refusals because of another writer at the same key, without an object to be seen there, after
/// which the upload is given up. AWS wants it begun anew then.
const CONFLICTS_MAX: u32 = 5;
/// How often a completion without an object is repeated before the upload counts as lost: the
/// store may still be at an earlier try.
const EMPTY_PROMISES_MAX: u32 = 5;

/// The handle of an upload, whose requests are made by a task of its own. Dropped before it is
/// completed, the upload is removed.
#[derive(Debug)]
pub struct Upload {
    orders: UnboundedSender<Order>,
    /// Tells the task, even in the midst of a request, that nobody wants the object any more.
    _wanted: oneshot::Sender<()>,
}

/// What the owner of an upload hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadReport {
    /// A part of so many bytes is stored and out of memory.
    PartStored(u64),
    /// Somebody removed the upload: it can't be completed any more.
    Lost,
}

type Outcome = Result<StoreOutcome, UnreadableObject>;

#[derive(Debug)]
enum Order {
    Part(Bytes),
    Complete { chunk: Chunk, answer: oneshot::Sender<Outcome> },
}

impl Upload {
    /// Stores `part` behind those that were sent before. All but the last must be of one size, of
    /// 5 MiB or more.
    pub fn send(&self, part: Bytes) {
        // With the task gone the upload is lost, which it has reported.
        let _ = self.orders.send(Order::Part(part));
    }

    /// Creates the object of the parts that were sent, on condition that there is none at its key.
    /// Repeats until the store has decided, however long that takes: the caller bounds it by
    /// dropping the future, and nothing is lost then.
    pub async fn complete(self, chunk: &Chunk) -> Outcome {
        let (answer, decided) = oneshot::channel();
        // A task that is gone drops the answer.
        let _ = self.orders.send(Order::Complete { chunk: *chunk, answer });
        decided.await.unwrap_or(Ok(StoreOutcome::Lost))
    }
}

impl Store {
    /// Begins the upload of a chunk of which only the opening is known, once `ready`'s sender is
    /// gone. Must be called within a tokio runtime.
    pub fn begin_upload(
        &self,
        opening: &Opening,
        ready: watch::Receiver<()>,
        report: impl Fn(UploadReport) + Send + Sync + 'static,
    ) -> Upload {
        let (orders, received) = unbounded_channel();
        let (wanted, unwanted) = oneshot::channel();
        let task = Task {
            key: self.layout.key(opening.partition, opening.day(), opening.start),
            store: self.clone(),
            opening: *opening,
            name: None,
            parts: Vec::new(),
            bytes: 0,
        };
        tokio::spawn(task.run(ready, received, unwanted, report));
        Upload { orders, _wanted: wanted }
    }
}

struct Task {
    store: Store,
    opening: Opening,
    key: String,
    /// Known once the store has begun the upload.
    name: Option<UploadName>,
    parts: Vec<CompletedPart>,
    /// In these parts.
    bytes: u64,
}

/// How an upload ended.
enum End {
    /// The object was created, by this upload.
    Created,
    /// Somebody removed it.
    Lost,
    /// It is of no use any more.
    Useless(AbortReason),
}

impl Task {
    async fn run(
        mut self,
        ready: watch::Receiver<()>,
        orders: UnboundedReceiver<Order>,
        unwanted: oneshot::Receiver<()>,
        report: impl Fn(UploadReport),
    ) {
        let end = tokio::select! {
            end = self.work(ready, orders, &report) => end,
            _ = unwanted => End::Useless(AbortReason::GivenUp),
        };
        match (end, &self.name) {
            (End::Lost, _) => {
                warn!(
                    key = self.key,
                    "the upload is gone: another sink, a lifecycle rule or somebody removed it; its messages are read again"
                );
                self.store.metrics.uploads_lost.inc();
                report(UploadReport::Lost);
            }
            (End::Useless(reason), Some(name)) => self.store.abort_upload(name, reason).await,
            (End::Created, _) | (End::Useless(_), None) => {}
        }
    }

    async fn work(
        &mut self,
        mut ready: watch::Receiver<()>,
        mut orders: UnboundedReceiver<Order>,
        report: &impl Fn(UploadReport),
    ) -> End {
        // Nothing is ever sent: the sender goes away.
        let _ = ready.changed().await;
        let name = self.begin().await;
        while let Some(order) = orders.recv().await {
            match order {
                Order::Part(part) => {
                    let bytes = part.len() as u64;
                    if !self.store_part(&name, part).await {
                        return End::Lost;
                    }
                    report(UploadReport::PartStored(bytes));
                }
                Order::Complete { chunk, answer } => {
                    let (outcome, end) = match self.complete(&name, &chunk).await {
                        Ok((outcome, end)) => (Ok(outcome), end),
                        Err(unreadable) => (Err(unreadable), End::Useless(AbortReason::Conflict)),
                    };
                    // Nobody waits if the partition is gone meanwhile.
                    let _ = answer.send(outcome);
                    return end;
                }
            }
        }
        End::Useless(AbortReason::GivenUp)
    }

    async fn begin(&mut self) -> UploadName {
        let mut attempts = self.store.attempts(Operation::BeginUpload);
        loop {
            let metadata = opening_to_metadata(self.store.layout.topic(), &self.opening);
            match self.store.begin_parts(&self.key, metadata).await {
                Ok(name) => {
                    attempts.succeeded();
                    return self.name.insert(name).clone();
                }
                Err(error) => attempts.pause(&error).await,
            }
        }
    }

    /// Stores one part; false if the upload is gone.
    async fn store_part(&mut self, name: &UploadName, part: Bytes) -> bool {
        let number = self.parts.len() as i32 + 1;
        let mut attempts = self.store.attempts(Operation::Part);
        loop {
            match self.store.put_part(name, number, part.clone()).await {
                Ok(stored) => {
                    attempts.succeeded();
                    self.store.metrics.parts.inc();
                    self.parts.push(stored);
                    self.bytes += part.len() as u64;
                    return true;
                }
                Err(error) if error.is_no_such_upload() => return false,
                Err(error) => attempts.pause(&error).await,
            }
        }
    }

    /// Joins the parts. What lies at the key decides, and not the answer. An upload that is gone may
    /// have been completed by an earlier try whose answer was lost, and a refusal may be due to
    /// it. Nor does a success prove anything: VersityGW (1.8.0) answers 200 where it died while it
    /// joined an earlier try, and never made the object; and where the upload is gone and another
    /// writer's object lies at the key.
    async fn complete(
        &self,
        name: &UploadName,
        chunk: &Chunk,
    ) -> Result<(StoreOutcome, End), UnreadableObject> {
        let begun = Instant::now();
        let mut attempts = self.store.attempts(Operation::CompleteUpload);
        let (mut conflicts, mut empty_promises) = (0, 0);
        loop {
            let joined = self.store.join_parts(name, &self.parts, self.bytes).await;
            let is_about_the_key = match &joined {
                Ok(_) => true,
                Err(error) => error.is_conflict() || error.is_final_for_upload(),
            };
            if is_about_the_key && let Some(found) = self.store.find_at(&self.key).await? {
                attempts.succeeded();
                self.store.metrics.note_decision(begun);
                return Ok(match (joined, found == *chunk) {
                    (Ok(Put::Created), true) => (StoreOutcome::Created, End::Created),
                    (_, true) => (StoreOutcome::Exists(found), End::Created),
                    (_, false) => {
                        (StoreOutcome::Exists(found), End::Useless(AbortReason::Conflict))
                    }
                });
            }
            let error = match joined {
                Ok(Put::Created) if empty_promises >= EMPTY_PROMISES_MAX => {
                    warn!(
                        key = self.key,
                        "the store calls the upload complete, but has no object; its messages are read again"
                    );
                    return Ok((StoreOutcome::Lost, End::Useless(AbortReason::Refused)));
                }
                Ok(Put::Created) => {
                    empty_promises += 1;
                    attempts.pause(&"the store calls the upload complete, but has no object").await;
                    continue;
                }
                Ok(Put::Exists) => {
                    // Refused, yet gone when asked: somebody deletes objects. Ask again.
                    attempts.pause(&"the store refused the object as existing, but has none").await;
                    continue;
                }
                Err(error) if error.is_no_such_upload() => {
                    return Ok((StoreOutcome::Lost, End::Lost));
                }
                Err(error) => error,
            };
            attempts.pause(&error).await;
            conflicts += u32::from(error.is_conflict());
            if error.is_final_for_upload() || conflicts >= CONFLICTS_MAX {
                warn!(key = self.key, %error, "the store will not complete the upload; its messages are read again");
                return Ok((StoreOutcome::Lost, End::Useless(AbortReason::Refused)));
            }
        }
    }
}
