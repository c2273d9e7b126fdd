//! One run: fetch by the cadence, produce each page, wait for every delivery report.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipeline_model::api::{Page, Reject};
use service_kit::health::Health;
use service_kit::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use crate::config::Config;
use crate::delivery::Tally;
use crate::fetch::{FetchError, Fetcher, Pages};
use crate::metrics::IngestorMetrics;
use crate::produce::{Producer, ProducerError, RunHeaders};
use crate::retry::Delays;
use crate::runs::Parameters;
use crate::summary::{Counts, Ending, Outcome, Progress, Summary};

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
}

/// One run that is to be made.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// Its id.
    pub(crate) id: Uuid,
    /// What it uses.
    pub(crate) parameters: Parameters,
    /// Tells it to end early.
    pub(crate) stop: Shutdown,
    /// Shows what it has done so far.
    pub(crate) progress: watch::Sender<Progress>,
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
    assignment: Assignment,
    pages: Pages,
    headers: RunHeaders,
    tally: Arc<Tally>,
    counts: Counts,
    rejected_by_reason: BTreeMap<&'static str, u64>,
    last_error: Option<String>,
}

impl Ingestor {
    /// Makes one run. Its failures are in the summary, and logged.
    pub(crate) async fn run(&self, assignment: Assignment) -> Summary {
        let started = Instant::now();
        self.metrics.run_active.set(1);
        let Parameters { results, pause, streaming, seed } = &assignment.parameters;
        tracing::info!(
            run_id = %assignment.id,
            pause_seconds = pause.as_secs_f64(),
            streaming_seconds = streaming.as_secs_f64(),
            results,
            seed,
            "run started"
        );
        let mut run = Run {
            shared: self,
            pages: self.fetcher.pages(*results, seed.as_deref()),
            headers: RunHeaders::new(&assignment.id.to_string()),
            assignment,
            tally: Arc::default(),
            counts: Counts::default(),
            rejected_by_reason: BTreeMap::new(),
            last_error: None,
        };
        let ending = run.stream_and_settle().await;
        let summary = run.summary(ending, started.elapsed());
        self.record(&summary);
        summary
    }

    fn record(&self, summary: &Summary) {
        self.metrics.run_active.set(0);
        self.metrics.runs.with_label_values(&[summary.outcome.code()]).inc();
        self.metrics.run_seconds.observe(summary.seconds);
        let Counts { requests, requests_failed, retries, pages, users, .. } = summary.counts;
        let Counts { rejected, delivered, failed, unreported, abandoned, .. } = summary.counts;
        tracing::info!(
            run_id = %summary.run_id,
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
            tracing::error!(run_id = %summary.run_id, reason = summary.last_error, "run failed");
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
}

impl Run<'_> {
    async fn stream_and_settle(&mut self) -> Ending {
        let (shared, stop) = (self.shared, self.assignment.stop.clone());
        tokio::select! {
            ready = shared.await_topic() => if let Err(error) = ready {
                self.last_error = Some(error.to_string());
                return Ending::Broken;
            },
            _ = stop.wait() => return Ending::Interrupted,
        }
        let drain_timeout = shared.config.common.drain_timeout;
        let mut give_up = std::pin::pin!(async move {
            stop.wait().await;
            sleep(drain_timeout).await;
        });
        let ending = self.stream(give_up.as_mut()).await;
        self.settle(give_up.as_mut()).await;
        ending
    }

    /// Fetches and produces page after page.
    async fn stream(&mut self, mut give_up: GiveUp<'_>) -> Ending {
        let shared = self.shared;
        let (stop, cadence) = (self.assignment.stop.clone(), self.assignment.parameters.cadence());
        let started = Instant::now();
        let mut last_slot = None;
        let mut not_before = started;
        while self.counts.pages < shared.config.requests_max.unwrap_or(u64::MAX)
            && let Some(slot) = cadence.next(last_slot, started.elapsed())
        {
            self.show_progress();
            tokio::select! {
                () = sleep_until((started + slot).max(not_before)) => {}
                _ = stop.wait() => return Ending::Interrupted,
            }
            last_slot = Some(slot);
            self.counts.requests += 1;
            match self.fetch().await {
                Ok(page) => {
                    shared.health.ready(READY_API);
                    self.counts.pages += 1;
                    self.produce(&page, give_up.as_mut()).await;
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

    /// What was delivered so far is known by the tally alone, until the run settles.
    fn show_progress(&self) {
        let counts = Counts {
            delivered: self.tally.delivered_count(),
            failed: self.tally.failed_count(),
            ..self.counts
        };
        let last_error = self.last_error.clone();
        self.assignment.progress.send_replace(Progress { counts, last_error });
    }

    fn note_failed_request(&mut self, error: &FetchError) {
        tracing::warn!(run_id = %self.assignment.id, outcome = error.outcome(), %error, "request failed for good");
        self.shared.health.not_ready(READY_API, format!("the last request failed: {error}"));
        self.counts.requests_failed += 1;
        self.last_error = Some(error.to_string());
    }

    /// One page, with as many retries as allowed.
    async fn fetch(&mut self) -> Result<Page, NoPage> {
        let (shared, stop) = (self.shared, self.assignment.stop.clone());
        let api = &shared.config.api;
        let mut delays = Delays::new(api.retry_delay, api.retries_max);
        loop {
            let asked = Instant::now();
            let answer = tokio::select! {
                answer = self.pages.page(self.counts.requests) => answer,
                _ = stop.wait() => return Err(NoPage::Interrupted),
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
                run_id = %self.assignment.id,
                outcome,
                %error,
                delay_seconds = delay.as_secs_f64(),
                "request failed, will be repeated"
            );
            tokio::select! {
                () = sleep(delay) => {}
                _ = stop.wait() => return Err(NoPage::Interrupted),
            }
            self.counts.retries += 1;
            shared.metrics.retries.inc();
            self.show_progress();
        }
    }

    /// Queues every good user of the page and accounts for the others.
    async fn produce(&mut self, page: &Page, mut give_up: GiveUp<'_>) {
        let users = page.user_count();
        self.counts.users += users as u64;
        self.shared.metrics.users.inc_by(users as u64);
        let mut rejected = 0;
        for (index, user) in page.users().enumerate() {
            let payload = match user {
                Ok(payload) => payload,
                Err(reject) => {
                    rejected += 1;
                    self.note_reject(reject, rejected);
                    continue;
                }
            };
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
            run_id = %self.assignment.id,
            request = self.counts.requests,
            users,
            rejected,
            "page produced"
        );
        if rejected > REJECTS_LOGGED_MAX {
            tracing::warn!(
                run_id = %self.assignment.id,
                rejected,
                logged = REJECTS_LOGGED_MAX,
                "too many rejects in one page to log them all"
            );
        }
    }

    fn note_reject(&mut self, reject: &Reject, rejected: usize) {
        let reason = reject.reason.code();
        self.counts.rejected += 1;
        *self.rejected_by_reason.entry(reason).or_default() += 1;
        self.shared.metrics.rejects.with_label_values(&[reason]).inc();
        if rejected <= REJECTS_LOGGED_MAX {
            tracing::warn!(
                run_id = %self.assignment.id,
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
                tracing::error!(run_id = %self.assignment.id, "delivery reports did not come in time");
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
            run_id: self.assignment.id,
            outcome,
            last_error: (!causes.is_empty()).then(|| causes.join(": ")),
            // Milliseconds are as exact as anyone reads.
            seconds: Duration::from_millis(took.as_millis() as u64).as_secs_f64(),
            counts: self.counts,
            rejected_by_reason: self.rejected_by_reason,
        }
    }
}
