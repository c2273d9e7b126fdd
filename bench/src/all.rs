//! Every figure of ours in one table, one file and one chart.

use anyhow::Result;
use comfy_table::Table;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use crate::output::{leave, table};
use crate::world::{Totals, World};
use crate::{chart, ingest, rows, sink};

const PARTITIONS: i32 = 6;
/// Enough for some seconds of work.
const PAGES: u64 = 100;

#[derive(Debug, Serialize)]
struct Results {
    rows: rows::Report,
    ingest: ingest::Report,
    sink: sink::Report,
}

/// Measures everything, the sink over so many messages; prints the table, and leaves `results.json`
/// and `chart.svg` in target/bench.
pub fn run(messages: u64) -> Result<()> {
    let rows = rows::run()?;
    let ingest = ingest::run(PAGES)?;
    eprintln!("{}", ingest.summary());
    let world = World::new("sink", None)?;
    let (sink, totals) = world.with_topic(PARTITIONS, |topic| {
        topic.fill(messages, None)?;
        sink::measure(&world, topic, 1)
    })?;
    eprintln!("{}", sink.summary());
    let results = Results { rows, ingest, sink };
    println!("{}", results.table(&totals));
    leave("results.json", &(serde_json::to_string_pretty(&results)? + "\n"))?;
    leave("chart.svg", &results.chart())?;
    totals.judge(messages)
}

impl Results {
    fn table(&self, totals: &Totals) -> Table {
        let Self { rows, ingest, sink } = self;
        let per_second = |rate: f64| HumanCount(rate as u64).to_string();
        let whole = format!(
            "the whole sink, {} messages, {} partitions",
            HumanCount(sink.messages),
            sink.partitions
        );
        let rows = [
            ("decode", "CPU µs per message", format!("{:.2}", rows.decode_nanoseconds / 1000.0)),
            ("encode", "CPU µs per message", format!("{:.2}", rows.encode_nanoseconds / 1000.0)),
            (&whole, "CPU s per million", format!("{:.2}", sink.cpu_seconds_per_million)),
            ("", "messages/s", per_second(sink.messages_per_second)),
            ("", "peak resident memory", HumanBytes(sink.peak_rss_bytes).to_string()),
            ("", "objects", sink.objects.to_string()),
            ("", "mean size", HumanBytes(sink.object_bytes / sink.objects.max(1)).to_string()),
            ("", "lost, duplicated", format!("{}, {}", totals.lost, totals.duplicated)),
            ("ingestor", "CPU µs per user", format!("{:.2}", ingest.cpu_microseconds_per_user)),
            ("", "users/s", per_second(ingest.users_per_second)),
            ("", "peak resident memory", HumanBytes(ingest.peak_rss_bytes).to_string()),
        ]
        .map(|(what, unit, figure)| [what.to_owned(), unit.to_owned(), figure]);
        table(2, ["what", "unit", "figure"], rows)
    }

    fn chart(&self) -> String {
        let Self { rows, ingest, sink } = self;
        chart::bars(
            "CPU time, µs per message",
            &[
                ("decode", rows.decode_nanoseconds / 1000.0),
                ("encode", rows.encode_nanoseconds / 1000.0),
                // Seconds per million are microseconds for one.
                ("the whole sink, Kafka to S3", sink.cpu_seconds_per_million),
                ("the ingestor, API to Kafka", ingest.cpu_microseconds_per_user),
            ],
        )
    }
}
