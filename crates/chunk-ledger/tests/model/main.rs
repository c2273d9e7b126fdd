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

use stateright::{Checker, Model};
use steps::Rules;

#[test]
fn scratch() {
    let env = |n: &str, d: u8| std::env::var(n).map_or(d, |v| v.parse().unwrap());
    let mut rules = Rules::new(world::log(match env("L", 4) {
        2 => &[(0, 0), (2, 1)],
        3 => &[(0, 0), (2, 0), (3, 1)],
        _ => &[(0, 0), (1, 0), (3, 0), (4, 1)],
    }));
    rules.assignments_max = env("A", 3);
    rules.lost_answers_max = env("LA", 1);
    rules.lost_commits_max = env("LC", 1);
    rules.removed_max = env("R", 0) as usize;
    if env("F", 0) == 1 {
        rules.group = steps::Group::Fenced;
    }
    let t = std::time::Instant::now();
    let checker = rules.checker().threads(2).spawn_dfs().join();
    println!(
        "states={} unique={} depth={} in {:?}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        t.elapsed()
    );
    for p in checker.model().properties() {
        println!("{:?} {}: {}", p.expectation, p.name, checker.discovery(p.name).is_some());
    }
}
