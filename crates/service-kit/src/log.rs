//! Logs on stderr: one JSON object a line for machines, or text for people.
//!
//! Records of the `log` crate (librdkafka's among them) are captured as well.

mod json;

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line: `timestamp`, `level`, `target`, `message`, then the event's fields.
    Json,
    /// A line for people.
    Text,
}

/// What is logged: a level, or a list of `target=level`. Always valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(String);

impl Filter {
    /// Takes `info` or `info,librdkafka=debug`; `None` if it is no such list.
    pub fn parse(directives: &str) -> Option<Self> {
        // EnvFilter takes a lone unknown word for a target; a mistyped level must not pass as one.
        let is_typo = |word: &&str| {
            let is_level = !word.is_empty() && word.parse::<LevelFilter>().is_ok();
            !word.contains('=') && !is_level
        };
        let words: Vec<&str> = directives.split(',').map(str::trim).collect();
        if words.iter().any(is_typo) {
            return None;
        }
        let directives = words.join(",");
        EnvFilter::try_new(&directives).ok()?;
        Some(Self(directives))
    }
}

/// Logs could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The process already logs.
    #[error("logs were started already: {0}")]
    AlreadyStarted(Box<dyn std::error::Error + Send + Sync>),
    /// The filter was refused.
    #[error("the log filter is refused")]
    Filter(#[from] ParseError),
}

/// Starts logging to stderr. Call it once, before anything else that may log.
pub fn init(format: Format, filter: &Filter) -> Result<(), LogError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&filter.0)?)
        .with_writer(io::stderr);
    match format {
        Format::Json => builder.event_format(json::JsonLine).try_init(),
        Format::Text => builder.try_init(),
    }
    .map_err(LogError::AlreadyStarted)
}

/// Logs a line of a Kafka client, given its syslog severity (0 to 7).
///
/// The client goes on trying by itself and reports what it can't do, so none of its lines calls
/// for somebody to act at once: nothing is above a warning.
pub fn kafka_client(severity: u8, facility: &str, detail: &str) {
    match severity {
        0..=4 => tracing::warn!(target: "librdkafka", facility, detail, "kafka client"),
        5..=6 => tracing::info!(target: "librdkafka", facility, detail, "kafka client"),
        _ => tracing::debug!(target: "librdkafka", facility, detail, "kafka client"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

    use super::Filter;

    #[test]
    fn levels_and_lists_are_taken_and_typos_are_not() {
        for good in ["info", "INFO", "off", "warn,librdkafka=debug", " debug ", "info, hyper=warn"]
        {
            assert!(Filter::parse(good).is_some(), "{good}");
        }
        for bad in ["", "inof", "loud", "info,librdkafka=loud", "info,,debug"] {
            assert!(Filter::parse(bad).is_none(), "{bad}");
        }
    }
}
