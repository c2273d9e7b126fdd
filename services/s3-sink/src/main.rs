//! `s3-sink`: messages of a Kafka topic → Parquet on S3, each exactly once.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use chunk_ledger::WriterId;
use pipeline_model::dead_letter::topic_of;
use s3_sink::config::{self, Config, KafkaConfig, Task};
use s3_sink::consume::{Ending, Group, LaneConfig, Mode, Sink, SinkParts};
use s3_sink::dead_letter::DeadLetters;
use s3_sink::encode::{EncodingThread, writer_properties};
use s3_sink::metrics;
use s3_sink::store::{Store, StoreHealth};
use service_kit::admin::AdminServer;
use service_kit::config::environment;
use service_kit::health::Health;
use service_kit::metrics::{BuildInfo, Metrics};
use service_kit::shutdown::Shutdown;
use service_kit::{healthcheck, log, shutdown};
use tokio::sync::oneshot;
use tracing::{info, warn};

/// Exit code for mistakes in the settings, as clap uses it for mistakes in the flags.
const EXIT_CONFIG: u8 = 2;
const WORKER_THREADS: usize = 2;
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// The loop beats many times a second; a call into the Kafka client may block for some seconds.
const BEAT_STALE_AFTER: Duration = Duration::from_secs(60);
const TOPIC_RECHECK_PERIOD: Duration = Duration::from_secs(2);
/// The least that S3 takes as a part of an object: so much of each open chunk has to wait in memory.
const PART_BYTES: usize = 5 << 20;
/// Of `MEMORY_LIMIT`, the part for open and storing chunks. The rest is for librdkafka's queue,
/// the row groups being compressed, uploads, and what the allocator keeps.
const CHUNK_SHARE: u64 = 2;
/// Of `MEMORY_LIMIT`, the payloads in librdkafka's queue, which cost up to three times that.
const QUEUE_SHARE: u64 = 64;

fn main() -> ExitCode {
    let matches = config::command().get_matches();
    let task = match config::task(&matches, environment) {
        Ok(task) => task,
        Err(errors) => {
            eprintln!("s3-sink: {errors}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let done = match task {
        Task::Run(config) => with_runtime(config, false),
        Task::Drain(config) => with_runtime(config, true),
        Task::Healthcheck(addr) => {
            healthcheck::check(addr, HEALTHCHECK_TIMEOUT).map_err(Into::into)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A healthcheck and a failing start have no log yet.
            if tracing::enabled!(tracing::Level::ERROR) {
                tracing::error!(error = format!("{error:#}"), "s3-sink failed");
            } else {
                eprintln!("s3-sink: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Starts logs, signals and the runtime, and runs the sink to its end.
fn with_runtime(config: Config, drain: bool) -> anyhow::Result<()> {
    log::init(config.common.log_format, &config.common.log_filter)?;
    let shutdown = shutdown::listen().context("signals can't be received")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("the async runtime can't be started")?;
    let done = runtime.block_on(serve(config, drain, shutdown));
    // A question to a silent broker may still block a thread; nobody waits for its answer.
    runtime.shutdown_background();
    done
}

/// Runs the sink with its admin server around it.
async fn serve(config: Config, drain: bool, shutdown: Shutdown) -> anyhow::Result<()> {
    let health = Health::new(BEAT_STALE_AFTER);
    let build = BuildInfo {
        service: "s3_sink",
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("BUILD_REVISION"),
    };
    let metrics = Metrics::new(build).context("metrics can't be registered")?;
    metrics::register_readiness(&metrics, health.clone()).context("metrics can't be registered")?;
    let (stop, stopped) = oneshot::channel::<()>();
    let admin = match config.common.admin_addr {
        Some(addr) => {
            let server = AdminServer::bind(addr, health.clone(), metrics.clone()).await?;
            info!(addr = %server.local_addr(), "admin server listens");
            // Ends when `stop` is dropped, after the drain.
            let stopped = async move { drop(stopped.await) };
            Some(tokio::spawn(server.serve(axum::Router::new(), stopped)))
        }
        None => None,
    };
    let done = sink(config, drain, shutdown, &health, &metrics).await;
    drop(stop);
    if let Some(admin) = admin
        && let Err(error) = admin.await
    {
        tracing::error!(%error, "the admin server broke");
    }
    done
}

async fn sink(
    config: Config,
    drain: bool,
    shutdown: Shutdown,
    health: &Health,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let (sink_metrics, store_metrics) =
        metrics::register(metrics).context("metrics can't be registered")?;
    sink_metrics.memory_limit_bytes.set(config.memory_bytes_max.cast_signed());
    let writer = WriterId(uuid::Uuid::new_v4().as_u128());
    let store = Store::connect(config.store, store_metrics, StoreHealth(health.clone())).await;
    let probed = tokio::select! {
        probed = store.probe(writer) => probed?,
        _ = shutdown.wait() => return interrupted(drain),
    };
    let sink = Sink::connect(SinkParts {
        kafka: config.kafka.clone(),
        is_drain: drain,
        queue_bytes_max: config.memory_bytes_max / QUEUE_SHARE,
        dead_letters: DeadLetters::connect(&config.kafka, sink_metrics.clone(), health.clone())
            .context("dead letters")?,
        lanes: LaneConfig {
            limits: config.limits,
            writer,
            topic: config.kafka.topic.as_str().into(),
            properties: writer_properties().into(),
            part_bytes: if probed.takes_parts { PART_BYTES } else { usize::MAX },
            encoding: EncodingThread::start().context("the encoding thread can't be started")?,
        },
        chunk_memory_bytes_max: config.memory_bytes_max / CHUNK_SHARE,
        drain_timeout: config.common.drain_timeout,
        store,
        metrics: sink_metrics,
        health: health.clone(),
    })?;

    let ends = tokio::select! {
        ends = await_topics(sink.group().clone(), &config.kafka, drain, health) => ends?,
        _ = shutdown.wait() => return interrupted(drain),
    };
    health.started();
    info!(%writer, topic = config.kafka.topic, group = config.kafka.group_id, drain, "consuming");
    let mode = if drain { Mode::Drain(ends) } else { Mode::Run };
    let runtime = tokio::runtime::Handle::current();
    let (done, wait) = oneshot::channel();
    std::thread::Builder::new()
        .name("consume".to_owned())
        .spawn(move || {
            let _context = runtime.enter();
            // The receiver is gone only if the process ends anyway.
            let _ = done.send(sink.run(mode, &shutdown));
        })
        .context("the consuming thread can't be started")?;
    match wait.await.context("the consuming thread panicked")?? {
        Ending::Stopped | Ending::TimedOut if drain => interrupted(drain),
        ending => {
            info!(?ending, "done");
            Ok(())
        }
    }
}

/// The end by a signal: what a service is for, but a drain has promised more.
fn interrupted(drain: bool) -> anyhow::Result<()> {
    if drain {
        bail!("interrupted before everything was stored; what is stored stays stored");
    }
    Ok(())
}

/// Waits until the topic and its dead-letter topic exist, and learns where their logs end now.
/// A drain does not wait: it fails.
async fn await_topics(
    group: Group,
    kafka: &KafkaConfig,
    drain: bool,
    health: &Health,
) -> anyhow::Result<BTreeMap<chunk_ledger::Partition, chunk_ledger::Offset>> {
    let topics = [kafka.topic.clone(), topic_of(&kafka.topic)];
    loop {
        let (group, topics) = (group.clone(), topics.clone());
        let asked = tokio::task::spawn_blocking(move || find_ends(&group, &topics, drain)).await?;
        match asked {
            Ok(ends) => {
                health.ready("kafka");
                return Ok(ends);
            }
            Err(error) if drain => return Err(error),
            Err(error) => {
                warn!(error = format!("{error:#}"), "not consuming yet");
                health.not_ready("kafka", format!("{error:#}"));
                health.beat();
                tokio::time::sleep(TOPIC_RECHECK_PERIOD).await;
            }
        }
    }
}

fn find_ends(
    group: &Group,
    topics: &[String; 2],
    drain: bool,
) -> anyhow::Result<BTreeMap<chunk_ledger::Partition, chunk_ledger::Offset>> {
    let existing = |topic: &String| {
        group.partitions_of(topic)?.with_context(|| {
            format!("the topic {topic} does not exist; create it with `pipectl topics ensure`")
        })
    };
    let partitions = existing(&topics[0])?;
    existing(&topics[1])?;
    if !drain {
        return Ok(BTreeMap::new());
    }
    let end = |partition| anyhow::Ok((partition, group.watermarks(partition)?.high));
    partitions.into_iter().map(end).collect()
}
