#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use std::collections::HashMap;

use super::*;
use crate::schedule::Schedule;

fn read_task(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Task, ConfigErrors> {
    let environment: HashMap<_, _> = environment.iter().copied().collect();
    let arguments = std::iter::once("ingestor").chain(arguments.iter().copied());
    let matches = command().try_get_matches_from(arguments).unwrap();
    task(&matches, |name| environment.get(name).map(OsString::from))
}

const KAFKA: (&str, &str) = ("KAFKA_BOOTSTRAP_SERVERS", "broker_1:19092,broker_2:19093");

#[test]
fn the_command_line_is_consistent() {
    command().debug_assert();
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let Task::Run(config) = read_task(&["run"], &[KAFKA]).unwrap() else { panic!("not a run") };
    assert_eq!(config.topic, "names_topic");
    assert_eq!(config.api.url.as_str(), "https://randomuser.me/api/");
    assert_eq!(config.parameters.results, 1);
    assert_eq!(config.api.timeout, Duration::from_secs(30));
    assert_eq!(config.api.response_bytes_max, 32 << 20);
    assert_eq!((config.api.retries_max, config.api.retry_delay.as_millis()), (5, 500));
    assert_eq!(config.parameters.pause, Duration::from_secs(10));
    assert_eq!(config.parameters.streaming, Duration::from_secs(120));
    assert_eq!(config.requests_max, None);
    assert_eq!(config.common.admin_addr, None);
    assert_eq!(config.common.drain_timeout, Duration::from_secs(30));
}

fn read_serve(environment: &[(&str, &str)]) -> Result<(Config, ServeConfig), ConfigErrors> {
    match read_task(&["serve"], &[&[KAFKA], environment].concat())? {
        Task::Serve(config, serve) => Ok((config, serve)),
        other => panic!("not serve: {other:?}"),
    }
}

#[test]
fn serve_runs_daily_at_one_unless_told_otherwise() {
    let (config, serve) = read_serve(&[]).unwrap();
    assert_eq!(config.common.admin_addr, Some("0.0.0.0:8080".parse().unwrap()));
    let Schedule::Cron(schedule) = &serve.policy.schedule else { panic!("{serve:?}") };
    let next = schedule.next_after("2026-11-02T12:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(next.to_string(), "2026-11-03T01:00:00Z");
    assert!(!serve.policy.run_on_start);
    assert_eq!((serve.policy.retries_max, serve.policy.retry_delay.as_secs()), (1, 5));
    assert_eq!(serve.runs_topic, "ingestor.runs");
    assert!(serve.admin_token.is_none());
}

#[test]
fn serve_takes_words_zones_and_switches() {
    let (_, serve) = read_serve(&[
        ("SCHEDULE", " 30 2 * * * "),
        ("SCHEDULE_TIMEZONE", "Europe/Berlin"),
        ("RUN_ON_START", "yes"),
        ("RUN_RETRIES", "0"),
        ("RUN_RETRY_DELAY_SECONDS", "500ms"),
        ("ADMIN_TOKEN", "0123456789abcdef"),
    ])
    .unwrap();
    let Schedule::Cron(schedule) = &serve.policy.schedule else { panic!("{serve:?}") };
    let next = schedule.next_after("2026-11-02T12:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(next.to_string(), "2026-11-03T01:30:00Z");
    assert!(serve.policy.run_on_start);
    assert_eq!((serve.policy.retries_max, serve.policy.retry_delay.as_millis()), (0, 500));
    assert!(!format!("{serve:?}").contains("0123456789abcdef"), "{serve:?}");
    for (word, expected) in [("continuous", true), ("manual", false)] {
        let (_, serve) = read_serve(&[("SCHEDULE", word)]).unwrap();
        assert_eq!(matches!(serve.policy.schedule, Schedule::Continuous), expected);
        assert_eq!(matches!(serve.policy.schedule, Schedule::Manual), !expected);
    }
}

#[test]
fn what_serve_does_not_take_is_refused_with_the_reason() {
    let errors = read_serve(&[
        ("SCHEDULE", "0 0 1 * * *"),
        ("SCHEDULE_TIMEZONE", "Europe/Berlim"),
        ("RUN_ON_START", "perhaps"),
        ("RUN_RETRIES", "-1"),
        ("RUN_RETRY_DELAY_SECONDS", "0"),
        ("RUNS_TOPIC", "names_topic"),
        ("ADMIN_TOKEN", "hunter2"),
    ])
    .unwrap_err();
    let names: Vec<&str> = errors.mistakes.iter().map(|mistake| mistake.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "SCHEDULE_TIMEZONE",
            "SCHEDULE",
            "RUN_ON_START",
            "RUN_RETRIES",
            "RUN_RETRY_DELAY_SECONDS",
            "ADMIN_TOKEN",
            "RUNS_TOPIC",
        ]
    );
    let text = errors.to_string();
    assert!(text.contains("or `continuous` or `manual`: it has 6 fields"), "{text}");
    assert!(text.contains("at least 16 printable ASCII characters"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn healthcheck_reads_the_admin_address_alone() {
    let task = read_task(&["healthcheck"], &[("ADMIN_ADDR", "127.0.0.1:9")]).unwrap();
    assert!(matches!(task, Task::Healthcheck(addr) if addr.port() == 9));
    assert!(read_task(&["healthcheck"], &[("ADMIN_ADDR", "off")]).is_err());
}

#[test]
fn all_mistakes_at_once() {
    let errors = read_task(
        &["run", "--api-results", "5001"],
        &[
            ("KAFKA_CONFIG", "sasl.password=hunter2,acks=1"),
            ("API_URL", "randomuser.me"),
            ("PAUSE_SECONDS", "-1"),
            ("STREAMING_SECONDS", "soon"),
            ("API_RESPONSE_BYTES_MAX", "1"),
            ("RUN_REQUESTS_MAX", "0"),
            ("LOG_LEVEL", "loud"),
        ],
    )
    .unwrap_err();
    let names: Vec<&str> = errors.mistakes.iter().map(|mistake| mistake.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "KAFKA_BOOTSTRAP_SERVERS",
            "KAFKA_CONFIG",
            "API_URL",
            "API_RESPONSE_BYTES_MAX",
            "API_RESULTS",
            "PAUSE_SECONDS",
            "STREAMING_SECONDS",
            "RUN_REQUESTS_MAX",
            "LOG_LEVEL",
        ]
    );
    let text = errors.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("`acks` must stay `all`"), "{text}");
    assert!(text.contains("API_RESULTS=\"5001\" (from --api-results)"), "{text}");
}
