#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use super::*;

#[test]
fn durations() {
    let parse = duration(Duration::ZERO..=Duration::from_secs(86_400 * 2));
    for (text, millis) in [
        ("10", 10_000),
        ("0.5", 500),
        ("0", 0),
        ("500ms", 500),
        ("30s", 30_000),
        ("2m", 120_000),
        ("1h", 3_600_000),
        ("1.5h", 5_400_000),
        ("1d", 86_400_000),
        (" 10 s ", 10_000),
    ] {
        assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in [
        "-1",
        "+1",
        "1e3",
        "inf",
        "nan",
        "soon",
        "1x",
        "1 2",
        "1.2.3",
        ".",
        "s",
        "3d",
        "99999999999999999999h",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_refused_duration_names_the_range() {
    let parse = duration(Duration::from_millis(500)..=Duration::from_secs(3600));
    assert_eq!(
        parse("0.4").unwrap_err().0,
        "a duration from 500ms to 1h, such as `10`, `0.5`, `500ms`, `30s`, `2m` or `1h`"
    );
}

#[test]
fn byte_sizes() {
    let parse = bytes(1..=u64::MAX);
    for (text, expected) in [
        ("1048576", 1 << 20),
        ("128MiB", 128 << 20),
        ("256KiB", 256 << 10),
        ("256 kib", 256 << 10),
        ("1GB", 1_000_000_000),
        ("2TiB", 2 << 40),
        ("7B", 7),
    ] {
        assert_eq!(parse(text), Ok(expected), "{text}");
    }
    for text in ["", "0", "1.5MiB", "-1", "1M", "MiB", "99999999999TiB"] {
        assert!(parse(text).is_err(), "{text}");
    }
    let expected = bytes(1 << 20..=1 << 30)("1").unwrap_err().0;
    assert!(expected.starts_with("a size from 1MiB to 1GiB,"), "{expected}");
}

#[test]
fn integers_inside_their_range() {
    let parse = integer(1u16..=5000);
    assert_eq!(parse("1"), Ok(1));
    assert_eq!(parse(" 5000 "), Ok(5000));
    for text in ["0", "5001", "-1", "1.0", "one", "70000"] {
        assert_eq!(parse(text).unwrap_err().0, "an integer from 1 to 5000", "{text}");
    }
}

#[test]
fn words_with_a_meaning() {
    let parse = one_of(&[("json", 1), ("text", 2), ("none", 3)]);
    assert_eq!(parse("text"), Ok(2));
    assert_eq!(parse("JSON").unwrap_err().0, "`json`, `text` or `none`");
    assert_eq!(one_of(&[("only", 1)])("x").unwrap_err().0, "`only`");
    assert_eq!(boolean("Yes"), Ok(true));
    assert_eq!(boolean("0"), Ok(false));
    assert!(boolean("2").is_err());
}

#[test]
fn urls_with_a_host() {
    let parse = url(&["http", "https"]);
    assert_eq!(parse("https://randomuser.me/api/").unwrap().path(), "/api/");
    for text in ["randomuser.me", "ftp://randomuser.me/", "http://", "/api"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn addresses() {
    assert_eq!(socket_addr_or_off("off"), Ok(None));
    assert!(socket_addr_or_off("[::1]:80").unwrap().is_some());
    for text in ["8080", "localhost:8080", "0.0.0.0", "1.2.3.4:99999"] {
        assert!(socket_addr(text).is_err(), "{text}");
    }
}

#[test]
fn bearer_tokens() {
    assert!(bearer_token("0123456789abcdef").is_ok());
    let expected = bearer_token("hunter2").unwrap_err().0;
    assert!(expected.contains("at least 16") && !expected.contains("hunter2"), "{expected}");
    assert!(bearer_token("0123456789abcdef ").is_err());
}

#[test]
fn word_lists() {
    assert_eq!(words("a:1, b:2").unwrap(), ["a:1", "b:2"]);
    assert!(words("a:1,").is_err());
}

#[test]
fn key_value_lists() {
    let pairs = |text| {
        key_values(text).map(|pairs| {
            pairs.iter().map(|(key, value)| format!("{key}|{value}")).collect::<Vec<_>>()
        })
    };
    assert_eq!(pairs("a=1,b=2").unwrap(), ["a|1", "b|2"]);
    assert_eq!(pairs(" a = 1 , b=2").unwrap(), ["a|1 ", "b|2"]);
    assert_eq!(pairs("jaas=user=\"x\"").unwrap(), ["jaas|user=\"x\""]);
    assert_eq!(pairs(r"list=a\,b,c=d\\,e=\n").unwrap(), ["list|a,b", r"c|d\", r"e|\n"]);
    assert_eq!(pairs("empty=").unwrap(), ["empty|"]);
    for (text, entry) in [
        ("a=1,b", "entry 2 is none"),
        ("=1", "entry 1 is none"),
        ("a=1,", "entry 2 is none"),
        ("a=1,a=2", "entry 2 repeats"),
    ] {
        let expected = key_values(text).unwrap_err().0;
        assert!(expected.contains(entry), "{text}: {expected}");
    }
}
