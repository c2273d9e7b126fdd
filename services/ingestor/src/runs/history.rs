//! Keeps the runs on their topic: which records are still to be written, and what to do while that
//! does not work.
//!
//! Records are written one after another, so that they lie in their order. What could not be
//! written stays in line; the topic is then read again after a pause, until it works.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::Record;
use super::topic::{Contents, RecordTopic, TopicError, WriteError};

/// Pause before the topic is read again after a failure, and after a record was refused, which takes
/// an operator to mend.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// A topic that is said to be missing may have been created a moment ago.
const MISSING_PATIENCE: Duration = Duration::from_secs(5);

/// Whether runs survive a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// What the topic holds is not known yet, for this reason.
    Unread(String),
    /// They do.
    Kept,
    /// They do not, and it is the topic's fault: they are kept in memory. What earlier processes
    /// left on the topic may never have been read.
    InMemory(String),
    /// A record could not be written, or the topic not be read again.
    Interrupted(String),
}

/// What has become of reading and writing.
#[derive(Debug)]
pub(super) enum Step {
    /// The topic was read.
    Read(Contents),
    /// The topic can't be read.
    Unreadable,
    /// The record of this run is on the topic.
    Written(Uuid),
    /// The record of this run could not be written.
    NotWritten,
}

type Reading = BoxFuture<'static, Result<Contents, TopicError>>;
type Writing = BoxFuture<'static, Result<(), WriteError>>;

/// The runs on their topic.
pub(crate) struct History {
    topic: RecordTopic,
    status: Status,
    since: Instant,
    read_at: Instant,
    reading: Option<Reading>,
    /// Runs whose record is to be written, each once.
    waiting: VecDeque<Uuid>,
    writing: Option<(Uuid, Writing)>,
    /// Runs that have a record on the topic, or may have one.
    stored: BTreeSet<Uuid>,
}

impl History {
    /// Nothing is read yet.
    pub(crate) fn new(topic: RecordTopic) -> Self {
        let now = Instant::now();
        Self {
            topic,
            status: Status::Unread("the run history is being read".to_string()),
            since: now,
            read_at: now,
            reading: None,
            waiting: VecDeque::new(),
            writing: None,
            stored: BTreeSet::new(),
        }
    }

    pub(super) fn status(&self) -> &Status {
        &self.status
    }

    /// Why runs would be forgotten at a restart.
    pub(super) fn problem(&self) -> Option<&str> {
        match &self.status {
            Status::Kept => None,
            Status::Unread(why) | Status::InMemory(why) | Status::Interrupted(why) => Some(why),
        }
    }

    /// The run has changed: its record is to be written.
    pub(super) fn changed(&mut self, id: Uuid) {
        if !self.waiting.contains(&id) {
            self.waiting.push_back(id);
        }
    }

    /// The run is to be taken from the topic, if it ever got there.
    pub(super) fn forgotten(&mut self, id: Uuid) {
        match self.stored.contains(&id) {
            true => self.changed(id),
            false => self.waiting.retain(|waiting| *waiting != id),
        }
    }

    /// Whether the run has a record on the topic, or may have one.
    pub(super) fn is_stored(&self, id: Uuid) -> bool {
        self.stored.contains(&id)
    }

    /// Whether the run's record is to be written.
    pub(super) fn is_waiting(&self, id: Uuid) -> bool {
        self.waiting.contains(&id)
            || self.writing.as_ref().is_some_and(|(writing, _)| *writing == id)
    }

    /// Whether records are to be written that may get through soon.
    pub(super) fn is_worth_waiting(&self) -> bool {
        let is_settled = self.waiting.is_empty() && self.writing.is_none();
        !is_settled && matches!(self.status, Status::Kept | Status::Interrupted(_))
    }

    /// Goes on with reading and writing until something has come of it. `record` is a run's record
    /// as it is to be written, `None` if the run is forgotten. May be dropped and called again.
    pub(super) async fn step(&mut self, record: impl Fn(Uuid) -> Option<Record>) -> Step {
        if self.status == Status::Kept {
            return self.write_next(record).await;
        }
        let read = match &mut self.reading {
            Some(reading) => reading.await,
            None => {
                sleep_until(self.read_at).await;
                let topic = self.topic.clone();
                self.reading.insert(async move { topic.read().await }.boxed()).await
            }
        };
        self.reading = None;
        match read {
            Ok(contents) => {
                self.stored.clone_from(&contents.surplus);
                self.stored.extend(contents.records.iter().map(|record| record.run.id));
                tracing::info!(runs = contents.records.len(), "run history is read and kept");
                self.status = Status::Kept;
                Step::Read(contents)
            }
            Err(error) => {
                self.read_at = Instant::now() + RETRY_PAUSE;
                self.unreadable(&error);
                Step::Unreadable
            }
        }
    }

    async fn write_next(&mut self, record: impl Fn(Uuid) -> Option<Record>) -> Step {
        if self.writing.is_none() {
            let Some(id) = self.waiting.pop_front() else { return std::future::pending().await };
            let (topic, record) = (self.topic.clone(), record(id));
            match record {
                Some(_) => self.stored.insert(id),
                None => self.stored.remove(&id),
            };
            self.writing = Some((id, async move { topic.write(id, record).await }.boxed()));
        }
        let Some((id, writing)) = &mut self.writing else { return std::future::pending().await };
        let (id, written) = (*id, writing.await);
        self.writing = None;
        let Err(error) = written else { return Step::Written(id) };
        tracing::warn!(run_id = %id, %error, "a run's record could not be written, will be repeated");
        self.stored.insert(id);
        if !self.waiting.contains(&id) {
            self.waiting.push_front(id);
        }
        let why = format!("a run's record could not be written: {error}");
        let (status, pause) = match error {
            WriteError::Unacknowledged(_) => (Status::Interrupted(why), RETRY_PAUSE),
            WriteError::Refused(_) => (Status::InMemory(why), REFUSED_PAUSE),
        };
        self.status = status;
        self.read_at = Instant::now() + pause;
        Step::NotWritten
    }

    fn unreadable(&mut self, error: &TopicError) {
        let was_unread = matches!(self.status, Status::Unread(_));
        let is_patient = was_unread && self.since.elapsed() < MISSING_PATIENCE;
        let status = match error {
            error if error.is_passing() && was_unread => Status::Unread(error.to_string()),
            error if error.is_passing() => Status::Interrupted(error.to_string()),
            TopicError::Missing(_) if is_patient => Status::Unread(error.to_string()),
            error => Status::InMemory(error.to_string()),
        };
        if status != self.status {
            match &status {
                Status::InMemory(_) => tracing::warn!(
                    %error,
                    "no run history: runs are kept in memory and forgotten at a restart"
                ),
                _ => tracing::warn!(%error, "the run history can't be read, will be tried again"),
            }
            self.status = status;
        }
    }
}
