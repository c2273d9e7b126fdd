#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use std::collections::HashMap;

use super::*;

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
    assert_eq!(config.api.results, 1);
    assert_eq!(config.api.timeout, Duration::from_secs(30));
    assert_eq!(config.api.response_bytes_max, 32 << 20);
    assert_eq!((config.api.retries_max, config.api.retry_delay.as_millis()), (5, 500));
    assert_eq!(config.cadence.pause, Duration::from_secs(10));
    assert_eq!(config.cadence.streaming, Duration::from_secs(120));
    assert_eq!(config.requests_max, None);
    assert_eq!(config.common.admin_addr, None);
    assert_eq!(config.common.drain_timeout, Duration::from_secs(30));
}

#[test]
fn serve_has_an_admin_server_and_a_schedule() {
    let Task::Serve(config, schedule) = read_task(&["serve"], &[KAFKA]).unwrap() else {
        panic!("not serve")
    };
    assert_eq!(schedule, Schedule::Continuous);
    assert_eq!(config.common.admin_addr, Some("0.0.0.0:8080".parse().unwrap()));
    let manual = read_task(&["serve", "--schedule", "manual"], &[KAFKA]).unwrap();
    assert!(matches!(manual, Task::Serve(_, Schedule::Manual)));
}

#[test]
fn a_schedule_that_does_not_work_is_refused() {
    let errors = read_task(&["serve"], &[KAFKA, ("SCHEDULE", "0 1 * * *")]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "1 setting is wrong:\n  SCHEDULE=\"0 1 * * *\" (from environment): \
         expected `continuous` or `manual`"
    );
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
            "API_RESULTS",
            "API_RESPONSE_BYTES_MAX",
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
