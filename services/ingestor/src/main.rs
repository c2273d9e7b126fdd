//! `ingestor`: users of the randomuser.me API → messages on a Kafka topic.
//!
//! The journey of a user reads in this order: `cadence` (when), `fetch` (the page), `run` (user by
//! user), `produce` (the message), `delivery` (its report), `summary` (what became of the run).
//!
//! Around it, in `serve`: `schedule` decides when runs begin, `runs` begins, ends and remembers them,
//! `run_api` lets others do so over HTTP.

mod cadence;
mod config;
mod delivery;
mod fetch;
mod metrics;
mod produce;
mod retry;
mod run;
mod run_api;
mod runs;
mod schedule;
mod service;
mod summary;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use service_kit::config::environment;
use service_kit::{healthcheck, log, shutdown};

use crate::config::{Config, Task};

/// Exit code for mistakes in the settings, as clap uses it for mistakes in the flags.
const EXIT_CONFIG: u8 = 2;
/// Two threads: timers and connections go on while a page is parsed.
const WORKER_THREADS: usize = 2;
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let matches = config::command().get_matches();
    let task = match config::task(&matches, environment) {
        Ok(task) => task,
        Err(errors) => {
            eprintln!("ingestor: {errors}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let done = match task {
        Task::Run(config) => with_runtime(config, service::run_once),
        Task::Serve(config, serve) => with_runtime(config, async move |config, stop| {
            service::serve(config, serve, stop).await.map(|()| true)
        }),
        Task::Healthcheck(addr) => {
            healthcheck::check(addr, HEALTHCHECK_TIMEOUT).map(|()| true).map_err(Into::into)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ingestor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Starts logs, signals and the runtime, and runs `task` to its end; tells whether it went well.
fn with_runtime(
    config: Config,
    task: impl AsyncFnOnce(Config, shutdown::Shutdown) -> anyhow::Result<bool>,
) -> anyhow::Result<bool> {
    log::init(config.common.log_format, &config.common.log_filter)?;
    let shutdown = shutdown::listen().context("signals can't be received")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("the async runtime can't be started")?;
    let done = runtime.block_on(task(config, shutdown)).unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "ingestor failed");
        false
    });
    // A question to a silent broker may still block a thread; nobody waits for its answer.
    runtime.shutdown_background();
    Ok(done)
}
