//! `make bench` and its parts.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use bench::start::Kind;
use bench::topic::Topic;
use bench::world::World;
use clap::{Args, Parser, Subcommand};

/// Measures the release binaries on real brokers and a real store.
///
/// Both come from the environment, as for s3-sink: KAFKA_BOOTSTRAP_SERVERS, S3_BUCKET, AWS_*. So do
/// MEMORY_LIMIT, CHUNK_BYTES_MAX and the sink's other settings. `deploy/cluster/with.sh COMMAND` runs a
/// command on a cluster of its own. Logs are in target/bench/runs; objects stay below S3_PREFIX.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs `rows`, `ingest` and `sink`: one table, target/bench/results.json and chart.svg.
    All {
        /// Number of messages for the sink.
        #[arg(default_value_t = 5_000_000)]
        messages: u64,
    },
    /// Makes a topic full of messages such as the ingestor's, and prints its name.
    Fill {
        #[command(flatten)]
        size: Size,
        /// The topic; messages are added to one that exists. By default a new one.
        #[arg(long)]
        topic: Option<String>,
        /// Length of a message; the shortest has some 120 bytes. By default some 245.
        #[arg(long)]
        bytes: Option<usize>,
    },
    /// Lets s3-sink store a topic from the beginning, audits that, and prints a line of JSON.
    Sink {
        #[command(flatten)]
        size: DefaultSize,
        /// A topic from `bench fill`, which stays. By default a new one, which is deleted.
        #[arg(long)]
        topic: Option<String>,
        /// Processes that share the work.
        #[arg(long, default_value_t = 1, value_parser = parse_count)]
        sinks: usize,
    },
    /// Measures the ingestor, from the API's pages to the last delivery report.
    Ingest {
        /// Pages of 5,000 users.
        #[arg(default_value_t = 100)]
        pages: u64,
    },
    /// Measures decoding and encoding on one core, without brokers or a store.
    Rows,
    /// Measures how late objects are on a list: fails where that is later than the goal allows.
    Freshness {
        /// An age limit, in seconds; may be given more than once.
        #[arg(long, default_values_t = [0.1, 1.0, 10.0], value_parser = parse_age)]
        age: Vec<f64>,
    },
    /// Measures how the sink's CPU time and memory grow: one table, target/bench/growth.json and charts.
    ///
    /// Fourteen figures of eleven runs, over 1, 2 and 4 processes; 1, 6, 60 and 300 partitions; messages
    /// of 120 B to 10 kB; and backlogs of 1, 5 and 20 times MESSAGES. Each run ends with the audit.
    Growth {
        /// Number of messages at the origin of each curve.
        #[arg(default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
        messages: u64,
    },
    /// Measures how long a sink takes from its start until it is ready, and where that time goes.
    Start {
        /// Starts of each kind.
        #[arg(default_value_t = 10, value_parser = parse_count)]
        samples: usize,
    },
    /// The test of memory and of the sizes of objects: fails where the sink took more than it may.
    Backlog(Size),
}

#[derive(Debug, Args)]
struct Size {
    /// Number of messages.
    messages: u64,
    /// Number of partitions.
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
}

#[derive(Debug, Args)]
struct DefaultSize {
    /// Number of messages of a new topic.
    #[arg(default_value_t = 5_000_000)]
    messages: u64,
    /// Number of partitions of a new topic.
    #[arg(default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
}

fn parse_count(text: &str) -> Result<usize> {
    let count = text.parse()?;
    ensure!(count > 0, "expected at least 1");
    Ok(count)
}

fn parse_age(text: &str) -> Result<f64> {
    let age = text.parse()?;
    ensure!((0.05..=3600.0).contains(&age), "expected 0.05 to 3600");
    Ok(age)
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Fill { size, topic, bytes } => fill(&size, topic.as_deref(), bytes),
        Command::Sink { size, topic, sinks } => sink(&size, topic.as_deref(), sinks),
        Command::Ingest { pages } => ingest(pages),
        Command::Rows => rows(),
        Command::All { messages } => bench::all::run(messages),
        Command::Freshness { age } => freshness(&age),
        Command::Growth { messages } => bench::growth::run(messages),
        Command::Start { samples } => start(samples),
        Command::Backlog(size) => bench::backlog::run(size.messages, size.partitions),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn fill(size: &Size, topic: Option<&str>, bytes: Option<usize>) -> Result<()> {
    let world = World::new("fill", topic)?;
    world.ensure_topic(size.partitions)?.fill(size.messages, bytes)?;
    println!("{}", world.topic_name());
    Ok(())
}

fn sink(size: &DefaultSize, topic: Option<&str>, sinks: usize) -> Result<()> {
    let world = World::new("sink", topic)?;
    match topic {
        Some(_) => measure(&world, &world.topic()?, sinks),
        None => world.with_topic(size.partitions, |topic| {
            topic.fill(size.messages, None)?;
            measure(&world, topic, sinks)
        }),
    }
}

fn measure(world: &World, topic: &Topic, sinks: usize) -> Result<()> {
    let (report, totals) = bench::sink::measure(world, topic, sinks)?;
    eprintln!("{}", report.summary());
    println!("{}", serde_json::to_string(&report)?);
    totals.judge(report.messages)
}

fn rows() -> Result<()> {
    println!("{}", serde_json::to_string(&bench::rows::run()?)?);
    Ok(())
}

fn ingest(pages: u64) -> Result<()> {
    let report = bench::ingest::run(pages)?;
    eprintln!("{}", report.summary());
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

fn freshness(ages: &[f64]) -> Result<()> {
    let mut reports = Vec::new();
    for age in ages {
        let report = bench::freshness::run(*age)?;
        eprintln!("{}", report.summary());
        println!("{}", serde_json::to_string(&report)?);
        reports.push(report);
    }
    reports.iter().try_for_each(bench::freshness::Report::judge)
}

fn start(samples: usize) -> Result<()> {
    for kind in Kind::ALL {
        let report = bench::start::run(kind, samples)?;
        eprintln!("{}", report.summary());
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}
