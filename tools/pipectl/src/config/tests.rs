#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use url::Url;

use super::*;
use crate::topics::TopicSpec;

type Variables = &'static [(&'static str, &'static str)];

fn read_line(line: &str, variables: Variables) -> Result<Invocation, ConfigErrors> {
    let matches = command().try_get_matches_from(line.split_whitespace()).unwrap();
    read(&matches, |name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    })
}

fn audit(line: &str, variables: Variables) -> AuditConfig {
    match read_line(line, variables).unwrap().task {
        Task::Audit { config, .. } => config,
        task => panic!("{task:?}"),
    }
}

#[test]
fn every_mistake_is_named_at_once() {
    let error = read_line(
        "pipectl audit --timeout 0",
        &[("KAFKA_TOPIC", "a b"), ("AWS_ENDPOINT_URL_S3", "127.0.0.1:9000"), ("LOG_LEVEL", "inof")],
    )
    .unwrap_err();
    let named: Vec<&str> = error.mistakes.iter().map(|mistake| mistake.name.as_str()).collect();
    let expected = [
        "KAFKA_TOPIC",
        "S3_BUCKET",
        "AWS_ENDPOINT_URL_S3",
        "KAFKA_BOOTSTRAP_SERVERS",
        "TIMEOUT",
        "LOG_LEVEL",
    ];
    assert_eq!(named, expected);
}

#[test]
fn without_kafka_no_brokers_are_needed() {
    let config = audit("pipectl audit --no-kafka", &[("S3_BUCKET", "names")]);
    assert!(config.kafka.is_none());
    let both =
        command().try_get_matches_from(["pipectl", "audit", "--no-kafka", "--expect-drained"]);
    assert!(both.is_err());
}

#[test]
fn an_endpoint_brings_path_style_unless_told_otherwise() {
    const AWS: Variables = &[("S3_BUCKET", "names")];
    const OWN: Variables = &[
        ("S3_BUCKET", "names"),
        ("AWS_ENDPOINT_URL", "http://other:1"),
        ("AWS_ENDPOINT_URL_S3", "http://own:2"),
    ];
    let store = |line, variables| audit(line, variables).store;
    assert!(!store("pipectl audit --no-kafka", AWS).force_path_style);
    let own = store("pipectl audit --no-kafka", OWN);
    assert_eq!(
        (own.endpoint.as_ref().map(Url::as_str), own.force_path_style),
        (Some("http://own:2/"), true)
    );
    assert!(!store("pipectl audit --no-kafka --s3-force-path-style false", OWN).force_path_style);
}

#[test]
fn topics_have_a_shape_by_default_and_flags_ignore_the_environment() {
    let variables: Variables = &[("KAFKA_BOOTSTRAP_SERVERS", "b:1"), ("PARTITIONS", "99")];
    let Task::EnsureTopics(config) = read_line("pipectl topics ensure", variables).unwrap().task
    else {
        panic!("another task");
    };
    let spec = |name: &str, partitions| TopicSpec::new(name.to_owned(), partitions, 3, 2);
    let letters = spec("names_topic.dlq", 1).for_dead_letters();
    let runs = spec("ingestor.runs", 1).compacted();
    let replayed = spec("names_topic.dlq.replayed", 1).compacted();
    assert_eq!(config.topics, [spec("names_topic", 6), letters, replayed, runs]);
    assert_eq!(config.kafka.timeout, Duration::from_secs(30));
}

#[test]
fn the_run_history_has_a_topic_of_its_own() {
    for runs in ["names_topic", "names_topic.dlq", "names_topic.dlq.replayed"] {
        let line = format!("pipectl topics ensure --runs-topic {runs}");
        let error = read_line(&line, &[("KAFKA_BOOTSTRAP_SERVERS", "b:1")]).unwrap_err();
        assert!(error.to_string().contains("a topic of its own"), "{error}");
    }
}

#[test]
fn more_in_sync_replicas_than_replicas_are_refused() {
    let error =
        read_line("pipectl topics ensure --replication 1", &[("KAFKA_BOOTSTRAP_SERVERS", "b:1")])
            .unwrap_err();
    assert!(error.to_string().contains("at most the replication, which is 1"), "{error}");
}

#[test]
fn a_bad_filter_is_named_with_its_value() {
    const KAFKA: Variables = &[("KAFKA_BOOTSTRAP_SERVERS", "b:1"), ("OFFSET", "99")];
    let line =
        "pipectl dead-letters replay --partition=-1 --offset 9..5 --from yesterday --limit 0";
    let error = read_line(line, KAFKA).unwrap_err();
    let found: Vec<_> = error.mistakes.iter().map(|mistake| mistake.name.as_str()).collect();
    assert_eq!(found, ["PARTITION", "OFFSET", "FROM", "LIMIT"]);
    let text = error.to_string();
    assert!(text.contains("9..5") && text.contains("yesterday"), "{text}");
    for coordinates in ["3", "3+x", "names_topic+3+120"] {
        let line = format!("pipectl dead-letters replay {coordinates}");
        let error = command().try_get_matches_from(line.split_whitespace()).unwrap_err();
        assert!(error.to_string().contains("expected PARTITION+OFFSET, such as 3+120"), "{error}");
    }
}

#[test]
fn what_to_replay_is_said_in_full() {
    const KAFKA: Variables = &[("KAFKA_BOOTSTRAP_SERVERS", "b:1"), ("PARTITION", "99")];
    let Task::ReplayLetters { config, json: false } = read_line(
        "pipectl dead-letters replay 3+120 4+7 --reason bad_zip --offset 5..9 --dry-run --limit 2",
        KAFKA,
    )
    .unwrap()
    .task
    else {
        panic!("another task");
    };
    let offsets =
        chunk_ledger::OffsetRange { start: chunk_ledger::Offset(5), end: chunk_ledger::Offset(9) };
    let filter = Filter {
        coordinates: [Coordinates::new(3, 120), Coordinates::new(4, 7)].into(),
        offsets: Some(offsets),
        reason: Some("bad_zip".to_owned()),
        ..Filter::default()
    };
    assert_eq!((config.filter, config.limit, config.dry_run), (filter, 2, true));
    for line in ["pipectl dead-letters replay", "pipectl dead-letters replay --limit 2 --dry-run"] {
        let error = command().try_get_matches_from(line.split_whitespace()).unwrap_err();
        assert!(error.to_string().contains("--all"), "everything is no default: {error}");
    }
}
