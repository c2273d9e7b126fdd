//! Every setting, with its default.

use service_kit::config::{Expected, LOG_FORMAT, LOG_LEVEL, Setting};

/// Kafka's own limit of 249 less the suffix of the topic of what was replayed, `.dlq.replayed`.
const TOPIC_LEN_MAX: usize = 236;

pub(super) static TOPIC: Setting =
    Setting::new("KAFKA_TOPIC", "topic of the messages").default("names_topic");

pub(super) static RUNS_TOPIC: Setting =
    Setting::new("RUNS_TOPIC", "topic of the ingestor's run history").default("ingestor.runs");

pub(super) static KAFKA: [Setting; 2] = [
    Setting::new("KAFKA_BOOTSTRAP_SERVERS", "Kafka brokers to start from, host:port,host:port"),
    Setting::new(
        "KAFKA_CONFIG",
        "further librdkafka properties, key=value,key=value; `\\,` for a comma inside a value",
    )
    .secret(),
];

pub(super) static GROUP: Setting =
    Setting::new("KAFKA_GROUP_ID", "consumer group of the sink").default("s3-sink");

pub(super) static PREFIX: Setting =
    Setting::new("S3_PREFIX", "what the keys begin with, before the topic");

pub(super) static STORE: [Setting; 4] = [
    Setting::new("S3_BUCKET", "bucket of the chunks"),
    Setting::new("AWS_ENDPOINT_URL_S3", "address of an S3 store that is not AWS"),
    Setting::new("AWS_ENDPOINT_URL", "the same, for every AWS service; the other one wins"),
    Setting::new(
        "S3_FORCE_PATH_STYLE",
        "address objects as endpoint/bucket/key [default: true with an endpoint, else false]",
    ),
];

/// Logs of a tool are read by the person who runs it. What the SDK tries in vain it says again when
/// nothing is left to try.
pub(super) static LOGS: [Setting; 2] =
    [LOG_FORMAT.default("text"), LOG_LEVEL.default("warn,aws_config=error")];

pub(super) static TIMEOUT: Setting =
    Setting::new("TIMEOUT", "longest wait for the brokers or the store, in seconds or as `2m`")
        .default("30");

pub(super) static TOPIC_SHAPE: [Setting; 4] = [
    Setting::new("PARTITIONS", "partitions of the topic").default("6"),
    Setting::new("REPLICATION", "replicas of each partition").default("3"),
    Setting::new("MIN_INSYNC_REPLICAS", "replicas that must take a write").default("2"),
    Setting::new("DEAD_LETTER_PARTITIONS", "partitions of the dead-letter topic").default("1"),
];

/// What is listed or replayed.
pub(super) static PARTITION: Setting =
    Setting::new("PARTITION", "only what comes from this partition");
pub(super) static OFFSET: Setting =
    Setting::new("OFFSET", "only what comes from this offset, or from `120..140`, without 140");
pub(super) static DATE: Setting =
    Setting::new("DATE", "only chunks of this day, as their keys say, such as 2026-11-02");
pub(super) static REASON: Setting = Setting::new("REASON", "only what has this reason's code");
pub(super) static FROM: Setting =
    Setting::new("FROM", "only what was written at this time or later, RFC 3339 or a day");
pub(super) static TO: Setting =
    Setting::new("TO", "only what was written before this time, RFC 3339 or a day");
pub(super) static LIMIT: Setting = Setting::new("LIMIT", "no more than so many");

/// Whether no variable sets it: it belongs to one call, not to a deployment.
pub(super) fn is_flag_only(name: &str) -> bool {
    let flags = [&TIMEOUT, &PARTITION, &OFFSET, &DATE, &REASON, &FROM, &TO, &LIMIT];
    TOPIC_SHAPE.iter().chain(flags).any(|flag| flag.name == name)
}

/// The name of a topic.
pub(super) fn topic_name(value: &str) -> Result<String, Expected> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match value.len() <= TOPIC_LEN_MAX && value.bytes().all(allowed) {
        true => Ok(value.to_owned()),
        false => {
            Err(Expected::new("the name of a topic: up to 236 letters, digits, `.`, `_` and `-`"))
        }
    }
}
