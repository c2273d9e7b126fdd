//! Parsers for the values of settings.
//!
//! Each returns what it accepts as its error, never the refused value: the value may be a secret.
//! Blanks around numbers and words are ignored; text, lists and addresses are taken as they are.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::errors::Expected;
use crate::admin::{BearerToken, TOKEN_CHARS_MIN};
use crate::log;

/// Any text; an empty one never gets here, it counts as not set.
pub fn text(value: &str) -> Result<String, Expected> {
    Ok(value.to_string())
}

/// A duration inside `range`: a decimal number of seconds, or with a unit `ms`, `s`, `m`, `h`, `d`.
pub fn duration(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, Expected> {
    move |value| {
        unbounded_duration(value.trim()).filter(|duration| range.contains(duration)).ok_or_else(
            || {
                Expected::new(format!(
                    "a duration from {} to {}, such as `10`, `0.5`, `500ms`, `30s`, `2m` or `1h`",
                    show_duration(*range.start()),
                    show_duration(*range.end()),
                ))
            },
        )
    }
}

/// A number of bytes inside `range`: an integer, alone or with a unit `B`, `KB`, `MB`, `GB`, `TB`
/// (powers of 1000), `KiB`, `MiB`, `GiB` or `TiB` (powers of 1024).
pub fn bytes(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, Expected> {
    move |value| {
        unbounded_bytes(value.trim()).filter(|bytes| range.contains(bytes)).ok_or_else(|| {
            Expected::new(format!(
                "a size from {} to {}, such as `1048576`, `256KiB`, `128MiB` or `1GB`",
                show_bytes(*range.start()),
                show_bytes(*range.end()),
            ))
        })
    }
}

/// An integer inside `range`.
pub fn integer<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, Expected>
where
    T: FromStr + PartialOrd + Display,
{
    move |value| {
        value.trim().parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            Expected::new(format!("an integer from {} to {}", range.start(), range.end()))
        })
    }
}

/// `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`, in any case.
pub fn boolean(value: &str) -> Result<bool, Expected> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(Expected::new("`true` or `false`")),
    }
}

/// One of the given words, each with what it means.
pub fn one_of<T: Clone>(words: &[(&'static str, T)]) -> impl Fn(&str) -> Result<T, Expected> {
    move |value| {
        let value = value.trim();
        words
            .iter()
            .find(|(word, _)| *word == value)
            .map(|(_, meaning)| meaning.clone())
            .ok_or_else(|| {
                let words: Vec<String> =
                    words.iter().map(|(word, _)| format!("`{word}`")).collect();
                Expected::new(match words.split_last() {
                    Some((last, others)) if !others.is_empty() => {
                        format!("{} or {last}", others.join(", "))
                    }
                    _ => words.concat(),
                })
            })
    }
}

/// An absolute URL with one of these schemes and a host.
pub fn url(schemes: &'static [&'static str]) -> impl Fn(&str) -> Result<url::Url, Expected> {
    move |value| {
        url::Url::parse(value.trim())
            .ok()
            .filter(|url| schemes.contains(&url.scheme()) && url.has_host())
            .ok_or_else(|| {
                let starts: Vec<String> = schemes.iter().map(|s| format!("`{s}://`")).collect();
                Expected::new(format!(
                    "a URL that starts with {} and names a host",
                    starts.join(" or ")
                ))
            })
    }
}

/// An IP address and a port: `0.0.0.0:8080`, `[::1]:9000`.
pub fn socket_addr(value: &str) -> Result<SocketAddr, Expected> {
    value.trim().parse().map_err(|_| {
        Expected::new("an IP address and a port, such as `0.0.0.0:8080` or `[::1]:8080`")
    })
}

/// An IP address and a port, or `off`.
pub fn socket_addr_or_off(value: &str) -> Result<Option<SocketAddr>, Expected> {
    if value.trim() == "off" {
        return Ok(None);
    }
    socket_addr(value)
        .map(Some)
        .map_err(|expected| Expected::new(format!("{}, or `off`", expected.0)))
}

/// A bearer token: printable ASCII without blanks, at least 16 characters.
pub fn bearer_token(value: &str) -> Result<BearerToken, Expected> {
    BearerToken::new(value).ok_or_else(|| {
        Expected::new(format!(
            "at least {TOKEN_CHARS_MIN} printable ASCII characters without blanks, \
             such as `openssl rand -hex 32` prints"
        ))
    })
}

/// Words separated by commas, such as `broker_1:9092,broker_2:9092`; blanks around each are dropped.
pub fn words(value: &str) -> Result<Vec<String>, Expected> {
    let words: Vec<String> = value.split(',').map(|word| word.trim().to_string()).collect();
    match words.iter().any(String::is_empty) {
        true => Err(Expected::new("words separated by commas, none of them empty")),
        false => Ok(words),
    }
}

/// `key=value` pairs separated by commas, in the order given.
///
/// A value may hold `=`; `\,` stands for a comma and `\\` for a backslash. Any other backslash is
/// kept, since passwords and paths have them. Blanks around a key and before a value are dropped.
pub fn key_values(value: &str) -> Result<Vec<(String, String)>, Expected> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (index, entry) in split_unescaped(value).into_iter().enumerate() {
        let pair = entry
            .split_once('=')
            .map(|(key, value)| (key.trim().to_string(), value.trim_start().to_string()))
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| {
                Expected::new(format!(
                    "`key=value` pairs separated by commas (`\\,` for a comma inside a value); \
                     entry {} is none",
                    index + 1
                ))
            })?;
        if pairs.iter().any(|(key, _)| *key == pair.0) {
            return Err(Expected::new(format!(
                "each key once; entry {} repeats an earlier key",
                index + 1
            )));
        }
        pairs.push(pair);
    }
    Ok(pairs)
}

/// A level (`error`, `warn`, `info`, `debug`, `trace`, `off`), or a list of `target=level`.
pub fn log_filter(value: &str) -> Result<log::Filter, Expected> {
    log::Filter::parse(value).ok_or_else(|| {
        Expected::new(
            "`error`, `warn`, `info`, `debug`, `trace` or `off`, \
             or a list such as `info,librdkafka=debug`",
        )
    })
}

fn unbounded_duration(value: &str) -> Option<Duration> {
    let (number, unit) = split_unit(value);
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    // `split_unit` leaves digits and dots only: no sign, exponent, `inf` or `nan` gets this far.
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds_per_unit).ok()
}

fn unbounded_bytes(value: &str) -> Option<u64> {
    let (number, unit) = split_unit(value);
    let bytes_per_unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(bytes_per_unit)
}

/// Splits `10 MiB` into `10` and `MiB`.
fn split_unit(value: &str) -> (&str, &str) {
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    (number, unit.trim_start())
}

/// Splits at commas and resolves `\,` and `\\`.
fn split_unescaped(value: &str) -> Vec<String> {
    let mut entries = vec![String::new()];
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped =
            (c == '\\').then(|| chars.next_if(|next| matches!(next, ',' | '\\'))).flatten();
        match (c, escaped) {
            (',', _) => entries.push(String::new()),
            (_, escaped) => {
                if let Some(entry) = entries.last_mut() {
                    entry.push(escaped.unwrap_or(c));
                }
            }
        }
    }
    entries
}

fn show_duration(duration: Duration) -> String {
    const UNITS: [(u128, &str); 4] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let millis = duration.as_millis();
    UNITS.iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit)).map_or_else(
        || match millis {
            0 => "0".to_string(),
            millis => format!("{millis}ms"),
        },
        |(unit, name)| format!("{}{name}", millis / unit),
    )
}

fn show_bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    UNITS
        .iter()
        .find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit))
        .map_or_else(|| bytes.to_string(), |(unit, name)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests;
