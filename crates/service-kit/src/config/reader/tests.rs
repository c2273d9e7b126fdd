#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use std::collections::HashMap;

use super::*;
use crate::config::{args, parse};

static SETTINGS: &[Setting] = &[
    Setting::new("TOPIC", "topic to write to"),
    Setting::new("ROWS_MAX", "rows").default("10"),
    Setting::new("PASSWORD", "password").secret(),
];

fn reader(flags: &[&str], environment: &[(&str, &str)]) -> Reader {
    let environment: HashMap<String, String> =
        environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let matches = clap::Command::new("demo")
        .no_binary_name(true)
        .args(args(SETTINGS))
        .try_get_matches_from(flags)
        .unwrap();
    Reader::new(SETTINGS, &matches, |name| environment.get(name).map(OsString::from))
}

fn rows_max(reader: &mut Reader) -> Option<u32> {
    reader.required("ROWS_MAX", parse::integer(1..=100))
}

#[test]
fn flag_over_variable_over_default() {
    assert_eq!(rows_max(&mut reader(&[], &[])), Some(10));
    assert_eq!(rows_max(&mut reader(&[], &[("ROWS_MAX", "20")])), Some(20));
    assert_eq!(rows_max(&mut reader(&["--rows-max", "30"], &[("ROWS_MAX", "20")])), Some(30));
}

#[test]
fn empty_counts_as_not_set() {
    assert_eq!(rows_max(&mut reader(&[], &[("ROWS_MAX", "")])), Some(10));
    assert_eq!(rows_max(&mut reader(&["--rows-max", ""], &[("ROWS_MAX", "20")])), Some(10));
    let mut empty = reader(&[], &[("TOPIC", "")]);
    assert_eq!(empty.optional("TOPIC", parse::text), Some(None));
}

#[test]
fn every_mistake_at_once_and_no_secret() {
    let mut reader = reader(&["--rows-max=-3"], &[("PASSWORD", "hunter2"), ("UNRELATED", "x")]);
    let topic = reader.required("TOPIC", parse::text);
    let rows = rows_max(&mut reader);
    // A parser that forgets itself and repeats the value.
    let password = reader.optional("PASSWORD", |value| {
        Err::<(), _>(Expected::new(format!("something better than {value}")))
    });
    let errors = reader.finish(|| Some((topic?, rows?, password?))).unwrap_err().to_string();
    assert_eq!(
        errors,
        "3 settings are wrong:\n  \
         TOPIC is not set: it is required (topic to write to)\n  \
         ROWS_MAX=\"-3\" (from --rows-max): expected an integer from 1 to 100\n  \
         PASSWORD=*** (from environment): it is not acceptable (details withheld: the value is a secret)"
    );
}

#[test]
fn a_contradiction_is_a_mistake_too() {
    let mut reader = reader(&[], &[("ROWS_MAX", "20")]);
    let rows = rows_max(&mut reader);
    reader.refuse("ROWS_MAX", "must be even when TOPIC is odd");
    let errors = reader.finish(|| rows).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "1 setting is wrong:\n  \
         ROWS_MAX=\"20\" (from environment): must be even when TOPIC is odd"
    );
}

#[cfg(unix)]
#[test]
fn invalid_utf8_is_a_mistake() {
    use std::os::unix::ffi::OsStringExt;
    let matches = clap::Command::new("demo").get_matches_from(["demo"]);
    let mut reader = Reader::new(SETTINGS, &matches, |name| {
        (name == "TOPIC").then(|| OsString::from_vec(vec![b'a', 0xff]))
    });
    let topic = reader.required("TOPIC", parse::text);
    let errors = reader.finish(|| topic).unwrap_err();
    assert_eq!(errors.mistakes.len(), 1);
    assert!(errors.to_string().contains("expected valid UTF-8"), "{errors}");
}

#[test]
fn reading_outside_the_table_is_reported() {
    let mut reader = reader(&[], &[]);
    let value = reader.required("NOT_THERE", parse::text);
    assert!(reader.finish(|| value).unwrap_err().to_string().contains("NOT_THERE"));
}

#[test]
fn help_names_variable_and_default() {
    let help = clap::Command::new("demo").args(args(SETTINGS)).render_long_help().to_string();
    assert!(help.contains("--rows-max <VALUE>"), "{help}");
    assert!(help.contains("[env: ROWS_MAX] [default: 10]"), "{help}");
}

#[test]
fn the_common_settings_defaults_are_good() {
    use crate::config::{COMMON, Common};
    let matches = clap::Command::new("demo").get_matches_from(["demo"]);
    let mut reader = Reader::new(COMMON, &matches, |_| None);
    let common = Common::read(&mut reader);
    let common = reader.finish(|| common).unwrap();
    assert_eq!(common.admin_addr, Some("0.0.0.0:8080".parse().unwrap()));
    assert_eq!(common.drain_timeout.as_secs(), 30);
}
