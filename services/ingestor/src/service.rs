//! The process around the runs: admin server, readiness, heartbeat and schedule.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use service_kit::admin::{AdminServer, Router};
use service_kit::health::Health;
use service_kit::shutdown::Shutdown;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::config::{Config, Schedule};
use crate::fetch::Fetcher;
use crate::metrics::IngestorMetrics;
use crate::produce::Producer;
use crate::run::Ingestor;
use crate::summary::Outcome;

/// How often the loop shows that it works, and the age at which it counts as stuck. The longest
/// the loop computes in one go is the parsing of one page.
const BEAT_PERIOD: Duration = Duration::from_secs(1);
const BEAT_STALE_AFTER: Duration = Duration::from_secs(30);
/// How often Kafka is asked about the topic while all is well, and while it isn't.
const KAFKA_CHECK_PERIOD: Duration = Duration::from_secs(15);
const KAFKA_RECHECK_PERIOD: Duration = Duration::from_secs(2);
/// Pause after a run that failed, so that runs which fail at once don't spin.
const FAILED_RUN_PAUSE: Duration = Duration::from_secs(5);

const READY_KAFKA: &str = "kafka";

/// Makes one run, prints its summary as one line of JSON on stdout, and tells whether it went well.
pub(crate) async fn run_once(config: Config, shutdown: Shutdown) -> anyhow::Result<bool> {
    let service = Service::start(config, shutdown).await?;
    let summary = service.beating(service.ingestor.run()).await;
    service.stop().await;
    let mut line = serde_json::to_string(&summary).context("the summary can't be encoded")?;
    line.push('\n');
    std::io::stdout()
        .write_all(line.as_bytes())
        .context("the summary can't be written to stdout")?;
    Ok(summary.outcome != Outcome::Failed)
}

/// Runs by `schedule` until a shutdown is asked for. Fails if the last run lost messages in the
/// drain, or if the producer can't go on.
pub(crate) async fn serve(
    config: Config,
    schedule: Schedule,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let service = Service::start(config, shutdown).await?;
    let served = service.beating(service.follow(schedule)).await;
    service.stop().await;
    served
}

/// The parts that live as long as the process.
struct Service {
    ingestor: Arc<Ingestor>,
    admin: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    helpers: Vec<JoinHandle<()>>,
}

impl Service {
    async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Self> {
        let metrics = IngestorMetrics::new().context("metrics can't be registered")?;
        let fetcher = Fetcher::new(&config.api)?;
        let producer = Producer::new(
            &config.properties,
            &config.topic,
            metrics.delivered.clone(),
            metrics.failed.clone(),
        )?;
        let health = Health::new(BEAT_STALE_AFTER);
        health.not_ready(READY_KAFKA, "no broker has answered yet");
        let admin = match config.common.admin_addr {
            None => None,
            Some(addr) => {
                let server =
                    AdminServer::bind(addr, health.clone(), metrics.registry.clone()).await?;
                tracing::info!(addr = %server.local_addr(), "admin server listens");
                let (stop, stopped) = oneshot::channel::<()>();
                // A dropped sender stops it as well.
                let stopped = async move { stopped.await.unwrap_or_default() };
                Some((stop, tokio::spawn(server.serve(Router::new(), stopped))))
            }
        };
        let helpers = vec![
            tokio::spawn(watch_kafka(producer.clone(), health.clone())),
            tokio::spawn(watch_shutdown(shutdown.clone(), health.clone())),
        ];
        health.started();
        let ingestor = Arc::new(Ingestor { config, fetcher, producer, metrics, health, shutdown });
        Ok(Self { ingestor, admin, helpers })
    }

    /// Drives `work`, beating all the while: the heartbeat stops when the loop blocks its thread.
    async fn beating<T>(&self, work: impl Future<Output = T>) -> T {
        let Ingestor { health, metrics, producer, .. } = &*self.ingestor;
        let mut beat = interval(BEAT_PERIOD);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = beat.tick() => {
                    health.beat();
                    metrics.in_flight.set(producer.in_flight());
                }
            }
        }
    }

    async fn follow(&self, schedule: Schedule) -> anyhow::Result<()> {
        let Ingestor { shutdown, producer, .. } = &*self.ingestor;
        if schedule == Schedule::Manual {
            shutdown.wait().await;
            return Ok(());
        }
        loop {
            let summary = self.ingestor.run().await;
            if let Some(reason) = producer.fatal_error() {
                bail!("the Kafka producer failed for good and needs a restart: {reason}");
            }
            let failed = summary.outcome == Outcome::Failed;
            if shutdown.requested() {
                match failed {
                    true => {
                        bail!("the last run failed: {}", summary.last_error.unwrap_or_default())
                    }
                    false => return Ok(()),
                }
            }
            if failed {
                tokio::select! {
                    () = sleep(FAILED_RUN_PAUSE) => {}
                    _ = shutdown.wait() => return Ok(()),
                }
            }
        }
    }

    /// Stops the admin server last, so that probes and metrics answer during the drain.
    async fn stop(self) {
        for helper in &self.helpers {
            helper.abort();
        }
        if let Some((stop, served)) = self.admin {
            drop(stop);
            if let Err(error) = served.await {
                tracing::error!(%error, "the admin server broke");
            }
        }
    }
}

/// Keeps the readiness of Kafka up to date.
async fn watch_kafka(producer: Producer, health: Health) {
    loop {
        let period = match producer.check_topic().await {
            Ok(()) => {
                health.ready(READY_KAFKA);
                KAFKA_CHECK_PERIOD
            }
            Err(error) => {
                health.not_ready(READY_KAFKA, error.to_string());
                KAFKA_RECHECK_PERIOD
            }
        };
        sleep(period).await;
    }
}

/// Not ready at once when a shutdown is asked for, whatever the loop does.
async fn watch_shutdown(shutdown: Shutdown, health: Health) {
    shutdown.wait().await;
    health.shutting_down();
}
