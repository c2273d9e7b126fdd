//! `make demo`: the whole path of a record on this machine, from an API response to a row in Parquet,
//! through the real binaries. Succeeds only if each message became exactly one row.

mod pipeline;
mod screen;
mod verdict;

use std::process::ExitCode;

use anyhow::{Context, Result};
use service_kit::shutdown::{self, Shutdown};

use crate::pipeline::{Pipeline, readable};
use crate::screen::Screen;

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!("demo: takes no arguments; it runs the pipeline anew in its folder");
        return ExitCode::from(2);
    }
    let shutdown = match shutdown::listen().context("signals can't be received") {
        Ok(shutdown) => shutdown,
        Err(error) => return failure(&error),
    };
    match run(&shutdown) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(_) if shutdown.requested() => {
            eprintln!("demo: stopped by a signal; its processes are gone");
            ExitCode::FAILURE
        }
        Err(error) => failure(&error),
    }
}

fn failure(error: &anyhow::Error) -> ExitCode {
    eprintln!("demo: failed: {error:#}");
    if let Ok(folder) = pipeline::folder() {
        eprintln!("demo: what its processes did is in {}/*.log", readable(&folder).display());
    }
    ExitCode::FAILURE
}

/// Whether all is well. Whatever was started has ended when this returns.
fn run(shutdown: &Shutdown) -> Result<bool> {
    let mut screen = Screen::new(shutdown.clone());

    screen.step("The embedded stack: Kafka with three brokers, S3 and the API");
    let pipeline = Pipeline::start(&screen)?;

    screen.step("Two sinks join the consumer group and share the partitions");
    let mut sinks = pipeline.start_sinks()?;
    sinks.wait_joined(&screen)?;

    screen.step("The ingestor fetches users: first recorded ones, then generated ones");
    let mut delivered = pipeline.ingest_recorded(&mut sinks, &screen)?;
    delivered += pipeline.ingest_generated(delivered, &mut sinks, &screen)?;

    screen.step("The sinks store what is left, and leave");
    sinks.wait_stored(delivered, &screen)?;
    sinks.stop(&screen)?;

    screen.step("The audit: is every offset stored exactly once?");
    let is_clean = verdict::audit(&pipeline, &screen)?;

    screen.step("The rows, each compared with its message");
    verdict::compare(&pipeline, delivered, is_clean, &screen)
}
