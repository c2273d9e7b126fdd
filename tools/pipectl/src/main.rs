//! `pipectl`: reads the command line, runs one task, prints what it found.
//!
//! Exit codes: 0 all is well, 1 something was found, 2 the question could not be answered.

use std::fmt;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use anyhow::Context;
use pipectl::config::{self, Invocation, ShowAs, Task};
use pipectl::dead_letters::{self, Bytes, Shown};
use pipectl::{audit, bucket, chunks, topics};
use serde::Serialize;
use service_kit::{log, shutdown};

const FOUND: u8 = 1;
const UNANSWERED: u8 = 2;

fn main() -> ExitCode {
    let matches = config::command().get_matches();
    let invocation = match config::read(&matches, service_kit::config::environment) {
        Ok(invocation) => invocation,
        Err(mistakes) => {
            eprintln!("pipectl: {mistakes}");
            return ExitCode::from(UNANSWERED);
        }
    };
    match run(invocation) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FOUND),
        Err(error) => {
            eprintln!("pipectl: {error:#}");
            ExitCode::from(UNANSWERED)
        }
    }
}

/// Whether all is as it should be.
fn run(invocation: Invocation) -> anyhow::Result<bool> {
    log::init(invocation.log_format, &invocation.log_filter)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    runtime.block_on(async {
        match invocation.task {
            Task::EnsureTopics(config) => {
                let outcomes = topics::ensure(&config).await?;
                outcomes.iter().try_for_each(print)?;
                Ok(outcomes.iter().all(topics::Outcome::is_as_wanted))
            }
            Task::EnsureBucket(config) => {
                print(&bucket::ensure(&config).await?)?;
                Ok(true)
            }
            Task::Audit { config, json } => {
                let report = audit::run(&config).await?;
                print_as(json, &report)?;
                Ok(report.is_clean())
            }
            Task::ListChunks { config, json } => {
                print_as(json, &chunks::list(&config).await?)?;
                Ok(true)
            }
            Task::ListLetters { config, filter, limit, json } => {
                print_as(json, &dead_letters::list(config, filter, limit).await?)?;
                Ok(true)
            }
            Task::ShowLetter { config, origin, output } => {
                let topic = config.topic.clone();
                match dead_letters::show(config, origin).await? {
                    Some(letter) => print_letter(letter, output).map(|()| true),
                    None => {
                        eprintln!("pipectl: there is no dead letter of {topic} at {origin}");
                        Ok(false)
                    }
                }
            }
            Task::ReplayLetters { config, json } => {
                let shutdown = shutdown::listen().context("can't listen for signals")?;
                let outcome = dead_letters::replay(config, shutdown).await?;
                print_as(json, &outcome)?;
                Ok(outcome.is_complete())
            }
        }
    })
}

fn print_letter(letter: Shown, output: ShowAs) -> anyhow::Result<()> {
    match output {
        ShowAs::Json => print_as(true, &letter),
        ShowAs::Text => print_as(false, &letter),
        ShowAs::Raw => {
            let Bytes(payload) =
                letter.payload.context("its payload is null: there are no bytes")?;
            let mut out = std::io::stdout().lock();
            out.write_all(&payload).and_then(|()| out.flush()).context("can't write the payload")
        }
    }
}

/// Prints for people, or one JSON document.
fn print_as(json: bool, result: &(impl fmt::Display + Serialize)) -> anyhow::Result<()> {
    if !json {
        return print(result);
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    serde_json::to_writer_pretty(&mut out, result).context("can't print the result")?;
    writeln!(out).and_then(|()| out.flush()).context("can't print the result")
}

/// A reader that has gone away (`pipectl audit | head`) must not look like a clean audit.
fn print(result: &impl fmt::Display) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(out, "{result}").and_then(|()| out.flush()).context("can't print the result")
}
