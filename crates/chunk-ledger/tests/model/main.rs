//! An exhaustive search through every world that two sinks can get into over one partition: any
//! order of steps, crashes at any point, owners that do not know that they lost the partition,
//! PUTs and commits that arrive late or whose answers are lost.
//!
//! The ledger in it is the real one. What is modelled is the `world` around it, the `rules` that it
//! follows, the `runtime` that obeys the ledger, and the `steps` of both; `properties` must hold.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod properties;
mod rules;
mod runtime;
mod steps;
mod world;

use std::collections::BTreeSet;
use std::io::Write;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::properties::{
    COMMIT_FOLLOWS_STORE, K1_AFTER_THE_STORE, K1_BEFORE_THE_STORE, NO_LOSS, NO_OVERLAP,
    NO_OVERLAP_BUT_K1, OBJECTS_NEVER_CHANGE,
};
use crate::rules::{Group, Rules, Runtime, Store};

/// Offsets and days: offset 2 is missing, and a day ends.
const LONG_LOG: &[(i64, i64)] = &[(0, 0), (1, 0), (3, 0), (4, 1)];
/// Offset 1 is missing, and a day ends.
const SHORT_LOG: &[(i64, i64)] = &[(0, 0), (2, 0), (3, 1)];
/// As before, but for a message that is a day late.
const LOG_WITH_LATE_DATA: &[(i64, i64)] = &[(0, 1), (2, 0), (3, 2)];
/// A message a day.
const SHORTEST_LOG: &[(i64, i64)] = &[(0, 0), (2, 1)];

// The true protocol. Each search is complete within its bounds, and the bounds of all of them
// together are chosen for a minute on two cores.

#[test]
fn two_owners_and_a_lost_answer() {
    assert_holds("two owners, a lost answer", within(LONG_LOG, 2, 1, 0), 1_850_000);
}

#[test]
fn two_owners_and_a_lost_commit() {
    assert_holds("two owners, a lost commit", within(LONG_LOG, 2, 0, 1), 1_180_000);
}

#[test]
fn two_owners_and_every_loss() {
    let rules = Rules { with_examples: true, ..within(SHORT_LOG, 2, 1, 1) };
    assert_holds("two owners, every loss", rules, 1_170_000);
}

#[test]
fn three_owners_and_late_data() {
    assert_holds("three owners, late data", within(LOG_WITH_LATE_DATA, 3, 0, 0), 1_780_000);
}

#[test]
fn three_owners_and_every_loss() {
    assert_holds("three owners, every loss", within(SHORTEST_LOG, 3, 1, 1), 3_680_000);
}

#[test]
fn four_owners() {
    assert_holds("four owners", within(SHORTEST_LOG, 4, 0, 0), 2_100_000);
}

#[test]
fn two_owners_and_lost_uploads() {
    let rules = Rules { lost_uploads_max: 2, ..within(SHORT_LOG, 2, 0, 0) };
    assert_holds("two owners, lost uploads", rules, 820_000);
}

#[test]
fn three_owners_and_a_lost_upload() {
    let rules = Rules { lost_uploads_max: 1, ..within(SHORTEST_LOG, 3, 0, 0) };
    assert_holds("three owners, a lost upload", rules, 748_000);
}

#[test]
#[ignore = "takes minutes; for changes of the protocol"]
fn wider_bounds() {
    assert_holds("wider: every loss", within(LONG_LOG, 2, 1, 1), 10_100_000);
    assert_holds("wider: three owners, a lost answer", within(SHORT_LOG, 3, 1, 0), 10_000_000);
    assert_holds("wider: three owners, a lost commit", within(SHORT_LOG, 3, 0, 1), 9_000_000);
    let checker = search("wider: retention", with_retention(within(SHORT_LOG, 3, 0, 0)));
    assert_eq!(broken_invariants(&checker), [NO_OVERLAP]);
    let checker = search("wider: all", with_retention(within(SHORTEST_LOG, 3, 1, 1)));
    assert_eq!(broken_invariants(&checker), [NO_OVERLAP]);
}

// With retention.

#[test]
fn retention_allows_k1_and_nothing_else() {
    let checker = search("retention", with_retention(within(SHORT_LOG, 2, 0, 1)));
    assert_eq!(broken_invariants(&checker), [NO_OVERLAP]);
    checker.assert_any_discovery(K1_AFTER_THE_STORE);
    checker.assert_any_discovery(K1_BEFORE_THE_STORE);
}

#[test]
fn retention_and_three_owners_allow_k1_and_nothing_else() {
    let checker = search("retention, three owners", with_retention(within(SHORTEST_LOG, 3, 0, 1)));
    assert_eq!(broken_invariants(&checker), [NO_OVERLAP]);
}

#[test]
fn k1_has_a_counterexample() {
    assert_caught(with_retention(within(SHORT_LOG, 2, 0, 0)), &[NO_OVERLAP]);
}

#[test]
fn k1_is_not_all_that_retention_does_where_commits_are_not_fenced() {
    // Two owners that each find no commit may commit, and store from, two starts of the log.
    let rules = Rules { group: Group::Unfenced, ..with_retention(within(SHORT_LOG, 2, 0, 0)) };
    assert_caught(rules, &[NO_LOSS, NO_OVERLAP_BUT_K1, COMMIT_FOLLOWS_STORE]);
}

// Broken protocols. With the true rule put back, each of these tests fails.

#[test]
fn an_unconditional_put_is_caught() {
    let rules = Rules { store: Store::Unconditional, ..within(SHORT_LOG, 2, 0, 0) };
    assert_caught(rules, &[NO_LOSS, NO_OVERLAP, OBJECTS_NEVER_CHANGE]);
}

#[test]
fn a_commit_before_the_store_is_caught() {
    let rules = Rules { runtime: Runtime::CommitsBeforeStore, ..within(SHORT_LOG, 2, 0, 0) };
    assert_caught(rules, &[NO_LOSS, COMMIT_FOLLOWS_STORE]);
}

#[test]
fn a_conflict_taken_for_a_success_is_caught() {
    let rules = Rules { runtime: Runtime::IgnoresConflicts, ..within(SHORT_LOG, 2, 0, 0) };
    assert_caught(rules, &[NO_LOSS]);
}

#[test]
fn a_lost_upload_taken_for_a_success_is_caught() {
    let runtime = Runtime::IgnoresLosses;
    let rules = Rules { runtime, lost_uploads_max: 1, ..within(SHORT_LOG, 2, 0, 0) };
    assert_caught(rules, &[NO_LOSS, COMMIT_FOLLOWS_STORE]);
}

/// The true protocol over `log`, with this many assignments, lost answers and lost commits.
fn within(log: &[(i64, i64)], assignments: u8, lost_answers: u8, lost_commits: u8) -> Rules {
    Rules {
        assignments_max: assignments,
        lost_answers_max: lost_answers,
        lost_commits_max: lost_commits,
        ..Rules::new(world::log(log))
    }
}

/// Adds retention, which may remove all messages but the last, in a group that fences.
fn with_retention(rules: Rules) -> Rules {
    Rules { group: Group::Fenced, removed_max: rules.log.len() - 1, ..rules }
}

/// Searches everything, and asserts that all properties hold and that the search was no smaller
/// than it was meant to be.
fn assert_holds(name: &str, rules: Rules, worlds_min: usize) {
    let checker = search(name, rules);
    checker.assert_properties();
    let worlds = checker.unique_state_count();
    assert!(worlds >= worlds_min, "{name}: {worlds} worlds are fewer than {worlds_min}");
}

fn search(name: &str, rules: Rules) -> impl Checker<Rules> {
    let checker = rules.checker().threads(2).spawn_dfs().join();
    // Past the capture of the test runner: how much was searched is part of the result.
    let mut terminal = std::io::stderr();
    writeln!(
        terminal,
        "model, {name}: states={} unique={} depth={}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth()
    )
    .unwrap();
    checker
}

/// Searches for a world that breaks each of `properties`, and prints the way there.
fn assert_caught(rules: Rules, properties: &[&'static str]) {
    let all = HasDiscoveries::AllOf(BTreeSet::from_iter(properties.iter().copied()));
    let checker = rules.checker().finish_when(all).threads(2).spawn_bfs().join();
    for property in properties {
        println!("broken: {property}: {}", checker.assert_any_discovery(property));
    }
}

/// The invariants that have a counterexample.
fn broken_invariants(checker: &impl Checker<Rules>) -> Vec<&'static str> {
    let properties = checker.model().properties().into_iter();
    properties
        .filter(|property| property.expectation == Expectation::Always)
        .filter(|property| checker.discovery(property.name).is_some())
        .map(|property| property.name)
        .collect()
}
