//! An exhaustive search through every world that two sinks can get into over one partition: any
//! order of steps, crashes at any point, owners that were revoked without noticing, PUTs and
//! commits that arrive late or whose answers are lost.
//!
//! The ledger in it is the real one. What is modelled is the world around it (`world`), what may
//! happen and the runtime that obeys the ledger (`steps`), and what must hold (`properties`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod properties;
mod steps;
mod world;

use std::collections::BTreeSet;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::properties::{
    COMMIT_FOLLOWS_STORE, K1_AFTER_THE_STORE, K1_BEFORE_THE_STORE, NO_LOSS, NO_OVERLAP,
    NO_OVERLAP_BUT_K1, OBJECTS_NEVER_CHANGE,
};
use crate::steps::{Group, Rules, Runtime, Store};

/// Offsets and days: offset 2 is missing, and a day ends.
const LONG_LOG: &[(i64, i64)] = &[(0, 0), (1, 0), (3, 0), (4, 1)];
/// Offset 1 is missing, and a day ends.
const SHORT_LOG: &[(i64, i64)] = &[(0, 0), (2, 0), (3, 1)];
/// As before, but for a message that is a day late.
const LOG_WITH_LATE_DATA: &[(i64, i64)] = &[(0, 1), (2, 0), (3, 2)];
/// A message a day.
const SHORTEST_LOG: &[(i64, i64)] = &[(0, 0), (2, 1)];

// The true protocol. Each search is complete within its bounds; what one of them can't afford,
// another one has.

#[test]
fn two_owners_and_every_loss() {
    let rules = Rules { assignments_max: 2, ..rules(LONG_LOG) };
    assert_holds("two owners, every loss", rules, 1_000_000);
}

#[test]
fn three_owners_and_late_data() {
    let rules = Rules { lost_answers_max: 0, lost_commits_max: 0, ..rules(LOG_WITH_LATE_DATA) };
    assert_holds("three owners, late data", rules, 1_000);
}

#[test]
fn three_owners_and_every_loss() {
    assert_holds("three owners, every loss", rules(SHORTEST_LOG), 1_000);
}

#[test]
fn four_owners() {
    let rules = Rules {
        assignments_max: 4,
        lost_answers_max: 0,
        lost_commits_max: 0,
        ..rules(SHORTEST_LOG)
    };
    assert_holds("four owners", rules, 1_000);
}

#[test]
fn there_are_examples_of_all_that_the_protocol_is_made_for() {
    let rules = Rules { assignments_max: 2, with_examples: true, ..rules(SHORT_LOG) };
    assert_holds("with examples", rules, 1_000);
}

// With retention.

#[test]
fn retention_allows_k1_and_nothing_else() {
    let rules = Rules { assignments_max: 2, lost_answers_max: 0, ..with_retention() };
    let checker = search("retention", rules);
    let broken = broken_invariants(&checker);
    assert_eq!(broken, [NO_OVERLAP]);
    checker.assert_any_discovery(K1_AFTER_THE_STORE);
    checker.assert_any_discovery(K1_BEFORE_THE_STORE);
}

#[test]
fn k1_has_a_counterexample() {
    assert_caught(&with_retention(), &[NO_OVERLAP]);
}

#[test]
fn without_fencing_retention_does_more_harm() {
    // Two owners that each believe to be the first may commit two different starts of the log.
    let rules = Rules { group: Group::Unfenced, ..with_retention() };
    assert_caught(&rules, &[NO_LOSS, NO_OVERLAP_BUT_K1, COMMIT_FOLLOWS_STORE]);
}

/// Retention may remove all messages but the last. Kafka fences commits by the group's generation,
/// and for the first commit of a group that is needed.
fn with_retention() -> Rules {
    Rules { group: Group::Fenced, removed_max: 2, ..rules(SHORT_LOG) }
}

// Broken protocols: with the true rule put back, each of these tests fails.

#[test]
fn an_unconditional_put_is_caught() {
    let rules = Rules { store: Store::Unconditional, ..rules(SHORT_LOG) };
    assert_caught(&rules, &[NO_LOSS, NO_OVERLAP, OBJECTS_NEVER_CHANGE]);
}

#[test]
fn a_commit_before_the_store_is_caught() {
    let rules = Rules { runtime: Runtime::CommitsBeforeStore, ..rules(SHORT_LOG) };
    assert_caught(&rules, &[NO_LOSS, COMMIT_FOLLOWS_STORE]);
}

#[test]
fn a_conflict_taken_for_a_success_is_caught() {
    let rules = Rules { runtime: Runtime::IgnoresConflicts, ..rules(SHORT_LOG) };
    assert_caught(&rules, &[NO_LOSS]);
}

#[test]
fn an_answer_given_to_the_next_assignment_is_caught() {
    let rules = Rules { runtime: Runtime::MixesAssignments, ..rules(SHORT_LOG) };
    assert_caught(&rules, &[NO_LOSS, COMMIT_FOLLOWS_STORE]);
}

fn rules(log: &[(i64, i64)]) -> Rules {
    Rules::new(world::log(log))
}

/// Searches everything, and asserts that all properties hold and that the search was no smaller
/// than it was meant to be.
fn assert_holds(name: &str, rules: Rules, worlds_min: usize) {
    let checker = search(name, rules);
    checker.assert_properties();
    let worlds = checker.unique_state_count();
    assert!(worlds >= worlds_min, "{name}: only {worlds} worlds");
}

fn search(name: &str, rules: Rules) -> impl Checker<Rules> {
    let checker = rules.checker().threads(2).spawn_dfs().join();
    println!(
        "{name}: states={} unique={} depth={}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker
}

/// Searches the shortest ways to break each of `properties`, and prints them.
fn assert_caught(rules: &Rules, properties: &[&'static str]) {
    for &property in properties {
        let found = HasDiscoveries::AllOf(BTreeSet::from([property]));
        // One thread, so that the first counterexample is the shortest.
        let checker = rules.clone().checker().finish_when(found).spawn_bfs().join();
        let path = checker.assert_any_discovery(property);
        println!("{property}: {path}");
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
