//! The command line, the environment and every default.
//!
//! With `config/serve.rs`, the settings of `serve` alone, the only file that reads the environment.

mod serve;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::{ArgMatches, Command};
use service_kit::config::{
    ADMIN_ADDR, COMMON, Common, ConfigErrors, DRAIN_TIMEOUT_SECONDS, LOG_FORMAT, LOG_LEVEL, Reader,
    Setting, args, parse,
};
use url::Url;

pub(crate) use serve::ServeConfig;

use crate::produce::Properties;
use crate::runs::Parameters;

const DAY: Duration = Duration::from_secs(86_400);
/// Users that the API gives for one request.
pub(crate) const RESULTS: RangeInclusive<u16> = 1..=5000;
/// Longest time from one request's start to the next.
pub(crate) const PAUSE_MAX: Duration = DAY;
/// Longest time for which a run makes requests.
pub(crate) const STREAMING_MAX: Duration = Duration::from_secs(31 * 86_400);

static SETTINGS: &[Setting] = &[
    Setting::new("KAFKA_BOOTSTRAP_SERVERS", "Kafka brokers to start from, host:port,host:port"),
    Setting::new("KAFKA_TOPIC", "topic that the messages go to").default("names_topic"),
    Setting::new(
        "KAFKA_CONFIG",
        "further librdkafka properties, key=value,key=value; `\\,` for a comma inside a value",
    )
    .secret(),
    Setting::new("API_URL", "address of the API").default("https://randomuser.me/api/"),
    Setting::new("API_RESULTS", "users to ask for in one request, 1 to 5000").default("1"),
    Setting::new("API_SEED", "seed: each run then asks for the same users, page by page"),
    Setting::new("API_NAT", "nationalities to ask for, such as `us,gb`"),
    Setting::new("API_TIMEOUT_SECONDS", "time for one request, its answer included").default("30"),
    Setting::new("API_RESPONSE_BYTES_MAX", "largest answer that is read, unpacked")
        .default("32MiB"),
    Setting::new("API_RETRIES_MAX", "how often a failed request is repeated").default("5"),
    Setting::new("API_RETRY_DELAY_SECONDS", "least wait before the first retry; doubles each time")
        .default("0.5"),
    Setting::new("PAUSE_SECONDS", "time from one request's start to the next; 0 for back to back")
        .default("10"),
    Setting::new("STREAMING_SECONDS", "how long a run makes requests").default("120"),
    Setting::new("RUN_REQUESTS_MAX", "pages after which a run ends early"),
];

/// A run ends by itself, and two may share a machine: it has no admin server unless asked for.
static RUN_COMMON: [Setting; 4] =
    [ADMIN_ADDR.default("off"), LOG_FORMAT, LOG_LEVEL, DRAIN_TIMEOUT_SECONDS];

/// What the process was asked to do.
#[derive(Debug)]
pub(crate) enum Task {
    /// One run, then exit.
    Run(Config),
    /// Run by a schedule and by request until told to leave.
    Serve(Config, ServeConfig),
    /// Ask the admin server at this address how the service is.
    Healthcheck(SocketAddr),
}

/// Everything that a run needs to know.
#[derive(Debug)]
pub(crate) struct Config {
    /// The source.
    pub(crate) api: ApiConfig,
    /// The topic that the messages go to.
    pub(crate) topic: String,
    /// The producer's properties.
    pub(crate) properties: Properties,
    /// What a run uses unless it is asked to do otherwise.
    pub(crate) parameters: Parameters,
    /// Pages after which a run ends early.
    pub(crate) requests_max: Option<u64>,
    /// What all services share.
    pub(crate) common: Common,
}

/// The API, and the limits on asking it.
#[derive(Debug, Clone)]
pub(crate) struct ApiConfig {
    /// The endpoint, as the user gave it.
    pub(crate) url: Url,
    /// Nationalities, separated by commas.
    pub(crate) nat: Option<String>,
    /// Time for one request, its answer included.
    pub(crate) timeout: Duration,
    /// Largest answer that is read, unpacked.
    pub(crate) response_bytes_max: usize,
    /// How often a failed request is repeated.
    pub(crate) retries_max: usize,
    /// Least wait before the first retry.
    pub(crate) retry_delay: Duration,
}

/// The command line.
pub(crate) fn command() -> Command {
    Command::new("ingestor")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Streams users of the randomuser.me API to a Kafka topic")
        .after_help("Each setting is a flag or an environment variable; the flag wins.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("run")
                .about("Makes one run and exits: 0 if every request gave a page and every message is on the topic")
                .args(args(SETTINGS))
                .args(args(&RUN_COMMON)),
        )
        .subcommand(
            Command::new("serve")
                .about("Makes runs by a schedule and by request until SIGTERM or SIGINT")
                .args(args(SETTINGS))
                .args(args(serve::SETTINGS))
                .args(args(COMMON)),
        )
        .subcommand(
            Command::new("healthcheck")
                .about("Asks a running service whether it is live and ready: 0 if it is")
                .args(args([&ADMIN])),
        )
}

static ADMIN: Setting = ADMIN_ADDR;

/// What `matches` and the `environment` ask for, or every mistake in them.
pub(crate) fn task(
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Task, ConfigErrors> {
    match matches.subcommand() {
        Some(("serve", matches)) => {
            let settings = SETTINGS.iter().chain(serve::SETTINGS).chain(COMMON);
            let mut reader = Reader::new(settings, matches, environment);
            let config = read(&mut reader);
            let serve = ServeConfig::read(&mut reader);
            reader.finish(|| Some(Task::Serve(config?, serve?)))
        }
        Some(("healthcheck", matches)) => {
            let mut reader = Reader::new([&ADMIN], matches, environment);
            let addr = reader.required(ADMIN.name, parse::socket_addr);
            reader.finish(|| addr.map(Task::Healthcheck))
        }
        // clap lets no other subcommand through than `run`.
        other => {
            let matches = other.map_or(matches, |(_, matches)| matches);
            let settings = SETTINGS.iter().chain(&RUN_COMMON);
            let mut reader = Reader::new(settings, matches, environment);
            let config = read(&mut reader);
            reader.finish(|| config.map(Task::Run))
        }
    }
}

/// Reads everything before it looks at any result, so that no mistake hides another.
fn read(reader: &mut Reader) -> Option<Config> {
    let topic = reader.required("KAFKA_TOPIC", parse::text);
    let properties = read_properties(reader);
    let api = read_api(reader);
    let results = reader.required("API_RESULTS", parse::integer(RESULTS));
    let seed = reader.optional("API_SEED", parse::text);
    let pause = reader.required("PAUSE_SECONDS", parse::duration(Duration::ZERO..=PAUSE_MAX));
    let streaming =
        reader.required("STREAMING_SECONDS", parse::duration(Duration::ZERO..=STREAMING_MAX));
    let requests_max = reader.optional("RUN_REQUESTS_MAX", parse::integer(1..=u64::MAX));
    let common = Common::read(reader);
    Some(Config {
        api: api?,
        topic: topic?,
        properties: properties?,
        parameters: Parameters {
            results: results?,
            pause: pause?,
            streaming: streaming?,
            seed: seed?,
        },
        requests_max: requests_max?,
        common: common?,
    })
}

fn read_properties(reader: &mut Reader) -> Option<Properties> {
    let servers = reader.required("KAFKA_BOOTSTRAP_SERVERS", parse::words);
    let further = reader.optional("KAFKA_CONFIG", parse::key_values)?.unwrap_or_default();
    // The properties are checked even if the servers are missing.
    Properties::new(servers.as_deref().unwrap_or_default(), &further)
        .map_err(|problem| reader.refuse("KAFKA_CONFIG", &problem))
        .ok()
        .filter(|_| servers.is_some())
}

fn read_api(reader: &mut Reader) -> Option<ApiConfig> {
    let url = reader.required("API_URL", parse::url(&["http", "https"]));
    let nat = reader.optional("API_NAT", parse::words);
    let timeout = reader.required(
        "API_TIMEOUT_SECONDS",
        parse::duration(Duration::from_millis(1)..=Duration::from_secs(3600)),
    );
    let response_bytes_max =
        reader.required("API_RESPONSE_BYTES_MAX", parse::bytes(1024..=1 << 30));
    let retries_max = reader.required("API_RETRIES_MAX", parse::integer(0..=100));
    let retry_delay = reader.required(
        "API_RETRY_DELAY_SECONDS",
        parse::duration(Duration::from_millis(1)..=Duration::from_secs(300)),
    );
    Some(ApiConfig {
        url: url?,
        nat: nat?.map(|words| words.join(",")),
        timeout: timeout?,
        // At most 1 GiB, which fits every usize that we build for.
        response_bytes_max: usize::try_from(response_bytes_max?).ok()?,
        retries_max: retries_max?,
        retry_delay: retry_delay?,
    })
}

#[cfg(test)]
mod tests;
