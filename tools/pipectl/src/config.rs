//! The command line, the environment and every default. The only file that reads the environment.

use std::ffi::OsString;
use std::time::Duration;

use chunk_ledger::Layout;
use clap::{Arg, ArgAction, ArgMatches, Command};
use pipeline_model::dead_letter;
use service_kit::config::{
    ConfigErrors, Expected, LOG_FORMAT, LOG_LEVEL, Reader, Setting, args, parse,
};
use service_kit::log;

use crate::audit::AuditConfig;
use crate::kafka::KafkaConfig;
use crate::store::StoreConfig;
use crate::topics::{EnsureConfig, TopicSpec};

/// Kafka's own limit of 249 less the dead-letter topic's suffix.
const TOPIC_LEN_MAX: usize = 245;
const NO_KAFKA: &str = "no-kafka";
const DEEP: &str = "deep";
const EXPECT_DRAINED: &str = "expect-drained";
const JSON: &str = "json";

static TOPIC: Setting = Setting::new("KAFKA_TOPIC", "topic of the messages").default("names_topic");

static KAFKA: [Setting; 2] = [
    Setting::new("KAFKA_BOOTSTRAP_SERVERS", "Kafka brokers to start from, host:port,host:port"),
    Setting::new(
        "KAFKA_CONFIG",
        "further librdkafka properties, key=value,key=value; `\\,` for a comma inside a value",
    )
    .secret(),
];

static GROUP: Setting =
    Setting::new("KAFKA_GROUP_ID", "consumer group of the sink").default("s3-sink");

static STORE: [Setting; 5] = [
    Setting::new("S3_BUCKET", "bucket of the chunks"),
    Setting::new("S3_PREFIX", "what the keys begin with, before the topic"),
    Setting::new("AWS_ENDPOINT_URL_S3", "address of an S3 store that is not AWS"),
    Setting::new("AWS_ENDPOINT_URL", "the same, for every AWS service; the other one wins"),
    Setting::new(
        "S3_FORCE_PATH_STYLE",
        "address objects as endpoint/bucket/key [default: true with an endpoint, else false]",
    ),
];

/// Logs of a tool are read by the person who runs it. What the SDK tries in vain it says again when
/// nothing is left to try.
static LOGS: [Setting; 2] =
    [LOG_FORMAT.default("text"), LOG_LEVEL.default("warn,aws_config=error")];

/// Belong to one call, not to a deployment: flags only, no variables.
static TIMEOUT: Setting =
    Setting::new("TIMEOUT", "longest wait for the brokers, in seconds or as `2m`").default("30");

static TOPIC_SHAPE: [Setting; 4] = [
    Setting::new("PARTITIONS", "partitions of the topic").default("6"),
    Setting::new("REPLICATION", "replicas of each partition").default("3"),
    Setting::new("MIN_INSYNC_REPLICAS", "replicas that must take a write").default("2"),
    Setting::new("DEAD_LETTER_PARTITIONS", "partitions of the dead-letter topic").default("1"),
];

/// What the process was asked to do, and how it logs meanwhile.
#[derive(Debug)]
pub struct Invocation {
    /// What to do.
    pub task: Task,
    /// How log lines look.
    pub log_format: log::Format,
    /// What is logged.
    pub log_filter: log::Filter,
}

/// One subcommand with all that it needs to know.
#[derive(Debug)]
pub enum Task {
    /// `topics ensure`.
    EnsureTopics(EnsureConfig),
    /// `audit`.
    Audit {
        /// What to audit.
        config: AuditConfig,
        /// Print one JSON document instead of tables.
        json: bool,
    },
}

/// The command line.
pub fn command() -> Command {
    let ensure = Command::new("ensure")
        .about("Creates the topic and its dead-letter topic, or names how they differ from what is wanted")
        .args(args([&TOPIC]))
        .args(args(&KAFKA))
        .args(flags(TOPIC_SHAPE.iter().chain([&TIMEOUT])))
        .args(args(&LOGS));
    let topics = Command::new("topics")
        .about("Topics of the pipeline")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(ensure);
    let audit = Command::new("audit")
        .about("Checks that every offset of the topic is stored exactly once")
        .after_help("Exit codes: 0 clean, 1 something was found, 2 the audit could not be made.")
        .args(args([&TOPIC, &GROUP]))
        .args(args(&KAFKA))
        .args(args(&STORE))
        .args(flags([&TIMEOUT]))
        .args([
            switch(DEEP, "also read every object: its offsets, footer and schema"),
            switch(NO_KAFKA, "ask the store only: no commits, no lag, no dead letters"),
            switch(EXPECT_DRAINED, "a lag is a finding").conflicts_with(NO_KAFKA),
            switch(JSON, "print one JSON document"),
        ])
        .args(args(&LOGS));
    Command::new("pipectl")
        .about("Looks after the pipeline's topics and chunks")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(topics)
        .subcommand(audit)
}

/// Reads the settings of the subcommand in `matches`, which must come from [`command`]; every
/// mistake is reported at once.
pub fn read(
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation, ConfigErrors> {
    // clap lets no other subcommand through.
    match matches.subcommand() {
        Some(("topics", topics)) => {
            read_ensure(topics.subcommand().map_or(topics, |(_, ensure)| ensure), environment)
        }
        other => read_audit(other.map_or(matches, |(_, audit)| audit), environment),
    }
}

fn read_ensure(
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation, ConfigErrors> {
    let settings = [&TOPIC].into_iter().chain(&KAFKA).chain(&TOPIC_SHAPE).chain([&TIMEOUT]);
    let mut reader = new_reader(settings.chain(&LOGS), matches, environment);
    let topic = reader.required("KAFKA_TOPIC", topic_name);
    let partitions = reader.required("PARTITIONS", parse::integer(1..=100_000));
    let replication = reader.required("REPLICATION", parse::integer(1..=100));
    let min_insync = reader.required("MIN_INSYNC_REPLICAS", parse::integer(1..=100));
    let letters = reader.required("DEAD_LETTER_PARTITIONS", parse::integer(1..=100_000));
    if let (Some(replication), Some(min_insync)) = (replication, min_insync)
        && min_insync > replication
    {
        let problem = format!("expected at most the replication, which is {replication}");
        reader.refuse("MIN_INSYNC_REPLICAS", &problem);
    }
    let kafka = read_kafka(&mut reader);
    let logs = read_logs(&mut reader);
    reader.finish(|| {
        let (topic, replication, min_insync) = (topic?, replication?, min_insync?);
        let spec =
            |name: String, partitions| TopicSpec::new(name, partitions, replication, min_insync);
        let letters = spec(dead_letter::topic_of(&topic), letters?).for_dead_letters();
        let topics = vec![spec(topic, partitions?), letters];
        let (log_format, log_filter) = logs?;
        let task = Task::EnsureTopics(EnsureConfig { kafka: kafka?, topics });
        Some(Invocation { task, log_format, log_filter })
    })
}

fn read_audit(
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation, ConfigErrors> {
    let settings = [&TOPIC, &GROUP, &TIMEOUT].into_iter().chain(&KAFKA).chain(&STORE);
    let mut reader = new_reader(settings.chain(&LOGS), matches, environment);
    let topic = reader.required("KAFKA_TOPIC", topic_name);
    let prefix = reader.optional("S3_PREFIX", parse::text);
    let store = read_store(&mut reader);
    let group = reader.required("KAFKA_GROUP_ID", parse::text);
    let kafka = match matches.get_flag(NO_KAFKA) {
        true => Some(None),
        false => read_kafka(&mut reader).map(Some),
    };
    let logs = read_logs(&mut reader);
    reader.finish(|| {
        let config = AuditConfig {
            store: store?,
            layout: Layout::new(&prefix?.unwrap_or_default(), &topic?),
            kafka: kafka?,
            group: group?,
            deep: matches.get_flag(DEEP),
            expect_drained: matches.get_flag(EXPECT_DRAINED),
        };
        let (log_format, log_filter) = logs?;
        let task = Task::Audit { config, json: matches.get_flag(JSON) };
        Some(Invocation { task, log_format, log_filter })
    })
}

fn read_kafka(reader: &mut Reader) -> Option<KafkaConfig> {
    let bootstrap_servers = reader.required("KAFKA_BOOTSTRAP_SERVERS", parse::text);
    let properties = reader.optional("KAFKA_CONFIG", parse::key_values);
    let timeout = reader
        .required("TIMEOUT", parse::duration(Duration::from_secs(1)..=Duration::from_secs(3600)));
    Some(KafkaConfig {
        bootstrap_servers: bootstrap_servers?,
        properties: properties?.unwrap_or_default(),
        timeout: timeout?,
    })
}

fn read_store(reader: &mut Reader) -> Option<StoreConfig> {
    let bucket = reader.required("S3_BUCKET", parse::text);
    let own = reader.optional("AWS_ENDPOINT_URL_S3", parse::url(&["http", "https"]));
    let shared = reader.optional("AWS_ENDPOINT_URL", parse::url(&["http", "https"]));
    let force_path_style = reader.optional("S3_FORCE_PATH_STYLE", parse::boolean);
    let (own, shared) = (own?, shared?);
    let endpoint = own.or(shared).map(|url| url.to_string());
    Some(StoreConfig {
        bucket: bucket?,
        force_path_style: force_path_style?.unwrap_or(endpoint.is_some()),
        endpoint,
    })
}

fn read_logs(reader: &mut Reader) -> Option<(log::Format, log::Filter)> {
    let formats = [("json", log::Format::Json), ("text", log::Format::Text)];
    let format = reader.required(LOG_FORMAT.name, parse::one_of(&formats));
    let filter = reader.required(LOG_LEVEL.name, parse::log_filter);
    Some((format?, filter?))
}

fn new_reader(
    settings: impl IntoIterator<Item = &'static Setting>,
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Reader {
    Reader::new(settings, matches, |name| {
        let flag_only = name == TIMEOUT.name || TOPIC_SHAPE.iter().any(|flag| flag.name == name);
        if flag_only { None } else { environment(name) }
    })
}

/// Flags for settings that no variable sets.
fn flags(settings: impl IntoIterator<Item = &'static Setting>) -> impl Iterator<Item = Arg> {
    settings.into_iter().map(|setting| {
        let default = setting.default.map(|value| format!(" [default: {value}]"));
        Arg::new(setting.name)
            .long(setting.flag())
            .value_name("VALUE")
            .allow_hyphen_values(true)
            .help(format!("{}{}", setting.help, default.unwrap_or_default()))
    })
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn topic_name(value: &str) -> Result<String, Expected> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match value.len() <= TOPIC_LEN_MAX && value.bytes().all(allowed) {
        true => Ok(value.to_owned()),
        false => {
            Err(Expected::new("the name of a topic: up to 245 letters, digits, `.`, `_` and `-`"))
        }
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
