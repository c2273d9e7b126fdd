//! The loop of `serve`: begins runs when the scheduler or a request says so, drives the one that is
//! active, and answers questions about all of them.
//!
//! Everything happens here, one event after another; nothing is shared.

mod answer;

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use service_kit::shutdown::{Shutdown, Trigger as Stop};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::book::Book;
use super::history::{History, Status, Step};
use super::question::{Answer, Asker, Begun, Question, Refusal, questions};
use super::topic::Contents;
use super::{Record, Requested, State, now};
use crate::run::{Assignment, Ingestor};
use crate::schedule::{Cause, Decision, Moment, Scheduler};
use crate::summary::{Counts, Outcome, Progress, Summary};

/// How long runs begun by the schedule wait for the history to be read. If Kafka is away for
/// longer, they begin, and fail for the same reason, which is what alerts look at.
const HISTORY_PATIENCE: Duration = Duration::from_secs(30);
/// Time for the last record to be written, however long the drain took.
const LAST_RECORD_TIMEOUT: Duration = Duration::from_secs(2);
/// The clocks are looked at this often, for the wall clock may jump.
const CLOCK_PERIOD: Duration = Duration::from_secs(1);

/// The end of a run that was active when its process died, queued or running: the record that it
/// began may not have been written.
const ENDED_WITH_PROCESS: &str = "the ingestor ended during the run";

/// What the loop waits for.
enum Event {
    Asked(Question),
    Ended(Summary),
    History(Step),
    Time,
    Leave,
}

/// The run that is active.
enum Active {
    /// Its record is being written; then these get their answer.
    Queued { id: Uuid, answers: Vec<Answer<Begun>> },
    /// It is at work.
    Running {
        id: Uuid,
        stop: Stop,
        progress: watch::Receiver<Progress>,
        run: BoxFuture<'static, Summary>,
    },
}

/// Begins, drives and ends runs.
pub(crate) struct Dispatcher {
    ingestor: Arc<Ingestor>,
    scheduler: Scheduler,
    history: History,
    book: Book,
    active: Option<Active>,
    questions: mpsc::Receiver<Question>,
    shutdown: Shutdown,
    started: Instant,
    leaving: Option<Instant>,
    last_failure: Option<String>,
}

impl Dispatcher {
    /// A dispatcher, and the way to ask it.
    pub(crate) fn new(
        ingestor: Arc<Ingestor>,
        scheduler: impl FnOnce(Moment) -> Scheduler,
        history: History,
        shutdown: Shutdown,
    ) -> (Self, Asker) {
        let (asker, questions) = questions();
        let started = Instant::now();
        let moment = Moment { wall: Timestamp::now(), steady: Duration::ZERO };
        let dispatcher = Self {
            ingestor,
            scheduler: scheduler(moment),
            history,
            book: Book::default(),
            active: None,
            questions,
            shutdown,
            started,
            leaving: None,
            last_failure: None,
        };
        (dispatcher, asker)
    }

    /// Works until a shutdown is asked for and all is done. Fails if a run lost messages in the
    /// drain, or if the producer can't go on.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        loop {
            self.decide();
            self.show_metrics();
            match self.next_event().await {
                Event::Asked(question) => self.answer(question),
                Event::Ended(summary) => self.run_ended(summary)?,
                Event::History(step) => self.history_stepped(step),
                Event::Time => {}
                Event::Leave => self.leave(),
            }
            if let Some(deadline) = self.leaving
                && self.active.is_none()
                && (!self.history.is_worth_waiting() || Instant::now() >= deadline)
            {
                break;
            }
        }
        if self.history.is_worth_waiting() {
            tracing::warn!(
                reason = self.history.problem(),
                "the last records of runs could not be written in time"
            );
        }
        match self.last_failure {
            Some(why) => bail!("the last run failed: {why}"),
            None => Ok(()),
        }
    }

    async fn next_event(&mut self) -> Event {
        let idle = self.scheduler.idle_for(self.moment()).filter(|_| self.may_begin());
        let idle = idle.unwrap_or(CLOCK_PERIOD).min(CLOCK_PERIOD);
        let Self { questions, active, history, book, shutdown, leaving, .. } = self;
        let running = async {
            match active {
                Some(Active::Running { run, .. }) => run.await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = shutdown.wait(), if leaving.is_none() => Event::Leave,
            summary = running => Event::Ended(summary),
            step = history.step(|id| book.get(id).cloned()) => Event::History(step),
            Some(question) = questions.recv() => Event::Asked(question),
            () = sleep(idle) => Event::Time,
        }
    }

    fn moment(&self) -> Moment {
        Moment { wall: Timestamp::now(), steady: self.started.elapsed() }
    }

    /// Whether the scheduler may begin runs: ticks that an earlier process has decided are known.
    fn may_begin(&self) -> bool {
        let is_unread = matches!(self.history.status(), Status::Unread(_));
        !is_unread || self.started.elapsed() >= HISTORY_PATIENCE
    }

    /// Does what the scheduler decides.
    fn decide(&mut self) {
        if !self.may_begin() {
            return;
        }
        self.ingestor.health.started();
        for decision in self.scheduler.advance(self.moment()) {
            match decision {
                Decision::Begin(cause) => {
                    let id = self.enter(cause, Requested::default(), None);
                    self.begin(id);
                }
                Decision::Skip { ticks, last, reason } => {
                    let reason = reason.code();
                    self.ingestor.metrics.ticks_skipped.with_label_values(&[reason]).inc_by(ticks);
                    tracing::warn!(ticks, %last, reason, "ticks of the schedule skipped");
                }
            }
        }
    }

    /// Enters a new run into the book.
    fn enter(&mut self, cause: Cause, requested: Requested, key: Option<String>) -> Uuid {
        let defaults = &self.ingestor.config.parameters;
        let record = Record::queued(cause, requested, key, defaults);
        let id = record.run.id;
        self.insert(record);
        self.history.changed(id);
        id
    }

    fn insert(&mut self, record: Record) {
        for evicted in self.book.insert(record) {
            self.history.forgotten(evicted);
        }
    }

    /// Begins the run that was entered, unless it was told to end meanwhile.
    fn begin(&mut self, id: Uuid) {
        let Some(run) = self.book.get_mut(id) else { return };
        if run.cancel_requested_at.is_some() {
            self.active = None;
            return self.close(id, Outcome::Cancelled, Counts::default(), None);
        }
        run.state = State::Running;
        run.started_at = Some(now());
        let parameters = run.parameters.clone();
        self.history.changed(id);
        let (stop, told) = Shutdown::manual();
        let (shown, progress) = watch::channel(Progress::default());
        let assignment = Assignment { id, parameters, stop: told, progress: shown };
        let ingestor = Arc::clone(&self.ingestor);
        let run = async move { ingestor.run(assignment).await }.boxed();
        self.active = Some(Active::Running { id, stop, progress, run });
    }

    fn run_ended(&mut self, summary: Summary) -> anyhow::Result<()> {
        self.active = None;
        let Summary { run_id, outcome, last_error, counts, .. } = summary;
        self.close(run_id, outcome, counts, last_error.clone());
        if let Some(reason) = self.ingestor.producer.fatal_error() {
            bail!("the Kafka producer failed for good and needs a restart: {reason}");
        }
        if let Some(deadline) = &mut self.leaving {
            *deadline = (*deadline).max(Instant::now() + LAST_RECORD_TIMEOUT);
            if outcome == Outcome::Failed {
                self.last_failure = Some(last_error.unwrap_or_default());
            }
        }
        Ok(())
    }

    /// The run is over.
    fn close(&mut self, id: Uuid, outcome: Outcome, counts: Counts, last_error: Option<String>) {
        if let Some(run) = self.book.get_mut(id) {
            run.state = outcome.into();
            run.counts = counts;
            run.last_error = last_error;
            run.ended_at = Some(now());
        }
        self.history.changed(id);
        self.scheduler.ended(id, outcome, self.moment());
    }

    fn leave(&mut self) {
        self.leaving = Some(Instant::now() + self.ingestor.config.common.drain_timeout);
        self.scheduler.leave();
        self.stop_active();
    }

    /// Tells the active run to end. It does so at its own time.
    fn stop_active(&mut self) {
        let id = match &self.active {
            None => return,
            Some(Active::Queued { id, .. }) => *id,
            Some(Active::Running { id, stop, .. }) => {
                stop.fire();
                *id
            }
        };
        if let Some(run) = self.book.get_mut(id) {
            run.cancel_requested_at.get_or_insert_with(now);
            self.history.changed(id);
        }
    }

    fn history_stepped(&mut self, step: Step) {
        match step {
            Step::Read(contents) => self.merge(contents),
            Step::Written(id) => self.begin_queued(Some(id)),
            Step::NotWritten => match self.history.status() {
                Status::InMemory(why) if self.queued_has_key() => {
                    self.withdraw_queued(Refusal::KeyNotKept(why.clone()));
                }
                Status::InMemory(_) => self.begin_queued(None),
                _ => {
                    let why = self.history.problem().unwrap_or_default().to_string();
                    self.withdraw_queued(Refusal::NotRecorded(why));
                }
            },
            Step::Unreadable => {}
        }
    }

    /// Whether a run waits for its record that was asked for with a key.
    fn queued_has_key(&self) -> bool {
        let Some(Active::Queued { id, .. }) = &self.active else { return false };
        self.book.get(*id).is_some_and(|record| record.run.idempotency_key.is_some())
    }

    /// Begins the run that waits for its record, if it is `recorded`, or if it can't be.
    fn begin_queued(&mut self, recorded: Option<Uuid>) {
        match self.active.take() {
            Some(Active::Queued { id, answers }) if recorded.is_none_or(|it| it == id) => {
                self.begin(id);
                self.tell_begun(id, answers);
            }
            active => self.active = active,
        }
    }

    /// Takes up what the topic holds and this process does not know yet. A run that is not over
    /// there was active when its process died.
    fn merge(&mut self, contents: Contents) {
        for mut record in contents.records {
            let id = record.run.id;
            if self.book.get(id).is_some() || self.history.is_waiting(id) {
                continue;
            }
            if !record.run.state.has_ended() {
                let reason = ENDED_WITH_PROCESS;
                tracing::warn!(run_id = %id, reason, "a run of an earlier process failed");
                record.run.state = State::Failed;
                record.run.last_error = Some(reason.to_string());
                record.run.ended_at = Some(now());
                self.history.changed(id);
                // Its own process could not count it.
                self.ingestor.metrics.runs.with_label_values(&[Outcome::Failed.code()]).inc();
            }
            if let Some(tick) = record.run.tick {
                self.scheduler.remember(tick);
            }
            self.insert(record);
        }
        for id in contents.surplus {
            self.history.forgotten(id);
        }
        // The topic may be a new one.
        for id in self.book.ids().filter(|id| !self.history.is_stored(*id)).collect::<Vec<_>>() {
            self.history.changed(id);
        }
        if let Some(last_success) = self.book.last_success() {
            self.ingestor.metrics.last_success.set(unix_seconds(last_success));
        }
    }

    /// The run that waits for its record does not begin after all.
    fn withdraw_queued(&mut self, refusal: Refusal) {
        match self.active.take() {
            Some(Active::Queued { id, answers }) => {
                self.book.remove(id);
                self.history.forgotten(id);
                self.scheduler.withdrawn();
                for answer in answers {
                    answer::reply(answer, Err(refusal.clone()));
                }
            }
            active => self.active = active,
        }
    }

    fn show_metrics(&self) {
        let metrics = &self.ingestor.metrics;
        metrics.history_kept.set((*self.history.status() == Status::Kept).into());
        metrics.next_tick.set(self.scheduler.next_tick().map_or(0.0, unix_seconds));
    }
}

fn unix_seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1e3
}
