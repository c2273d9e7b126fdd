//! Start: how long does a sink take from exec until `/readyz` says 200, and where does that time go?
//!
//! The brokers have a part in it that no sink can shorten, and it differs with the group. So the steps of
//! each start are measured apart, and `ready_after_assigned` is what the sink adds once it has been told
//! its partitions.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use e2e_tests::process::{PATIENCE, Process};
use serde::Serialize;
use serde_json::Value;

use crate::world::World;

const PARTITIONS: i32 = 6;
/// How often a start is looked at; no figure is finer.
const INTERVAL: Duration = Duration::from_millis(5);
/// librdkafka's `heartbeat.interval.ms`: members learn by a heartbeat that another one wants to join.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// The last step, which the log does not tell.
const READY: &str = "ready";
const ASSIGNED: &str = "assigned";
/// The steps before, and how their lines in the log begin.
const LOGGED: [(&str, &str); 5] = [
    ("listening", "admin server listens"),
    // However the probe of its conditional writes went.
    ("store_probed", "the store "),
    ("joining", "joining the consumer group"),
    (ASSIGNED, "partitions assigned"),
    ("begun", "partition begins"),
];

/// What the sink finds when it joins.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A group without members. The brokers wait for more of them during
    /// `group.initial.rebalance.delay.ms`, 3 s by default and 0.5 s in `deploy/kafka`.
    NewGroup,
    /// A group of one other sink. The brokers wait for that one's next heartbeat, and partitions come
    /// once it has let go of them; `/readyz` may say 200 before.
    SecondMember,
    /// Its own place in the group (`KAFKA_STATIC_MEMBERSHIP`). The brokers answer at once.
    StaticMember,
}

/// The starts of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which.
    pub kind: Kind,
    /// Number of starts.
    pub samples: usize,
    /// From exec until each step was seen, in their order.
    pub steps: Vec<Step>,
    /// From the log's line of assigned partitions until `/readyz` says 200.
    pub ready_after_assigned: Spread,
}

/// When a step of the start was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Its name.
    pub step: &'static str,
    /// Since exec.
    #[serde(flatten)]
    pub since_exec: Spread,
}

/// What several starts took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Half of them took no longer.
    pub median_milliseconds: f64,
    /// The longest.
    pub max_milliseconds: f64,
}

/// Time from exec until each step, by its name.
type Start = BTreeMap<&'static str, Duration>;

/// Starts so many sinks of this kind, one after the other, on a topic of their own.
pub fn run(kind: Kind, samples: usize) -> Result<Report> {
    let world = World::new("start", None)?;
    let starts = world.with_topic(PARTITIONS, |_| match kind {
        Kind::NewGroup => new_groups(&world, samples),
        Kind::SecondMember => second_members(&world, samples),
        Kind::StaticMember => static_members(&world, samples),
    })?;
    Ok(Report::new(kind, &starts))
}

fn new_groups(world: &World, samples: usize) -> Result<Vec<Start>> {
    let start = |_| observe(&World::new("start", Some(world.topic_name()))?);
    (0..samples).map(start).collect()
}

fn second_members(world: &World, samples: usize) -> Result<Vec<Start>> {
    let mut first = world.start("s3-sink", &["run"], "first")?;
    let start = |number| {
        // The one before has left, and its partitions have come back.
        first.wait_for_metric("s3_sink_partitions_assigned", f64::from(PARTITIONS))?;
        // That was at a heartbeat, where starts are to come at all moments between two.
        std::thread::sleep(HEARTBEAT.mul_f64(number as f64 / samples as f64));
        observe(world)
    };
    let starts = (0..samples).map(start).collect::<Result<_>>()?;
    first.leave()?;
    Ok(starts)
}

fn static_members(world: &World, samples: usize) -> Result<Vec<Start>> {
    let world =
        World::new("start", Some(world.topic_name()))?.with("KAFKA_STATIC_MEMBERSHIP", "true");
    // This one founds the group, in which its place stays when it ends.
    observe(&world)?;
    (0..samples).map(|_| observe(&world)).collect()
}

/// Starts a sink, watches it until it has come to every step, and lets it leave.
fn observe(world: &World) -> Result<Start> {
    let begun = Instant::now();
    let mut sink = world.start("s3-sink", &["run"], "sink")?;
    let mut start = Start::new();
    while steps().any(|step| !start.contains_key(step)) {
        if !sink.is_running()? || begun.elapsed() >= PATIENCE {
            let seen: Vec<_> = start.into_keys().collect();
            bail!("of its start the sink has only come to {seen:?}\n{}", sink.tail());
        }
        std::thread::sleep(INTERVAL);
        look(&sink, begun, &mut start)?;
    }
    sink.leave()?;
    Ok(start)
}

/// Notes the steps that are new since the last look.
fn look(sink: &Process, begun: Instant, start: &mut Start) -> Result<()> {
    let log = sink.log()?;
    // The last line may be half written.
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages: Vec<_> =
        lines.filter_map(|line| line["message"].as_str().map(str::to_owned)).collect();
    for (step, opening) in LOGGED {
        if messages.iter().any(|message| message.starts_with(opening)) {
            start.entry(step).or_insert_with(|| begun.elapsed());
        }
    }
    if !start.contains_key(READY) && sink.get("/readyz")?.is_some() {
        start.insert(READY, begun.elapsed());
    }
    Ok(())
}

/// The names of all steps, in their order.
fn steps() -> impl Iterator<Item = &'static str> {
    LOGGED.iter().map(|(step, _)| *step).chain([READY])
}

impl Report {
    fn new(kind: Kind, starts: &[Start]) -> Self {
        let step = |step| {
            let since_exec = Spread::of(starts.iter().map(|start| start[step]));
            Step { step, since_exec }
        };
        let after = |start: &Start| start[READY].saturating_sub(start[ASSIGNED]);
        Self {
            kind,
            samples: starts.len(),
            steps: steps().map(step).collect(),
            ready_after_assigned: Spread::of(starts.iter().map(after)),
        }
    }

    /// For people.
    pub fn summary(&self) -> String {
        let Self { kind, samples, steps, ready_after_assigned } = self;
        let steps: Vec<_> =
            steps.iter().map(|Step { step, since_exec }| format!("{step} {since_exec}")).collect();
        format!(
            "{}, {samples} starts, median and longest from exec: {}; from assigned to ready \
             {ready_after_assigned}",
            kind.words(),
            steps.join(", ")
        )
    }
}

impl Kind {
    /// In the order in which `bench start` measures them.
    pub const ALL: [Self; 3] = [Self::NewGroup, Self::SecondMember, Self::StaticMember];

    fn words(self) -> &'static str {
        match self {
            Self::NewGroup => "a new group",
            Self::SecondMember => "beside another member",
            Self::StaticMember => "a static member that comes back",
        }
    }
}

impl Spread {
    fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<_> = times.map(|time| time.as_micros() as f64 / 1000.0).collect();
        times.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| times.get(index).copied().unwrap_or(f64::NAN);
        Self {
            median_milliseconds: at((times.len().saturating_sub(1)) / 2),
            max_milliseconds: at(times.len().saturating_sub(1)),
        }
    }
}

impl Display for Spread {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.0} ({:.0}) ms", self.median_milliseconds, self.max_milliseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(ready: u64) -> Start {
        let at = |(index, step)| (step, Duration::from_millis(10 * index as u64));
        let mut start: Start = steps().enumerate().map(at).collect();
        start.insert(READY, Duration::from_millis(ready));
        start
    }

    #[test]
    fn half_of_the_starts_take_no_longer_than_the_median() {
        let spread = |times: &[u64]| {
            let spread = Spread::of(times.iter().copied().map(Duration::from_millis));
            (spread.median_milliseconds, spread.max_milliseconds)
        };
        assert_eq!(spread(&[30, 10, 20]), (20.0, 30.0));
        assert_eq!(spread(&[40, 10, 20, 30]), (20.0, 40.0));
        assert_eq!(spread(&[7]), (7.0, 7.0));
    }

    #[test]
    fn a_report_has_every_step_in_its_order() {
        let report = Report::new(Kind::NewGroup, &[start(500), start(700), start(600)]);
        let names: Vec<_> = report.steps.iter().map(|step| step.step).collect();
        assert_eq!(names, ["listening", "store_probed", "joining", "assigned", "begun", "ready"]);
        // Partitions were assigned at 30 ms.
        assert_eq!(report.ready_after_assigned.median_milliseconds, 570.0);
        assert_eq!(report.ready_after_assigned.max_milliseconds, 670.0);
    }
}
