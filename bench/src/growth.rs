//! Growth: what becomes of the sink's CPU time and memory with more processes, partitions, bytes in a
//! message, and messages in the backlog? Each curve changes one of the four. The others stay as they
//! are at the origin, which is measured once and is a point of every curve.

use anyhow::Result;
use comfy_table::Table;
use indicatif::{DecimalBytes, HumanBytes, HumanCount};
use serde::Serialize;

use crate::chart::bars;
use crate::output::{leave, table};
use crate::sink;
use crate::world::World;

/// Numbers of processes; the first is the origin's.
const PROCESSES: [usize; 3] = [1, 2, 4];
const PARTITIONS: i32 = 6;
const PARTITIONS_CURVE: [i32; 4] = [1, PARTITIONS, 60, 300];
/// Beside the size of the ingestor's messages, some 245. None is shorter than the first.
const MESSAGE_BYTES_CURVE: [Option<usize>; 4] = [Some(120), None, Some(1000), Some(10_000)];
/// Times the messages of the origin.
const BACKLOG_CURVE: [u64; 3] = [1, 5, 20];
/// A backlog is stored by size. By the default of a minute the longer runs alone would store by age as
/// well, and their curve would compare two things.
const CHUNK_AGE: &str = "1h";

/// What points of a curve differ in.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Axis {
    Processes,
    Partitions,
    MessageBytes,
    Messages,
}

/// Points that differ in one thing.
#[derive(Debug, Serialize)]
struct Curve {
    axis: Axis,
    points: Vec<Point>,
}

/// What is on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Load {
    messages: u64,
    partitions: i32,
    /// Of one message; `None` for those of the ingestor.
    message_bytes: Option<usize>,
}

/// One run over a load.
#[derive(Debug, Clone, Serialize)]
struct Point {
    /// All messages as the producer was given them, uncompressed.
    payload_bytes: u64,
    /// User and system time of all processes, for each 10⁹ bytes of payload.
    cpu_seconds_per_gb: f64,
    #[serde(flatten)]
    sink: sink::Report,
}

/// Measures every point, with so many messages at the origin; prints a table, and leaves `growth.json`,
/// `growth-cpu.svg` and `growth-memory.svg` in target/bench. Fails at the first point whose messages
/// are not all stored exactly once.
pub fn run(messages: u64) -> Result<()> {
    let curves = measure(messages)?;
    println!("{}", tabulate(&curves));
    let cpu = chart("CPU time, s per GB of payload", &curves, |point| point.cpu_seconds_per_gb);
    let memory = chart("most memory of a process, MiB", &curves, |point| {
        point.sink.peak_rss_bytes as f64 / f64::from(1 << 20)
    });
    leave("growth.json", &(serde_json::to_string_pretty(&curves)? + "\n"))?;
    leave("growth-cpu.svg", &cpu)?;
    leave("growth-memory.svg", &memory)
}

fn measure(messages: u64) -> Result<[Curve; 4]> {
    let usual = Load { messages, partitions: PARTITIONS, message_bytes: None };
    let processes = Curve { axis: Axis::Processes, points: measure_load(usual, &PROCESSES)? };
    let origin = &processes.points[0];
    let curve = |axis, loads: Vec<Load>| {
        let mut points = Vec::new();
        for load in loads {
            if load == usual {
                points.push(origin.clone());
            } else {
                points.extend(measure_load(load, &PROCESSES[..1])?);
            }
        }
        anyhow::Ok(Curve { axis, points })
    };
    // As many bytes in all as at the origin, as far as whole messages allow.
    let count = |bytes: usize| (origin.payload_bytes / bytes as u64).max(1);
    let with_bytes = |message_bytes: Option<usize>| Load {
        messages: message_bytes.map_or(messages, count),
        message_bytes,
        ..usual
    };
    let with_partitions = |partitions| Load { partitions, ..usual };
    let times = |times| Load { messages: times * messages, ..usual };
    let partitions = curve(Axis::Partitions, PARTITIONS_CURVE.map(with_partitions).into())?;
    let message_bytes = curve(Axis::MessageBytes, MESSAGE_BYTES_CURVE.map(with_bytes).into())?;
    let backlog = curve(Axis::Messages, BACKLOG_CURVE.map(times).into())?;
    Ok([processes, partitions, message_bytes, backlog])
}

/// Makes a topic of this load, lets one consumer group after the other take it, each of so many
/// processes, and deletes it.
fn measure_load(load: Load, processes: &[usize]) -> Result<Vec<Point>> {
    let world = World::new("growth", None)?;
    world.with_topic(load.partitions, |topic| {
        let payload_bytes = topic.fill(load.messages, load.message_bytes)?;
        let measure = |processes| {
            let world = World::new("growth", Some(world.topic_name()))?
                .with_default("CHUNK_AGE_SECONDS_MAX", CHUNK_AGE);
            let (sink, totals) = sink::measure(&world, topic, processes)?;
            let point = Point::new(payload_bytes, sink);
            eprintln!("{}", point.summary());
            totals.judge(load.messages)?;
            Ok(point)
        };
        processes.iter().copied().map(measure).collect()
    })
}

impl Point {
    fn new(payload_bytes: u64, sink: sink::Report) -> Self {
        let cpu_seconds = sink.cpu_seconds_per_million * sink.messages as f64 / 1e6;
        Self { payload_bytes, cpu_seconds_per_gb: cpu_seconds * 1e9 / payload_bytes as f64, sink }
    }

    /// Mean of a message's payload.
    fn message_bytes(&self) -> u64 {
        self.payload_bytes / self.sink.messages.max(1)
    }

    /// For people.
    fn summary(&self) -> String {
        format!(
            "{}; processes: {}, payload: {} ({} B a message), {:.2} CPU seconds per GB",
            self.sink.summary(),
            self.sink.processes,
            DecimalBytes(self.payload_bytes),
            self.message_bytes(),
            self.cpu_seconds_per_gb,
        )
    }

    fn cells(&self) -> [String; 10] {
        let Self { payload_bytes, cpu_seconds_per_gb, sink } = self;
        [
            HumanCount(sink.messages).to_string(),
            HumanCount(self.message_bytes()).to_string(),
            DecimalBytes(*payload_bytes).to_string(),
            sink.partitions.to_string(),
            sink.processes.to_string(),
            format!("{:.2}", sink.cpu_seconds_per_million),
            format!("{cpu_seconds_per_gb:.2}"),
            HumanCount(sink.messages_per_second as u64).to_string(),
            HumanBytes(sink.peak_rss_bytes).to_string(),
            format!("{}, {}", sink.lost, sink.duplicated),
        ]
    }
}

impl Axis {
    /// Where a point is on it.
    fn place(self, point: &Point) -> String {
        match self {
            Self::Processes => format!("processes: {}", point.sink.processes),
            Self::Partitions => format!("partitions: {}", point.sink.partitions),
            Self::MessageBytes => format!("bytes a message: {}", HumanCount(point.message_bytes())),
            Self::Messages => format!("messages: {}", HumanCount(point.sink.messages)),
        }
    }
}

/// Every point of every curve.
fn points(curves: &[Curve]) -> impl Iterator<Item = (Axis, &Point)> {
    curves.iter().flat_map(|curve| curve.points.iter().map(|point| (curve.axis, point)))
}

fn tabulate(curves: &[Curve]) -> Table {
    let header = [
        "messages",
        "B each",
        "payload",
        "partitions",
        "processes",
        "CPU s/million",
        "CPU s/GB",
        "messages/s",
        "peak RSS of one",
        "lost, duplicated",
    ];
    table(0, header, points(curves).map(|(_, point)| point.cells()))
}

fn chart(title: &str, curves: &[Curve], figure: impl Fn(&Point) -> f64) -> String {
    let named: Vec<_> =
        points(curves).map(|(axis, point)| (axis.place(point), figure(point))).collect();
    let named: Vec<_> = named.iter().map(|(name, figure)| (name.as_str(), *figure)).collect();
    bars(title, &named)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn point() -> Point {
        let sink = sink::Report {
            name: "s3-sink".to_owned(),
            messages: 2_000_000,
            partitions: 6,
            processes: 2,
            cpu_seconds_per_million: 1.5,
            messages_per_second: 400_000.0,
            peak_rss_bytes: 100 << 20,
            objects: 6,
            object_bytes: 60 << 20,
            rows: 2_000_000,
            lost: 0,
            duplicated: 0,
        };
        Point::new(500_000_000, sink)
    }

    #[test]
    fn cpu_time_is_that_of_all_messages_over_all_bytes() {
        // Three seconds for half a GB.
        assert!((point().cpu_seconds_per_gb - 6.0).abs() < 1e-9);
        assert_eq!(point().message_bytes(), 250);
    }

    #[test]
    fn a_file_has_the_fields_of_the_sinks_report_beside_those_of_a_point() {
        let curve = Curve { axis: Axis::MessageBytes, points: vec![point()] };
        let json = serde_json::to_value([curve]).unwrap();
        assert_eq!(json[0]["axis"], "message_bytes");
        let point = &json[0]["points"][0];
        assert_eq!(
            (&point["payload_bytes"], &point["processes"]),
            (&500_000_000.into(), &2.into())
        );
    }
}
