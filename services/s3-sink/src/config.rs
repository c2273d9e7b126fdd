//! The command line, the environment and every default.
//!
//! The only file that reads the environment.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use chunk_ledger::{Layout, Limits};
use clap::{ArgMatches, Command};
use service_kit::config::{
    ADMIN_ADDR, COMMON, Common, ConfigErrors, DRAIN_TIMEOUT_SECONDS, LOG_FORMAT, LOG_LEVEL, Reader,
    Setting, args, parse,
};

use crate::store::StoreConfig;

const MIB: u64 = 1 << 20;

static SETTINGS: &[Setting] = &[
    Setting::new("KAFKA_BOOTSTRAP_SERVERS", "Kafka brokers to start from, host:port,host:port"),
    Setting::new("KAFKA_TOPIC", "topic that the messages come from").default("names_topic"),
    Setting::new("KAFKA_GROUP_ID", "consumer group; its members share the partitions")
        .default("s3-sink"),
    Setting::new(
        "KAFKA_CONFIG",
        "further librdkafka properties, key=value,key=value; `\\,` for a comma inside a value",
    )
    .secret(),
    Setting::new("S3_BUCKET", "bucket that the objects go to; it must exist"),
    Setting::new("S3_PREFIX", "what the objects' keys begin with; none by default"),
    Setting::new(
        "S3_FORCE_PATH_STYLE",
        "address objects as endpoint/bucket/key; by default true where an endpoint is set",
    ),
    Setting::new("CHUNK_BYTES_MAX", "size of an object at which a chunk is sealed")
        .default("128MiB"),
    Setting::new("CHUNK_ROWS_MAX", "messages in a chunk at which it is sealed").default("10000000"),
    Setting::new(
        "CHUNK_AGE_SECONDS_MAX",
        "time after a chunk's first message at which it is sealed",
    )
    .default("60"),
    Setting::new(
        "MEMORY_LIMIT",
        "memory that the process may use; chunks are sealed early to stay below it",
    )
    .default("256MiB"),
];

/// Not of a drain, which leaves for good.
static STATIC_MEMBERSHIP: Setting = Setting::new(
    "KAFKA_STATIC_MEMBERSHIP",
    "keep this host's place in the group over a restart: its name is `group.instance.id`",
)
.default("false");

/// A drain ends by itself, and several may share a machine: no admin server unless asked for.
static DRAIN_COMMON: [Setting; 4] =
    [ADMIN_ADDR.default("off"), LOG_FORMAT, LOG_LEVEL, DRAIN_TIMEOUT_SECONDS];
static ADMIN: Setting = ADMIN_ADDR;

/// librdkafka properties that the protocol relies on, and why they can't be changed.
const PROTECTED: [(&str, &str); 13] = [
    ("bootstrap.servers", "is set by KAFKA_BOOTSTRAP_SERVERS"),
    ("metadata.broker.list", "is set by KAFKA_BOOTSTRAP_SERVERS"),
    ("group.id", "is set by KAFKA_GROUP_ID"),
    ("group.protocol", "must stay `classic`"),
    ("enable.auto.commit", "must stay `false`: a commit follows the stored chunk"),
    ("enable.auto.offset.store", "must stay `false`: a commit follows the stored chunk"),
    (
        "auto.offset.reset",
        "is set by the sink: a position outside the log is never skipped silently",
    ),
    ("enable.partition.eof", "is set by the sink, which learns the end of the log otherwise"),
    ("isolation.level", "must stay `read_committed`: aborted messages, as of replays, are no rows"),
    ("acks", "must stay `all`: a dead letter is acknowledged before its chunk is stored"),
    (
        "request.required.acks",
        "must stay `all`: a dead letter is acknowledged before its chunk is stored",
    ),
    (
        "delivery.report.only.error",
        "must stay `false`: a chunk waits for each dead letter's report",
    ),
    ("statistics.interval.ms", "is set by the sink: readiness and lag come from these reports"),
];

/// What the process was asked to do.
#[derive(Debug)]
pub enum Task {
    /// Consume until told to leave.
    Run(Config),
    /// Consume to the ends that the log has now, then exit.
    Drain(Config),
    /// Ask the admin server at this address how the service is.
    Healthcheck(SocketAddr),
}

/// Everything the sink needs to know.
#[derive(Debug)]
pub struct Config {
    /// Where messages come from.
    pub kafka: KafkaConfig,
    /// Where objects go.
    pub store: StoreConfig,
    /// When a chunk is sealed.
    pub limits: Limits,
    /// Memory that the process may use, in bytes.
    pub memory_bytes_max: u64,
    /// What all services share.
    pub common: Common,
}

/// The brokers, the topic and the group.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `host:port,host:port`.
    pub bootstrap_servers: String,
    /// The topic.
    pub topic: String,
    /// The consumer group.
    pub group_id: String,
    /// By which the group knows the member again after a restart, if it shall.
    pub instance_id: Option<String>,
    /// Further librdkafka properties.
    pub properties: Vec<(String, String)>,
}

/// The command line.
pub fn command() -> Command {
    Command::new("s3-sink")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Stores the messages of a Kafka topic as Parquet on S3, each exactly once")
        .after_help(
            "Each setting is a flag or an environment variable; the flag wins. Credentials, region and endpoint of the \
             store come from the usual AWS_* variables and profiles.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("run")
                .about("Consumes and stores until SIGTERM or SIGINT")
                .args(args(SETTINGS))
                .args(args([&STATIC_MEMBERSHIP]))
                .args(args(COMMON)),
        )
        .subcommand(
            Command::new("drain")
                .about("Consumes to the ends that the log has at the start, stores everything, and exits: 0 if it is all stored")
                .args(args(SETTINGS))
                .args(args(&DRAIN_COMMON)),
        )
        .subcommand(
            Command::new("healthcheck")
                .about("Asks a running service whether it is live and ready: 0 if it is")
                .args(args([&ADMIN])),
        )
}

/// What `matches` and the `environment` ask for, or every mistake in them.
pub fn task(
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString> + Copy,
) -> Result<Task, ConfigErrors> {
    match matches.subcommand() {
        Some(("healthcheck", matches)) => {
            let mut reader = Reader::new([&ADMIN], matches, environment);
            let addr = reader.required(ADMIN.name, parse::socket_addr);
            reader.finish(|| addr.map(Task::Healthcheck))
        }
        Some(("drain", matches)) => {
            let mut reader =
                Reader::new(SETTINGS.iter().chain(&DRAIN_COMMON), matches, environment);
            let config = read(&mut reader, environment);
            reader.finish(|| config.map(Task::Drain))
        }
        // clap lets no other subcommand through than `run`.
        other => {
            let matches = other.map_or(matches, |(_, matches)| matches);
            let settings = SETTINGS.iter().chain([&STATIC_MEMBERSHIP]).chain(COMMON);
            let mut reader = Reader::new(settings, matches, environment);
            let config = read(&mut reader, environment);
            let properties = config.as_ref().map_or(&[][..], |config| &config.kafka.properties);
            let instance_id = read_instance_id(&mut reader, properties);
            reader.finish(|| {
                let mut config = config?;
                config.kafka.instance_id = instance_id?;
                Some(Task::Run(config))
            })
        }
    }
}

/// Reads everything before it looks at any result, so that no mistake hides another.
fn read(reader: &mut Reader, environment: impl Fn(&str) -> Option<OsString>) -> Option<Config> {
    let kafka = read_kafka(reader);
    let bucket = reader.required("S3_BUCKET", parse::text);
    let prefix = reader.optional("S3_PREFIX", parse::text);
    let force_path_style = reader.optional("S3_FORCE_PATH_STYLE", parse::boolean);
    let bytes_max = reader.required("CHUNK_BYTES_MAX", parse::bytes(64 << 10..=5 << 30));
    let rows_max = reader.required("CHUNK_ROWS_MAX", parse::integer(1..=1_000_000_000));
    let age_max = reader.required(
        "CHUNK_AGE_SECONDS_MAX",
        parse::duration(Duration::from_millis(50)..=Duration::from_secs(86_400)),
    );
    let memory_bytes_max = reader.required("MEMORY_LIMIT", parse::bytes(64 * MIB..=1 << 40));
    let common = Common::read(reader);
    // Read here to know how to speak to the store; the SDK reads these variables itself.
    let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
        .into_iter()
        .filter_map(&environment)
        .find(|endpoint| !endpoint.is_empty())
        .map(|endpoint| endpoint.to_string_lossy().into_owned());
    let kafka = kafka?;
    Some(Config {
        store: StoreConfig {
            bucket: bucket?,
            layout: Layout::new(&prefix?.unwrap_or_default(), &kafka.topic),
            force_path_style: force_path_style?.unwrap_or(endpoint.is_some()),
            endpoint,
        },
        kafka,
        limits: Limits { bytes_max: bytes_max?, rows_max: rows_max?, age_max: age_max? },
        memory_bytes_max: memory_bytes_max?,
        common: common?,
    })
}

fn read_kafka(reader: &mut Reader) -> Option<KafkaConfig> {
    let servers = reader.required("KAFKA_BOOTSTRAP_SERVERS", parse::words);
    let topic = reader.required("KAFKA_TOPIC", topic);
    let group_id = reader.required("KAFKA_GROUP_ID", parse::text);
    let properties = reader.optional("KAFKA_CONFIG", parse::key_values);
    for (name, _) in properties.iter().flatten().flatten() {
        if let Some((name, why)) = PROTECTED.into_iter().find(|(protected, _)| protected == name) {
            reader.refuse("KAFKA_CONFIG", &format!("sets {name}, which {why}"));
        }
    }
    Some(KafkaConfig {
        bootstrap_servers: servers?.join(","),
        topic: topic?,
        group_id: group_id?,
        instance_id: None,
        properties: properties?.unwrap_or_default(),
    })
}

/// The host's name, where the member shall keep its place.
fn read_instance_id(
    reader: &mut Reader,
    properties: &[(String, String)],
) -> Option<Option<String>> {
    if !reader.required(STATIC_MEMBERSHIP.name, parse::boolean)? {
        return Some(None);
    }
    if properties.iter().any(|(name, _)| name == "group.instance.id") {
        reader.refuse(
            STATIC_MEMBERSHIP.name,
            "is true, and KAFKA_CONFIG sets group.instance.id: only one of them",
        );
        return None;
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let has_name = !host.is_empty() && host != "localhost";
    if !has_name {
        let why = format!("needs a host name that no other sink has, this one is {host:?}");
        reader.refuse(STATIC_MEMBERSHIP.name, &why);
    }
    has_name.then_some(Some(host))
}

/// Kafka's rule, on which keys rely: a topic's name holds neither `/` nor `+`. Kafka allows 249
/// characters; the dead-letter topic's name has four more than the topic's.
fn topic(text: &str) -> Result<String, service_kit::config::Expected> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=245).contains(&text.len()) && text.bytes().all(is_legal) && text != "." && text != ".."
    {
        Ok(text.to_owned())
    } else {
        Err(service_kit::config::Expected::new(
            "a topic's name of 1 to 245 letters, digits, `.`, `_` or `-`",
        ))
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
