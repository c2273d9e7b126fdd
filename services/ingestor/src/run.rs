//! One run: fetch by the cadence, produce each page, wait for every delivery report.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipeline_model::Person;
use pipeline_model::api::{Page, Reject, RejectReason};
use pipeline_model::message::{self, EncodeError};
use service_kit::health::Health;
use service_kit::shutdown::Shutdown;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::config::Config;
use crate::delivery::Tally;
use crate::fetch::{FetchError, Fetcher};
use crate::metrics::IngestorMetrics;
use crate::produce::{Producer, ProducerError, RunHeaders};
use crate::retry::Delays;
use crate::summary::{Counts, Ending, Outcome, Summary};

/// How long a run waits at its start for a broker to answer.
const KAFKA_PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits for a topic that may have been created a moment ago.
const TOPIC_PATIENCE: Duration = Duration::from_secs(5);
const KAFKA_RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Time after which a message is lost by its own timeout and the report should long be in.
const REPORT_MARGIN: Duration = Duration::from_secs(10);
/// Rejects of one page that are logged one by one; all are counted.
const REJECTS_LOGGED_MAX: usize = 100;

/// Reason names in the readiness report.
pub(crate) const READY_API: &str = "api";

/// What every run of a process shares.
pub(crate) struct Ingestor {
    /// The settings.
    pub(crate) config: Config,
    /// The source.
    pub(crate) fetcher: Fetcher,
    /// The destination.
    pub(crate) producer: Producer,
    /// The counters.
    pub(crate) metrics: IngestorMetrics,
    /// Where failures of the API show.
    pub(crate) health: Health,
    /// When to end early.
    pub(crate) shutdown: Shutdown,
}

/// A future that completes when the time to drain is up.
type GiveUp<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send)>;

/// Why a request gave no page.
enum NoPage {
    Failed(FetchError),
    Interrupted,
}

/// The state of one run.
struct Run<'a> {
    shared: &'a Ingestor,
    run_id: String,
    headers: RunHeaders,
    tally: Arc<Tally>,
    counts: Counts,
    last_error: Option<String>,
}

impl Ingestor {
    /// Makes one run. Its failures are in the summary, and logged.
    pub(crate) async fn run(&self) -> Summary {
        let started = Instant::now();
        self.metrics.run_active.set(1);
        let run_id = uuid::Uuid::now_v7().to_string();
        let mut run = Run {
            shared: self,
            headers: RunHeaders::new(&run_id),
            run_id,
            tally: Arc::default(),
            counts: Counts::default(),
            last_error: None,
        };
        tracing::info!(
            run_id = run.run_id,
            pause_seconds = self.config.cadence.pause.as_secs_f64(),
            streaming_seconds = self.config.cadence.streaming.as_secs_f64(),
            results = self.config.api.results,
            "run started"
        );
        let ending = run.stream_and_settle().await;
        let summary = run.summary(ending, started.elapsed());
        self.record(&summary);
        summary
    }

    fn record(&self, summary: &Summary) {
        self.metrics.run_active.set(0);
        self.metrics.runs.with_label_values(&[summary.outcome.code()]).inc();
        let Counts { requests, requests_failed, retries, pages, users, .. } = summary.counts;
        let Counts { rejected, delivered, failed, unreported, abandoned, .. } = summary.counts;
        tracing::info!(
            run_id = summary.run_id,
            outcome = summary.outcome.code(),
            seconds = summary.seconds,
            requests,
            requests_failed,
            retries,
            pages,
            users,
            rejected,
            delivered,
            failed,
            unreported,
            abandoned,
            "run ended"
        );
        if summary.outcome == Outcome::Failed {
            tracing::error!(run_id = summary.run_id, reason = summary.last_error, "run failed");
        }
        if summary.outcome == Outcome::Succeeded {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.metrics.last_success.set(now.as_secs_f64());
        }
    }

    /// Waits until Kafka knows the topic; an unknown topic and silent brokers are given some time.
    async fn await_topic(&self) -> Result<(), ProducerError> {
        let started = Instant::now();
        loop {
            let Err(error) = self.producer.check_topic().await else {
                return Ok(());
            };
            let patience = match error {
                ProducerError::TopicMissing { .. } => TOPIC_PATIENCE,
                _ => KAFKA_PATIENCE,
            };
            if started.elapsed() >= patience {
                return Err(error);
            }
            sleep(KAFKA_RETRY_PAUSE).await;
        }
    }

    /// Completes when a shutdown has been asked for and its time to drain is up.
    async fn drain_time_is_up(&self) {
        self.shutdown.wait().await;
        sleep(self.config.common.drain_timeout).await;
    }
}

impl Run<'_> {
    async fn stream_and_settle(&mut self) -> Ending {
        let shared = self.shared;
        tokio::select! {
            ready = shared.await_topic() => if let Err(error) = ready {
                self.last_error = Some(error.to_string());
                return Ending::Broken;
            },
            _ = shared.shutdown.wait() => return Ending::Interrupted,
        }
        let mut give_up = std::pin::pin!(shared.drain_time_is_up());
        let ending = self.stream(give_up.as_mut()).await;
        self.settle(give_up.as_mut()).await;
        ending
    }

    /// Fetches and produces page after page.
    async fn stream(&mut self, mut give_up: GiveUp<'_>) -> Ending {
        let shared = self.shared;
        let started = Instant::now();
        let mut payload = Vec::new();
        let mut last_slot = None;
        let mut not_before = started;
        while self.counts.pages < shared.config.requests_max.unwrap_or(u64::MAX)
            && let Some(slot) = shared.config.cadence.next(last_slot, started.elapsed())
        {
            tokio::select! {
                () = sleep_until((started + slot).max(not_before)) => {}
                _ = shared.shutdown.wait() => return Ending::Interrupted,
            }
            last_slot = Some(slot);
            self.counts.requests += 1;
            match self.fetch().await {
                Ok(page) => {
                    shared.health.ready(READY_API);
                    self.counts.pages += 1;
                    self.produce(page, &mut payload, give_up.as_mut()).await;
                }
                Err(NoPage::Interrupted) => return Ending::Interrupted,
                Err(NoPage::Failed(error)) => {
                    self.note_failed_request(&error);
                    // Without a pause, requests that fail at once would follow each other at once.
                    not_before = Instant::now() + shared.config.api.retry_delay;
                }
            }
            if let Some(reason) = shared.producer.fatal_error() {
                self.last_error = Some(format!("the Kafka producer failed for good: {reason}"));
                return Ending::Broken;
            }
        }
        Ending::Complete
    }

    fn note_failed_request(&mut self, error: &FetchError) {
        tracing::warn!(run_id = self.run_id, outcome = error.outcome(), %error, "request failed for good");
        self.shared.health.not_ready(READY_API, format!("the last request failed: {error}"));
        self.counts.requests_failed += 1;
        self.last_error = Some(error.to_string());
    }

    /// One page, with as many retries as allowed.
    async fn fetch(&mut self) -> Result<Page, NoPage> {
        let shared = self.shared;
        let api = &shared.config.api;
        let mut delays = Delays::new(api.retry_delay, api.retries_max);
        loop {
            let asked = Instant::now();
            let answer = tokio::select! {
                answer = shared.fetcher.page(self.counts.requests) => answer,
                _ = shared.shutdown.wait() => return Err(NoPage::Interrupted),
            };
            shared.metrics.request_seconds.observe(asked.elapsed().as_secs_f64());
            let outcome = answer.as_ref().map_or_else(FetchError::outcome, |_| "ok");
            shared.metrics.requests.with_label_values(&[outcome]).inc();
            let error = match answer {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            let delay = match error.is_retryable() {
                true => delays.next(error.retry_after()),
                false => None,
            };
            let Some(delay) = delay else {
                return Err(NoPage::Failed(error));
            };
            tracing::warn!(
                run_id = self.run_id,
                outcome,
                %error,
                delay_seconds = delay.as_secs_f64(),
                "request failed, will be repeated"
            );
            tokio::select! {
                () = sleep(delay) => {}
                _ = shared.shutdown.wait() => return Err(NoPage::Interrupted),
            }
            self.counts.retries += 1;
            shared.metrics.retries.inc();
        }
    }

    /// Queues every good user of the page and accounts for the others.
    async fn produce(&mut self, page: Page, payload: &mut Vec<u8>, mut give_up: GiveUp<'_>) {
        let users = page.users.len();
        self.counts.users += users as u64;
        self.shared.metrics.users.inc_by(users as u64);
        let mut rejected = 0;
        for (index, user) in page.users.into_iter().enumerate() {
            let encoded = user.and_then(|person| encode(&person, index, payload));
            if let Err(reject) = encoded {
                rejected += 1;
                self.note_reject(&reject, rejected);
                continue;
            }
            tokio::select! {
                biased;
                () = self.shared.producer.send(payload, &self.headers, &self.tally) => {}
                () = &mut give_up => {
                    self.counts.abandoned += (users - index) as u64;
                    return;
                }
            }
        }
        tracing::info!(
            run_id = self.run_id,
            request = self.counts.requests,
            users,
            rejected,
            "page produced"
        );
        if rejected > REJECTS_LOGGED_MAX {
            tracing::warn!(
                run_id = self.run_id,
                rejected,
                logged = REJECTS_LOGGED_MAX,
                "too many rejects in one page to log them all"
            );
        }
    }

    fn note_reject(&mut self, reject: &Reject, rejected: usize) {
        let reason = reject.reason.code();
        self.counts.rejected += 1;
        *self.counts.rejected_by_reason.entry(reason).or_default() += 1;
        self.shared.metrics.rejects.with_label_values(&[reason]).inc();
        if rejected <= REJECTS_LOGGED_MAX {
            tracing::warn!(
                run_id = self.run_id,
                request = self.counts.requests,
                index = reject.index,
                reason,
                field = reject.field,
                detail = reject.detail,
                "user rejected"
            );
        }
    }

    /// Waits for the delivery reports: until the client must have given every message up, or
    /// until the time to drain is up.
    async fn settle(&mut self, give_up: GiveUp<'_>) {
        let limit = self.shared.config.properties.delivery_timeout() + REPORT_MARGIN;
        tokio::select! {
            biased;
            settled = timeout(limit, self.tally.settled()) => if settled.is_err() {
                tracing::error!(run_id = self.run_id, "delivery reports did not come in time");
            },
            () = give_up => {}
        }
        self.counts.delivered = self.tally.delivered_count();
        self.counts.failed = self.tally.failed_count();
        self.counts.unreported = self.tally.pending();
    }

    fn summary(self, ending: Ending, took: Duration) -> Summary {
        let (outcome, why) = self.counts.judge(ending);
        let delivery_failure =
            self.tally.first_failure().map(|why| format!("a message was not delivered: {why}"));
        let causes = [why, delivery_failure, self.last_error];
        let causes: Vec<String> = causes.into_iter().flatten().collect();
        Summary {
            run_id: self.run_id,
            outcome,
            last_error: (!causes.is_empty()).then(|| causes.join(": ")),
            // Milliseconds are as exact as anyone reads.
            seconds: Duration::from_millis(took.as_millis() as u64).as_secs_f64(),
            counts: self.counts,
        }
    }
}

/// The JSON message of `person`, or a reject if it can't be one.
fn encode(person: &Person, index: usize, payload: &mut Vec<u8>) -> Result<(), Reject> {
    message::encode(person, payload).map_err(|error| {
        let (reason, field) = match &error {
            EncodeError::NotFinite { field, .. } => (RejectReason::BadCoordinate, *field),
            EncodeError::TooLarge { .. } => (RejectReason::TooLarge, ""),
            EncodeError::Json(_) => (RejectReason::WrongType, ""),
        };
        Reject { index, reason, field, detail: error.to_string() }
    })
}
