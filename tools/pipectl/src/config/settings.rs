//! Every setting, with its default.

use service_kit::config::{Expected, LOG_FORMAT, LOG_LEVEL, Setting};

/// Kafka's own limit of 249 less the dead-letter topic's suffix.
const TOPIC_LEN_MAX: usize = 245;
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

/// Belong to one call, not to a deployment: flags only, no variables.
pub(super) static TIMEOUT: Setting =
    Setting::new("TIMEOUT", "longest wait for the brokers or the store, in seconds or as `2m`")
        .default("30");

pub(super) static TOPIC_SHAPE: [Setting; 4] = [
    Setting::new("PARTITIONS", "partitions of the topic").default("6"),
    Setting::new("REPLICATION", "replicas of each partition").default("3"),
    Setting::new("MIN_INSYNC_REPLICAS", "replicas that must take a write").default("2"),
    Setting::new("DEAD_LETTER_PARTITIONS", "partitions of the dead-letter topic").default("1"),
];

/// The name of a topic.
pub(super) fn topic_name(value: &str) -> Result<String, Expected> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match value.len() <= TOPIC_LEN_MAX && value.bytes().all(allowed) {
        true => Ok(value.to_owned()),
        false => {
            Err(Expected::new("the name of a topic: up to 245 letters, digits, `.`, `_` and `-`"))
        }
    }
}
