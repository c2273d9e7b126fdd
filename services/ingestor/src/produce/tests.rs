#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use super::*;

fn properties(pairs: &[(&str, &str)]) -> Result<Properties, String> {
    let pairs: Vec<_> =
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Properties::new(&["127.0.0.1:1".to_string()], &pairs)
}

#[test]
fn the_defaults_are_good() {
    let properties = properties(&[]).unwrap();
    assert_eq!(properties.delivery_timeout(), Duration::from_secs(120));
    assert_eq!(properties.linger(), Duration::from_millis(20));
    assert_eq!(properties.config.get("metadata.broker.list"), Some("127.0.0.1:1"));
}

#[test]
fn the_user_has_the_last_word_under_either_name() {
    let properties = properties(&[
        ("delivery.timeout.ms", "5000"),
        ("linger.ms", "0.5"),
        ("compression.type", "zstd"),
        ("bootstrap.servers", "127.0.0.1:2"),
        ("acks", "-1"),
        ("sasl.mechanism", "PLAIN"),
    ])
    .unwrap();
    assert_eq!(properties.delivery_timeout(), Duration::from_secs(5));
    assert_eq!(properties.linger(), Duration::from_micros(500));
    assert_eq!(properties.config.get("compression.codec"), Some("zstd"));
    assert_eq!(properties.config.get("metadata.broker.list"), Some("127.0.0.1:2"));
}

#[test]
fn the_guarantees_stay() {
    for (name, value) in [
        ("enable.idempotence", "false"),
        ("acks", "1"),
        ("request.required.acks", "0"),
        ("transactional.id", "t"),
        ("delivery.report.only.error", "true"),
        ("message.timeout.ms", "0"),
        ("delivery.timeout.ms", "0"),
    ] {
        let problem = properties(&[(name, value)]).unwrap_err();
        assert!(problem.contains("must") || problem.contains("not supported"), "{name}: {problem}");
    }
}

#[test]
fn refusals_name_the_property_and_never_the_value() {
    let unknown = properties(&[("sasl.pasword", "hunter2")]).unwrap_err();
    assert_eq!(unknown, "librdkafka has no property `sasl.pasword`");
    let invalid = properties(&[("security.protocol", "hunter2")]).unwrap_err();
    assert_eq!(invalid, "librdkafka refuses the value of `security.protocol`");
    let nul = properties(&[("sasl.password", "hunter2\0")]).unwrap_err();
    assert!(!nul.contains("hunter2"), "{nul}");
}

#[test]
fn an_error_that_repeats_is_logged_now_and_then() {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure};
    let (errors, start) = (ErrorLog::default(), Instant::now());
    assert!(errors.is_due(AllBrokersDown, start));
    assert!(!errors.is_due(AllBrokersDown, start + ERROR_LOG_PERIOD / 2));
    assert!(errors.is_due(BrokerTransportFailure, start + ERROR_LOG_PERIOD / 2));
    assert!(errors.is_due(AllBrokersDown, start + ERROR_LOG_PERIOD));
}
