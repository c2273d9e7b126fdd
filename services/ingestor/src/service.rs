//! The process around the runs: admin server, readiness and heartbeat.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use service_kit::admin::{AdminServer, Router};
use service_kit::health::Health;
use service_kit::shutdown::Shutdown;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::config::{Config, ServeConfig};
use crate::fetch::Fetcher;
use crate::metrics::IngestorMetrics;
use crate::produce::Producer;
use crate::run::{Assignment, Ingestor};
use crate::run_api;
use crate::runs::{Dispatcher, History, RecordTopic};
use crate::schedule::Scheduler;
use crate::summary::{Outcome, Progress};

/// How often the loop shows that it works, and the age at which it counts as stuck. The longest
/// the loop computes in one go is the parsing of one page.
const BEAT_PERIOD: Duration = Duration::from_secs(1);
const BEAT_STALE_AFTER: Duration = Duration::from_secs(30);
/// How often Kafka is asked about the topic while all is well, and while it isn't.
const KAFKA_CHECK_PERIOD: Duration = Duration::from_secs(15);
const KAFKA_RECHECK_PERIOD: Duration = Duration::from_secs(2);

const READY_KAFKA: &str = "kafka";

/// Makes one run, prints its summary as one line of JSON on stdout, and tells whether it went well.
pub(crate) async fn run_once(config: Config, shutdown: Shutdown) -> anyhow::Result<bool> {
    let ingestor = Arc::new(ingestor(config)?);
    let service = Service::start(&ingestor, Router::new(), &shutdown).await?;
    ingestor.health.started();
    let assignment = Assignment {
        id: Uuid::now_v7(),
        parameters: ingestor.config.parameters.clone(),
        stop: shutdown,
        // Nobody looks at it.
        progress: watch::Sender::new(Progress::default()),
    };
    let summary = service.beating(ingestor.run(assignment)).await;
    service.stop().await;
    let mut line = serde_json::to_string(&summary).context("the summary can't be encoded")?;
    line.push('\n');
    std::io::stdout()
        .write_all(line.as_bytes())
        .context("the summary can't be written to stdout")?;
    Ok(summary.outcome != Outcome::Failed)
}

/// Makes runs by a schedule and by request until a shutdown is asked for. Fails if the last run
/// lost messages in the drain, or if the producer can't go on.
pub(crate) async fn serve(
    config: Config,
    serve: ServeConfig,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let ServeConfig { policy, runs_topic, admin_token } = serve;
    if let (Some(addr), None) = (config.common.admin_addr, &admin_token)
        && !addr.ip().is_loopback()
    {
        tracing::warn!(%addr, "whoever reaches the admin server may start and cancel runs; set ADMIN_TOKEN");
    }
    let ingestor = Arc::new(ingestor(config)?);
    let (producer, properties) = (ingestor.producer.clone(), &ingestor.config.properties);
    let history = History::new(RecordTopic::new(&runs_topic, producer, properties));
    let scheduler = |now| Scheduler::new(policy, now);
    let (dispatcher, asker) =
        Dispatcher::new(Arc::clone(&ingestor), scheduler, history, shutdown.clone());
    let routes = run_api::routes(asker, admin_token);
    let service = Service::start(&ingestor, routes, &shutdown).await?;
    let served = service.beating(dispatcher.run()).await;
    service.stop().await;
    served
}

/// What the runs share.
fn ingestor(config: Config) -> anyhow::Result<Ingestor> {
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
    Ok(Ingestor { config, fetcher, producer, metrics, health })
}

/// The parts that live as long as the process.
struct Service {
    ingestor: Arc<Ingestor>,
    admin: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    helpers: Vec<JoinHandle<()>>,
}

impl Service {
    async fn start(
        ingestor: &Arc<Ingestor>,
        routes: Router,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let Ingestor { config, metrics, health, producer, .. } = &**ingestor;
        let admin = match config.common.admin_addr {
            None => None,
            Some(addr) => {
                let server =
                    AdminServer::bind(addr, health.clone(), metrics.registry.clone()).await?;
                tracing::info!(addr = %server.local_addr(), "admin server listens");
                let (stop, stopped) = oneshot::channel::<()>();
                // A dropped sender stops it as well.
                let stopped = async move { stopped.await.unwrap_or_default() };
                Some((stop, tokio::spawn(server.serve(routes, stopped))))
            }
        };
        let helpers = vec![
            tokio::spawn(watch_kafka(producer.clone(), health.clone())),
            tokio::spawn(watch_shutdown(shutdown.clone(), health.clone())),
        ];
        Ok(Self { ingestor: Arc::clone(ingestor), admin, helpers })
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
