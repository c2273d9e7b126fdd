//! One event as one line of JSON: `timestamp`, `level`, `target`, `message`, then its fields.
//!
//! tracing-subscriber's own JSON would add the source path to each record of the `log` crate, and
//! a second target. Spans are not shown.

use std::fmt;

use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The format of a JSON log line.
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Fields::default();
        event.record(&mut fields);

        let mut line = Vec::with_capacity(256);
        let mut serializer = serde_json::Serializer::new(&mut line);
        let written = serializer.serialize_map(None).and_then(|mut map| {
            map.serialize_entry("timestamp", &timestamp)?;
            map.serialize_entry("level", metadata.level().as_str())?;
            map.serialize_entry("target", metadata.target())?;
            map.serialize_entry("message", &fields.message)?;
            for (name, value) in &fields.others {
                map.serialize_entry(name, value)?;
            }
            map.end()
        });
        written.map_err(|_| fmt::Error)?;
        writeln!(writer, "{}", String::from_utf8_lossy(&line))
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(message)) => self.message = message,
            // Where a record of the `log` crate came from: its target is already in the line.
            (name, _) if name.starts_with("log.") => {}
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    /// NaN and the infinities, which JSON lacks, become null.
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_log::log;

    use super::*;

    /// The lines that `body` logs.
    fn lines(body: impl FnOnce()) -> Vec<String> {
        let written = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::fmt()
            .event_format(JsonLine)
            .with_writer({
                let written = Arc::clone(&written);
                move || Shared(Arc::clone(&written))
            })
            .finish();
        tracing::subscriber::with_default(subscriber, body);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_string).collect()
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Cuts the timestamp off, the only part that differs from run to run.
    fn after_timestamp(line: &str) -> &str {
        let (timestamp, rest) = line.split_once(',').unwrap();
        assert!(timestamp.starts_with("{\"timestamp\":\"20") && timestamp.ends_with("Z\""));
        rest
    }

    #[test]
    fn an_event_is_one_flat_object_in_a_fixed_order() {
        let error = io::Error::other("two\nlines");
        let lines = lines(|| {
            tracing::warn!(target: "demo", count = 3, part = 0.5, good = true, %error, "run ended");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(
            after_timestamp(&lines[0]),
            r#""level":"WARN","target":"demo","message":"run ended","count":3,"part":0.5,"good":true,"error":"two\nlines"}"#
        );
    }

    #[test]
    fn a_record_of_the_log_crate_has_its_own_target_and_no_path() {
        let lines = lines(|| {
            let record = log::Record::builder()
                .level(log::Level::Info)
                .target("librdkafka")
                .file(Some("/somewhere/client.rs"))
                .line(Some(7))
                .args(format_args!("connected"))
                .build();
            tracing_log::format_trace(&record).unwrap();
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(
            after_timestamp(&lines[0]),
            r#""level":"INFO","target":"librdkafka","message":"connected"}"#
        );
    }
}
