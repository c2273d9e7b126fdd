#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;

fn parse_task(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Task, String> {
    let matches = command().try_get_matches_from([&["s3-sink"], arguments].concat()).unwrap();
    let lookup = |name: &str| {
        environment.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    };
    task(&matches, lookup).map_err(|errors| errors.to_string())
}

const LEAST: [(&str, &str); 2] =
    [("KAFKA_BOOTSTRAP_SERVERS", "a:9092,b:9092"), ("S3_BUCKET", "names")];

#[test]
fn the_defaults_are_the_documented_ones() {
    let Ok(Task::Run(config)) = parse_task(&["run"], &LEAST) else { panic!("not a run") };
    assert_eq!(config.kafka.topic, "names_topic");
    assert_eq!(config.kafka.group_id, "s3-sink");
    assert_eq!(config.limits.bytes_max, 128 * MIB);
    assert_eq!(config.limits.age_max, Duration::from_secs(60));
    assert_eq!(config.memory_bytes_max, 256 * MIB);
    assert_eq!(config.store.layout.topic_prefix(), "names_topic/");
    assert!(!config.store.force_path_style);
    assert!(config.common.admin_addr.is_some());
}

#[test]
fn flags_win_over_the_environment_and_a_drain_has_no_admin_server() {
    let environment =
        [&LEAST[..], &[("CHUNK_ROWS_MAX", "5"), ("AWS_ENDPOINT_URL_S3", "http://x")]].concat();
    let arguments = ["drain", "--chunk-rows-max", "7", "--s3-prefix", "/raw/"];
    let Ok(Task::Drain(config)) = parse_task(&arguments, &environment) else {
        panic!("not a drain")
    };
    assert_eq!(config.limits.rows_max, 7);
    assert_eq!(config.store.layout.topic_prefix(), "raw/names_topic/");
    assert!(config.store.force_path_style, "a custom endpoint means path style");
    assert_eq!(config.common.admin_addr, None);
}

#[test]
fn a_static_member_has_the_hosts_name_and_a_drain_is_none() {
    let environment = [&LEAST[..], &[("KAFKA_STATIC_MEMBERSHIP", "true")]].concat();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let Ok(Task::Run(config)) = parse_task(&["run"], &environment) else { panic!("not a run") };
    assert_eq!(config.kafka.instance_id.as_deref(), Some(host.trim()));
    let Ok(Task::Drain(config)) = parse_task(&["drain"], &environment) else { panic!("no drain") };
    assert_eq!(config.kafka.instance_id, None);
    let Ok(Task::Run(config)) = parse_task(&["run"], &LEAST) else { panic!("not a run") };
    assert_eq!(config.kafka.instance_id, None);
}

#[test]
fn every_mistake_is_named_at_once_and_secrets_are_kept() {
    let environment = [
        ("KAFKA_TOPIC", "a/b"),
        ("KAFKA_CONFIG", "sasl.password=hunter2,enable.auto.commit=true,request.required.acks=0"),
        ("CHUNK_BYTES_MAX", "12 parsecs"),
        ("CHUNK_AGE_SECONDS_MAX", "0"),
        ("MEMORY_LIMIT", "1MiB"),
        ("LOG_FORMAT", "xml"),
    ];
    let errors = parse_task(&["run"], &environment).unwrap_err();
    for expected in [
        "KAFKA_BOOTSTRAP_SERVERS",
        "S3_BUCKET",
        "KAFKA_TOPIC",
        "a/b",
        "enable.auto.commit",
        "request.required.acks",
        "CHUNK_BYTES_MAX",
        "12 parsecs",
        "CHUNK_AGE_SECONDS_MAX",
        "MEMORY_LIMIT",
        "LOG_FORMAT",
        "xml",
    ] {
        assert!(errors.contains(expected), "{expected} is missing in:\n{errors}");
    }
    assert!(!errors.contains("hunter2"), "{errors}");
}
