//! Random runs of a sink whose partitions share one memory budget, over logs with missing offsets
//! and with time that runs backwards, past crashes, revocations, a rival, lost answers and late
//! PUTs. The invariants hold after every step; and once nothing goes wrong any more, every message
//! is stored and committed.
//!
//! A failure prints its smallest case and is kept in `main.regressions`, which is tried first.
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` set how many cases are tried, and which.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sink;

use std::collections::BTreeSet;
use std::time::Duration;

use chunk_ledger::{Limits, Mark, Offset, SealReason, Timestamp};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

use crate::sink::{End, Message, World};

const AGE_MAX: Duration = Duration::from_secs(60);
const MILLIS_PER_DAY: i64 = 86_400_000;

/// What happens next; the numbers choose the partition, modulo their count.
#[derive(Debug, Clone)]
enum Step {
    Deliver(usize, u8),
    Sleep(Duration),
    Seal(usize, SealReason),
    AnswerProbe(usize),
    /// A part of the open chunk sets off for the store; its size.
    SendPart(usize, u64),
    /// What is on its way to the store gets there.
    StoreParts(usize),
    /// The open chunk's upload is gone.
    LoseOpen(usize),
    EndPut(usize, End),
    EndCommit(usize, End),
    LatePut,
    Rival(usize, usize),
    Revoke(usize),
    Assign(usize),
    /// The partition goes, and comes back at once.
    Reassign(usize),
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reason = prop_oneof![Just(SealReason::Revoked), Just(SealReason::Shutdown)];
    let end = || prop_oneof![4 => Just(End::Answered), 1 => Just(End::AnswerLost), 1 => Just(End::Failed), 1 => Just(End::Lost)];
    let step = prop_oneof![
        30 => (any::<usize>(), 1..12_u8).prop_map(|(at, count)| Step::Deliver(at, count)),
        8 => (0..90_000_u64).prop_map(|millis| Step::Sleep(Duration::from_millis(millis))),
        3 => (any::<usize>(), reason).prop_map(|(at, reason)| Step::Seal(at, reason)),
        15 => any::<usize>().prop_map(Step::AnswerProbe),
        6 => (any::<usize>(), 1..60_u64).prop_map(|(at, bytes)| Step::SendPart(at, bytes)),
        6 => any::<usize>().prop_map(Step::StoreParts),
        1 => any::<usize>().prop_map(Step::LoseOpen),
        15 => (any::<usize>(), end()).prop_map(|(at, end)| Step::EndPut(at, end)),
        15 => (any::<usize>(), end()).prop_map(|(at, end)| Step::EndCommit(at, end)),
        5 => Just(Step::LatePut),
        4 => (any::<usize>(), 1..8_usize).prop_map(|(at, messages)| Step::Rival(at, messages)),
        3 => any::<usize>().prop_map(Step::Revoke),
        4 => any::<usize>().prop_map(Step::Assign),
        4 => any::<usize>().prop_map(Step::Reassign),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 0..200)
}

/// A log's start and its messages: now and then offsets are missing, and days change in both
/// directions.
fn log() -> impl Strategy<Value = (Offset, Vec<Message>)> {
    let missing = prop_oneof![5 => Just(0), 1 => 1..4_i64];
    let days = prop_oneof![12 => Just(0), 2 => Just(1), 1 => -2..3_i64];
    let message = (missing, days, 1..40_u64, prop::bool::weighted(0.1));
    let messages = prop::collection::vec(message, 0..40);
    (0..1_000_000_i64, messages).prop_map(|(log_start, messages)| {
        let (mut next, mut day) = (log_start, 20_000);
        let message = |(missing, days, bytes, is_rejected)| {
            let offset = next + missing;
            (next, day) = (offset + 1, day + days);
            let timestamp = Timestamp(day * MILLIS_PER_DAY + offset);
            let mark = Mark { offset: Offset(offset), timestamp };
            Message { mark, bytes, is_rejected }
        };
        (Offset(log_start), messages.into_iter().map(message).collect())
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let limit = || prop_oneof![1..200_u64, Just(u64::MAX)];
    (limit(), limit()).prop_map(|(bytes_max, rows_max)| Limits {
        bytes_max,
        rows_max,
        age_max: AGE_MAX,
    })
}

fn take(world: &mut World, step: &Step) {
    let at = |number: &usize| number % world.partitions();
    match step {
        Step::Deliver(number, count) => {
            let at = at(number);
            for _ in 0..*count {
                world.deliver(at);
                world.check();
            }
        }
        Step::Sleep(duration) => world.sleep(*duration),
        Step::Seal(number, reason) => world.seal(at(number), *reason),
        Step::AnswerProbe(number) => world.answer_probe(at(number)),
        Step::SendPart(number, bytes) => world.send_part(at(number), *bytes),
        Step::StoreParts(number) => world.store_parts(at(number)),
        Step::LoseOpen(number) => world.lose_open(at(number)),
        Step::EndPut(number, end) => world.end_put(at(number), *end),
        Step::EndCommit(number, end) => world.end_commit(at(number), *end),
        Step::LatePut => world.late_put(),
        Step::Rival(number, messages) => world.rival(at(number), *messages),
        Step::Revoke(number) => world.revoke(at(number)),
        Step::Assign(number) => world.assign(at(number)),
        Step::Reassign(number) => {
            let at = at(number);
            world.revoke(at);
            world.assign(at);
        }
        Step::Crash => world.crash(),
    }
    world.check();
}

/// Nothing goes wrong any more. Each round either brings a message or lets what is open age.
fn finish(world: &mut World) {
    for _ in 0..1_000 {
        for at in 0..world.partitions() {
            world.assign(at);
            while world.deliver(at) {}
            world.store_parts(at);
            world.answer_probe(at);
            world.end_put(at, End::Answered);
            world.end_commit(at, End::Answered);
            world.check();
        }
        if world.is_complete() {
            return;
        }
        world.sleep(AGE_MAX);
    }
    panic!("not complete after 1,000 rounds");
}

/// Some partitions, when they seal, their memory in bytes, and what happens to them.
type Case = (Vec<(Offset, Vec<Message>)>, Limits, u64, Vec<Step>);

fn cases() -> impl Strategy<Value = Case> {
    (prop::collection::vec(log(), 1..4), limits(), 1..300_u64, steps())
}

fn run((logs, limits, bytes_max, steps): Case) -> World {
    let mut world = World::new(logs, limits, bytes_max);
    for step in &steps {
        take(&mut world, step);
    }
    finish(&mut world);
    world
}

proptest! {
    #![proptest_config(ProptestConfig {
        // A case takes a third of a millisecond: eight times as many as usual, or as asked for.
        cases: 8 * ProptestConfig::default().cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_invariants_hold_and_every_message_gets_stored(case in cases()) {
        run(case);
    }
}

#[test]
fn the_runs_meet_all_that_the_protocol_is_made_for() {
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeSet::new();
    for _ in 0..1000 {
        let case = cases().new_tree(&mut runner).unwrap().current();
        met.extend(run(case).met());
    }
    let reasons = SealReason::ALL.map(SealReason::code);
    let others = [
        "adopted by a probe",
        "conflict",
        "conflict with oneself",
        "created",
        "late PUT",
        "open chunk lost",
        "upload lost",
        "own earlier try",
    ];
    assert_eq!(met, reasons.into_iter().chain(others).collect());
}
