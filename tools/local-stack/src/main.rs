//! `local-stack up`: Kafka, S3 and the API in the foreground, with a file of exports that points the
//! services at them. `local-stack api`: the API alone, as a container runs it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Parser, Subcommand};
use local_stack::{
    ApiOptions, ApiServer, KafkaOptions, LocalStack, Options, RateLimit, S3Options, StackError,
};
use service_kit::healthcheck::{self, HealthcheckError};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// s3s reports each refusal that it sends, a lost conditional PUT included, as an error.
const LOG_FILTER_DEFAULT: &str = "warn,local_stack=info,s3s=off";

/// Where `api` listens and `healthcheck` asks, unless told otherwise.
const API_ADDRESS_DEFAULT: &str = "127.0.0.1:8090";

/// A page of 5,000 users takes well below a second, and Docker kills ten seconds after SIGTERM.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Kafka, S3 and the API in one process, for demos and tests.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the stack in the foreground until Ctrl-C or SIGTERM.
    ///
    /// When everything answers, it writes DIR/env, a file of shell exports: `. DIR/env` points the
    /// ingestor, the sink and the tools at the stack. Objects are plain files at DIR/s3/BUCKET/KEY
    /// and are there again after a restart. Kafka is a mock of three brokers: its messages, topics
    /// and committed offsets end with the process, and a partition keeps its newest 100,000
    /// messages or 5 MiB.
    Up(Box<Up>),

    /// Runs the API alone in the foreground until Ctrl-C or SIGTERM.
    ///
    /// It answers as randomuser.me does, and `GET /healthz` with 200. On a signal it takes no more
    /// requests, answers those that it has taken, and exits with 0.
    Api(Api),

    /// Asks a running `local-stack api` whether it answers: exit code 0 if so, else 1.
    ///
    /// For containers without a shell.
    Healthcheck {
        /// What `api` has as --listen; 0.0.0.0 is asked through 127.0.0.1.
        #[arg(long, value_name = "ADDRESS:PORT", default_value = API_ADDRESS_DEFAULT)]
        address: SocketAddr,
    },
}

#[derive(Debug, Args)]
struct Api {
    /// Where to listen; 0.0.0.0 is every network that the machine or the container has.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = API_ADDRESS_DEFAULT)]
    listen: SocketAddr,

    #[command(flatten)]
    answers: Answers,
}

/// What the API answers.
#[derive(Debug, Args)]
struct Answers {
    /// Gives requests without a seed the same users after each start; else they get others always.
    #[arg(long, value_name = "SEED")]
    api_seed: Option<String>,

    /// Serves the *.json files of FOLDER in the order of their names, one for each request and over
    /// again, instead of generated users.
    #[arg(long, value_name = "FOLDER")]
    api_replay: Option<PathBuf>,

    /// The share of generated users that are not valid (no e-mail address, a latitude that is none).
    #[arg(long, value_name = "0..1", default_value_t = 0.0)]
    api_invalid_ratio: f64,

    /// Answers 429 past USERS users in 300 seconds, as randomuser.me does.
    #[arg(long, value_name = "USERS", num_args = 0..=1, default_missing_value = "20000")]
    api_rate_limit: Option<u64>,
}

#[derive(Debug, Args)]
struct Up {
    /// Where objects are kept and the file of exports is written; made if it isn't there.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// The topic; `TOPIC.dlq`, `TOPIC.dlq.replayed` and `ingestor.runs` have one partition each.
    #[arg(long, value_name = "TOPIC", default_value = "names_topic")]
    topic: String,

    /// Partitions of the topic.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,

    /// Brokers of the mock cluster.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..))]
    kafka_brokers: i32,

    /// The bucket, made if it isn't there.
    #[arg(long, value_name = "BUCKET", default_value = "names")]
    bucket: String,

    /// The port of S3 on 127.0.0.1; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    s3_port: u16,

    /// The port of the API on 127.0.0.1; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    api_port: u16,

    /// The port of the control endpoint on 127.0.0.1; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    control_port: u16,

    #[command(flatten)]
    answers: Answers,

    /// Exports API_RESULTS: how many users the ingestor asks for at once (1 to 5000).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=5000))]
    results: Option<u16>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Up(up) => foreground(serve_stack(*up)),
        Command::Api(api) => foreground(serve_api(api)),
        Command::Healthcheck { address } => check(address),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("local-stack: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn foreground(server: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) => EnvFilter::try_new(filter).context("RUST_LOG is not a log filter")?,
        Err(_) => EnvFilter::new(LOG_FILTER_DEFAULT),
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Runtime::new().context("the program's runtime can't start")?.block_on(server)
}

async fn serve_stack(up: Up) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    let more: Vec<_> = up
        .results
        .map(|results| ("API_RESULTS".to_owned(), results.to_string()))
        .into_iter()
        .collect();
    let stack = LocalStack::start(up.into_options())?;
    stack.write_env_file(&more)?;
    print_addresses(&stack)?;
    signals.wait().await;
    stack.stop();
    Ok(())
}

async fn serve_api(api: Api) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    let server = ApiServer::open(api.answers.into_options(api.listen), &Handle::current())?;
    println!("ready    {}", server.url());
    signals.wait().await;
    server.drain(DRAIN_TIMEOUT).await;
    Ok(())
}

fn check(address: SocketAddr) -> anyhow::Result<()> {
    healthcheck::check(address, HEALTHCHECK_TIMEOUT).map_err(|error| match error {
        HealthcheckError::NoAnswer { addr, error } => {
            anyhow!("no answer from {addr}: {error}; does `local-stack api` listen there?")
        }
        error => error.into(),
    })
}

/// What ends the program. Listened to before anything is started, so that no signal is lost.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM can't be handled")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT can't be handled")?,
        })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
            _ = self.interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
        }
    }
}

impl Up {
    fn into_options(self) -> Options {
        let mut kafka = KafkaOptions::with_topic(&self.topic, self.partitions);
        kafka.brokers = self.kafka_brokers;
        Options {
            data_dir: self.data,
            kafka: Some(kafka),
            s3: Some(S3Options { port: self.s3_port, bucket: self.bucket, ..S3Options::default() }),
            api: Some(self.answers.into_options(SocketAddr::from(([127, 0, 0, 1], self.api_port)))),
            control_port: Some(self.control_port),
            proxies: Vec::new(),
        }
    }
}

impl Answers {
    fn into_options(self, listen: SocketAddr) -> ApiOptions {
        ApiOptions {
            listen,
            seed: self.api_seed,
            replay: self.api_replay,
            invalid_ratio: self.api_invalid_ratio,
            rate_limit: self
                .api_rate_limit
                .map(|users| RateLimit { users, ..RateLimit::default() }),
        }
    }
}

fn print_addresses(stack: &LocalStack) -> Result<(), StackError> {
    if let Some(kafka) = stack.kafka() {
        println!("kafka    {}", kafka.bootstrap_servers()?);
    }
    if let Some(s3) = stack.s3() {
        let folder = s3.objects_dir().join(&s3.options().bucket);
        println!("s3       {} (objects in {})", s3.endpoint(), folder.display());
    }
    if let Some(api) = stack.api() {
        println!("api      {}", api.url());
    }
    if let Some(url) = stack.control_url() {
        println!("control  {url}");
    }
    println!("ready    . {}", stack.env_file().display());
    Ok(())
}
