//! The consumer group's side of the sink: one loop, one closed enum of events, one ordered lane a
//! partition.
//!
//! The loop runs on a thread of its own. It polls Kafka, decodes and appends, and carries out what
//! each partition's ledger decides; everything that waits (S3, dead letters, questions to the
//! brokers) runs elsewhere and comes back as an [`Event`].

mod actions;
mod batch;
mod client;
mod commit;
mod event;
mod gap;
mod group;
mod lane;
mod letters;
mod members;
mod memory;
mod messages;
mod uploads;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use chunk_ledger::{Budget, Fault, Offset, Partition, SealReason};
use rdkafka::error::KafkaError;
use service_kit::health::Health;
use service_kit::shutdown::Shutdown;
use tracing::{info, warn};

pub use client::ClientError;
pub use commit::{Commit, Committer};
pub use event::Event;
pub use gap::Gap;
pub use group::{Group, GroupEvent, Resume, TopicError, Watermarks};
pub use lane::{Lane, LaneConfig, Sealed, Storing, UploadId};

use crate::config::KafkaConfig;
use crate::dead_letter::DeadLetters;
use crate::encode::EncodeError;
use crate::metrics::SinkMetrics;
use crate::store::Store;

/// Messages taken in one turn before events and deadlines are looked at.
const MESSAGES_PER_TURN: usize = 1000;
/// Longest wait for a message while answers from elsewhere are outstanding.
const POLL_BUSY: Duration = Duration::from_millis(5);
/// Longest wait for a message otherwise; bounds how late an age limit is noticed.
const POLL_IDLE: Duration = Duration::from_millis(50);

/// Longest wait at the end for answers of the brokers alone, when everything is stored.
const BROKER_PATIENCE: Duration = Duration::from_secs(5);

/// When the loop ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Never.
    Run,
    /// When every partition is stored up to these ends of the log, by this member or another.
    Drain(BTreeMap<Partition, Offset>),
}

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The drain is complete.
    Drained,
    /// Asked to stop; everything taken from Kafka was stored, and committed unless the log says
    /// otherwise.
    Stopped,
    /// Asked to stop, and the time for it ran out; what was not stored is read again by the next
    /// owner.
    TimedOut,
}

/// Why the loop can't go on.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The Kafka client can't be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The Kafka client refused a call that has to work.
    #[error("the Kafka client failed")]
    Kafka(#[from] KafkaError),
    /// A thread can't be started.
    #[error("a thread can't be started")]
    Thread(#[from] std::io::Error),
    /// The Kafka client gave up for good.
    #[error("the Kafka client ended with a fatal error: {0}")]
    Fatal(String),
    /// Rows could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A partition stopped, so that the drain can't complete.
    #[error(transparent)]
    Fault(Fault),
    /// A task broke.
    #[error("internal failure: {0}")]
    Broken(String),
}

/// What the loop works with.
pub struct SinkParts {
    /// Where messages come from.
    pub kafka: KafkaConfig,
    /// Whether the ends of logs matter.
    pub is_drain: bool,
    /// Size of librdkafka's queue of messages that wait to be consumed, in bytes of payload; the
    /// memory behind it is up to three times that.
    pub queue_bytes_max: u64,
    /// The topic, the writer, and how chunks are made.
    pub lanes: LaneConfig,
    /// The budget of all chunks, in bytes.
    pub chunk_memory_bytes_max: u64,
    /// Longest time for storing what is open at a revocation or at the end.
    pub drain_timeout: Duration,
    /// Where objects go.
    pub store: Store,
    /// Where malformed messages go.
    pub dead_letters: DeadLetters,
    /// What is counted.
    pub metrics: SinkMetrics,
    /// Heartbeat and readiness.
    pub health: Health,
}

/// The loop.
pub struct Sink {
    group: Group,
    committer: Committer,
    mode: Mode,
    lanes: BTreeMap<Partition, Lane>,
    lane_config: LaneConfig,
    budget: Budget,
    store: Store,
    dead_letters: DeadLetters,
    metrics: SinkMetrics,
    health: Health,
    drain_timeout: Duration,
    events: (Sender<Event>, Receiver<Event>),
    started: Instant,
    epoch: u64,
    assigning: Option<members::Assigning>,
    revoking: Vec<members::Revoking>,
    /// When the loop ends at the latest, once it is asked to.
    stop_at: Option<Duration>,
    /// When everything was stored, and only answers of the brokers were left to wait for.
    stored_at: Option<Duration>,
    /// An assignment was taken over, even if of no partition.
    has_joined: bool,
    /// Partitions that a drain has finished, and when to ask about the others.
    drained: members::Drained,
    /// Questions why offsets are missing that are not answered yet: the loop ends after the answers,
    /// so that no loss goes untold.
    gaps_asked: usize,
    /// When each error of the Kafka client, by librdkafka's number, was logged last.
    kafka_errors_logged: BTreeMap<Option<i32>, Duration>,
    /// Batches of messages taken so far.
    batches: u64,
    /// When the last one was taken.
    batch_taken_at: Duration,
    /// Uploads begun so far.
    uploads_begun: u64,
    /// Nothing is fetched until chunks leave memory.
    memory_blocked: bool,
    /// Nothing is fetched until dead letters are acknowledged.
    letters_blocked: bool,
}

impl Sink {
    /// Connects; joins the group only in [`Sink::run`].
    pub fn connect(parts: SinkParts) -> Result<Self, SinkError> {
        let events = channel();
        let group =
            Group::connect(&parts.kafka, parts.is_drain, parts.queue_bytes_max, events.0.clone())?;
        parts.metrics.held_bytes_max.set(parts.chunk_memory_bytes_max.cast_signed());
        parts.health.not_ready(members::READINESS, "has not joined the consumer group yet");
        Ok(Self {
            committer: Committer::start(group.clone(), events.0.clone())?,
            group,
            batches: 0,
            batch_taken_at: Duration::ZERO,
            mode: Mode::Run,
            lanes: BTreeMap::new(),
            lane_config: parts.lanes,
            budget: Budget::new(parts.chunk_memory_bytes_max),
            store: parts.store,
            dead_letters: parts.dead_letters,
            metrics: parts.metrics,
            health: parts.health,
            drain_timeout: parts.drain_timeout,
            events,
            started: Instant::now(),
            epoch: 0,
            assigning: None,
            revoking: Vec::new(),
            stop_at: None,
            stored_at: None,
            has_joined: false,
            drained: members::Drained::default(),
            gaps_asked: 0,
            kafka_errors_logged: BTreeMap::new(),
            uploads_begun: 0,
            memory_blocked: false,
            letters_blocked: false,
        })
    }

    /// The group, for questions to the brokers before the loop runs.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Runs until it is asked to stop or, when draining, until everything is stored. Blocks; must
    /// be called within a tokio runtime's context, which carries the requests to the store.
    pub fn run(mut self, mode: Mode, shutdown: &Shutdown) -> Result<Ending, SinkError> {
        self.mode = mode;
        let ended = self.work(shutdown);
        if !self.is_every_gap_explained() {
            warn!("whether kafka removed messages could not be learnt before the end");
        }
        info!(?ended, "leaving the consumer group");
        close(self.group, self.committer, self.events.1);
        ended
    }

    fn work(&mut self, shutdown: &Shutdown) -> Result<Ending, SinkError> {
        self.group.subscribe()?;
        info!(
            "joining the consumer group; the first partitions may take until others have let go of them"
        );
        loop {
            self.health.beat();
            if shutdown.requested() && self.stop_at.is_none() {
                self.stop()?;
            }
            self.take_messages()?;
            while let Ok(event) = self.events.1.try_recv() {
                self.on_event(event)?;
            }
            self.tick()?;
            if let Some(ending) = self.ending() {
                return Ok(ending);
            }
        }
    }

    fn take_messages(&mut self) -> Result<(), SinkError> {
        let group = self.group.clone();
        while let Some(polled) = group.poll() {
            match polled {
                // It is fetched again.
                Ok(stray) => self.hold(stray)?,
                Err(error) => self.on_kafka_error(&error)?,
            }
        }
        let messages = group.take(MESSAGES_PER_TURN, self.poll_timeout());
        self.batches += 1;
        self.batch_taken_at = self.now();
        for message in messages {
            match message {
                Ok(message) => self.on_message(&message)?,
                Err(error) => self.on_fetch_error(&error)?,
            }
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Duration {
        let is_busy = self.assigning.is_some()
            || self.stop_at.is_some()
            || !self.revoking.is_empty()
            || self.lanes.values().any(Lane::is_waiting);
        if is_busy { POLL_BUSY } else { POLL_IDLE }
    }

    fn on_event(&mut self, event: Event) -> Result<(), SinkError> {
        match event {
            Event::Group(GroupEvent::Assigned(partitions)) => self.on_assigned(partitions),
            Event::Group(GroupEvent::Revoked { partitions, lost }) => {
                self.on_revoked(partitions, lost)
            }
            Event::CommitDone { commit, outcome } => self.on_commit_done(commit, outcome),
            Event::Group(GroupEvent::Report { logs, steady }) => self.on_report(&logs, steady),
            Event::Resolved { epoch, points } => self.on_resolved(epoch, points),
            Event::GapExplained { partition, epoch, gap, watermarks } => {
                self.on_gap_explained(partition, epoch, gap, watermarks);
                Ok(())
            }
            Event::Progress { points } => {
                self.on_progress(points);
                Ok(())
            }
            Event::Probed { partition, epoch, found } => self.on_probed(partition, epoch, found),
            Event::PartStored { partition, upload, bytes } => {
                self.on_part_stored(partition, upload, bytes);
                Ok(())
            }
            Event::UploadLost { partition, upload } => self.on_upload_lost(partition, upload),
            Event::Stored { epoch, chunk, reason, object_bytes, outcome } => {
                self.on_stored(epoch, &chunk, reason, object_bytes, outcome)
            }
            Event::Broken(what) => Err(SinkError::Broken(what)),
        }
    }

    /// What time alone brings about.
    fn tick(&mut self) -> Result<(), SinkError> {
        if self.letters_blocked && self.dead_letters.has_room() {
            self.letters_blocked = false;
        }
        self.take_encoded()?;
        self.unblock_memory();
        let partitions: Vec<_> = self.lanes.keys().copied().collect();
        for partition in partitions {
            self.pump(partition)?;
            self.explain_gaps(partition);
        }
        self.finish_revocations()?;
        self.retry_assignment();
        self.follow_drain();
        self.metrics.held_bytes.set(self.budget.bytes().cast_signed());
        self.metrics.memory_blocked.set(i64::from(self.memory_blocked));
        Ok(())
    }

    /// Starts to leave: nothing more is taken, what is open is stored.
    fn stop(&mut self) -> Result<(), SinkError> {
        info!(timeout_seconds = self.drain_timeout.as_secs_f64(), "stopping: storing what is open");
        self.health.shutting_down();
        self.stop_at = Some(self.now() + self.drain_timeout);
        let partitions: Vec<_> = self.lanes.keys().copied().collect();
        for partition in partitions {
            self.leave(partition, SealReason::Shutdown)?;
        }
        Ok(())
    }

    fn ending(&mut self) -> Option<Ending> {
        let now = self.now();
        let Some(stop_at) = self.stop_at else {
            let is_done = self.is_drained() && self.is_every_gap_explained();
            return is_done.then_some(Ending::Drained);
        };
        let is_settled = self.lanes.values().all(|lane| lane.leaving && lane.ledger.is_settled());
        if is_settled && self.is_every_gap_explained() {
            return Some(Ending::Stopped);
        }
        if self.lanes.values().all(|lane| lane.leaving && lane.ledger.is_stored()) {
            // An answer of the brokers may wait long behind a rebalance, and a commit is but a hint.
            let stored_at = *self.stored_at.get_or_insert(now);
            if now >= stored_at + BROKER_PATIENCE || now >= stop_at {
                if !is_settled {
                    warn!(
                        "everything is stored, but not all of it committed; the next owner adopts it"
                    );
                }
                return Some(Ending::Stopped);
            }
        } else if now >= stop_at {
            warn!(
                "the time to store what is open ran out; the next owner of the partitions reads it again"
            );
            return Some(Ending::TimedOut);
        }
        None
    }

    /// Time since the loop was made, the clock of every ledger.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn events(&self) -> Sender<Event> {
        self.events.0.clone()
    }
}

/// Leaves the group, so that its partitions move on at once and not when the session expires.
/// Closing waits for the brokers; with none there it is left behind after a while.
fn close(group: Group, committer: Committer, events: Receiver<Event>) {
    const TIMEOUT: Duration = Duration::from_secs(5);
    // Without a receiver the client's callbacks answer by themselves.
    drop(events);
    let (closed, wait) = channel();
    let thread = std::thread::Builder::new().name("kafka-close".to_owned()).spawn(move || {
        committer.finish();
        group.leave();
        let _ = closed.send(());
    });
    match thread {
        Ok(_) if wait.recv_timeout(TIMEOUT).is_ok() => {}
        _ => warn!(
            "the consumer group could not be left in time; its partitions move when the session expires"
        ),
    }
}
