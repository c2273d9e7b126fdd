//! Replays that are killed, frozen, overtaken and refused, on real brokers.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use pipectl::kafka::replayed_topic_of;
use rdkafka::consumer::BaseConsumer;

use super::{kafka, unused};
use crate::letters::{Found, NewLetter, PATIENCE, Topic};

const PARTITIONS: i32 = 3;
const LETTERS: i64 = 10_000;

/// A topic of this run alone, with its dead letters, each written once or twice; if there are
/// brokers.
fn topic(name: &str) -> Option<Topic> {
    let topic = Topic { servers: kafka()?, name: unused(name) };
    let ensured = topic.pipectl(&format!("topics ensure --partitions {PARTITIONS}"));
    assert_eq!(ensured.code, Some(0), "{ensured:?}");
    let letters: Vec<NewLetter> = (0..LETTERS)
        .map(|number| NewLetter::new(i32::try_from(number).unwrap() % PARTITIONS, number))
        .collect();
    topic.write(&letters);
    topic.write(&letters[..1_000]);
    Some(topic)
}

fn start(topic: &Topic) -> Child {
    Command::new(env!("CARGO_BIN_EXE_pipectl"))
        .args(["dead-letters", "replay", "--all"])
        .env_clear()
        .envs(topic.environment())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Knuth's linear congruence; its upper bits are good enough.
fn next_random(random: u64) -> u64 {
    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}

/// Waits until the topic and its record of replays have taken `offsets`, or the replay is over;
/// returns whether it goes on.
fn reaches(topic: &Topic, consumer: &BaseConsumer, child: &mut Child, offsets: i64) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while topic.offsets_taken(consumer, PARTITIONS) < offsets {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(Instant::now() < deadline, "{offsets} offsets were not taken in time");
    }
    true
}

/// Each letter is in the topic once, as it was.
fn assert_exactly_once(topic: &Topic) {
    let messages = topic.messages();
    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    for found in &messages {
        let from = found.header("replayed-from");
        let payload = String::from_utf8(found.payload.clone().unwrap()).unwrap();
        let origin = payload.strip_prefix("message ").unwrap();
        assert_eq!(from, format!("{}+{origin}", topic.name));
        *times.entry(from).or_default() += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert_eq!(twice, [], "sent more than once");
    assert_eq!(times.len(), usize::try_from(LETTERS).unwrap(), "some are lost");
    let listed = topic.pipectl("dead-letters list --limit 1 --json").json();
    assert_eq!(listed["totals"]["replayed"], LETTERS);
}

/// How many messages no reader of committed ones sees.
fn taken_back(topic: &Topic) -> usize {
    let all: Vec<Found> = topic.read(&topic.name, "read_uncommitted");
    all.len() - topic.messages().len()
}

#[test]
fn a_replay_that_is_killed_again_and_again_sends_each_letter_once() {
    let Some(topic) = topic("killed") else { return };
    let consumer = topic.consumer("read_uncommitted");
    let seed = std::env::var("PIPECTL_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("PIPECTL_TEST_SEED={seed}");
    let mut random = seed;
    let mut kills = 0;
    for _ in 0..12 {
        let mut child = start(&topic);
        random = next_random(random);
        // A batch takes as many offsets for messages and for markers, and then some for the commit.
        let further = 1 + i64::try_from((random >> 33) % 4_500).unwrap();
        let target = topic.offsets_taken(&consumer, PARTITIONS) + further;
        if reaches(&topic, &consumer, &mut child, target) {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
    }
    let run = topic.pipectl("dead-letters replay --all");
    assert_eq!(run.code, Some(0), "{run:?}");
    println!("{kills} kills, {} messages taken back, {}", taken_back(&topic), run.out.trim_end());
    assert!(kills >= 5, "the replay was over too early: {kills} kills");
    assert_exactly_once(&topic);
}

#[test]
fn a_replay_that_was_frozen_and_overtaken_sends_nothing_more() {
    let Some(topic) = topic("frozen") else { return };
    let consumer = topic.consumer("read_uncommitted");
    let mut frozen = start(&topic);
    assert!(reaches(&topic, &consumer, &mut frozen, 1_500), "it was over too early");
    signal(&frozen, "STOP");
    let second = topic.pipectl("dead-letters replay --all");
    assert_eq!(second.code, Some(0), "{second:?}");
    signal(&frozen, "CONT");
    let output = frozen.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("another replay of"), "{error}");
    assert_exactly_once(&topic);
}

#[test]
fn replays_that_begin_at_once_send_each_letter_once() {
    let Some(topic) = topic("rivals") else { return };
    let rivals: Vec<Child> = (0..4).map(|_| start(&topic)).collect();
    let (mut done, mut overtaken) = (0, 0);
    for rival in rivals {
        let output = rival.wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) => done += 1,
            Some(2) if error.contains("another replay of") => overtaken += 1,
            _ => panic!("{}: {error}", output.status),
        }
    }
    println!("{done} done, {overtaken} overtaken");
    // Nobody takes over from the last one.
    assert!(done >= 1);
    assert_exactly_once(&topic);
}

#[test]
fn a_record_with_holes_is_not_relied_on() {
    let Some(topic) = topic("holes") else { return };
    let some = topic.pipectl("dead-letters replay --offset 0..10");
    assert_eq!(some.code, Some(0), "{some:?}");
    topic.delete_before(&replayed_topic_of(&topic.name), 5);
    let run = topic.pipectl("dead-letters replay --all");
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert!(run.err.contains("can't tell what has been replayed"), "{}", run.err);
    assert_eq!(topic.messages().len(), 10, "nothing more is sent");
}

#[test]
fn a_replay_that_is_asked_to_leave_ends_between_batches() {
    let Some(topic) = topic("asked") else { return };
    let consumer = topic.consumer("read_uncommitted");
    let mut child = start(&topic);
    assert!(reaches(&topic, &consumer, &mut child, 1_500), "it was over too early");
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("note: interrupted; the same command sends the rest"), "{text}");
    assert_eq!(taken_back(&topic), 0, "nothing is left open either");
    assert_eq!(topic.pipectl("dead-letters replay --all").code, Some(0));
    assert_exactly_once(&topic);
}

#[test]
fn a_letter_that_the_topic_refuses_does_not_hold_the_others_up() {
    let Some(topic) = topic("refused") else { return };
    // The topic takes 1 MiB, its dead-letter topic 10, both of what is compressed: this can't be.
    let mut random = 1_u64;
    let noise = std::iter::repeat_with(|| {
        random = next_random(random);
        (random >> 56) as u8
    });
    let payload: Vec<u8> = noise.take(3 << 20).collect();
    topic.write(&[NewLetter::new(0, LETTERS).payload(payload)]);
    let run = topic.pipectl("dead-letters replay --all");
    assert_eq!(run.code, Some(1), "{run:?}");
    let refused = format!("not accepted: 0+{LETTERS}: ");
    assert!(run.out.lines().any(|line| line.starts_with(&refused)), "{}", run.out);
    let summary = format!(
        "replay: {LETTERS} dead letters sent to {}, 0 sent before, 1 not accepted",
        topic.name
    );
    assert_eq!(run.out.lines().last(), Some(summary.as_str()));
    assert_exactly_once(&topic);
}
