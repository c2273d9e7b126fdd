#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::tests::{DAY, HOUR, World, cron, policy};
use super::*;

/// What may happen at any moment.
#[derive(Debug, Clone)]
enum Happening {
    Pass(u64),
    Jump(i64),
    Ended(Outcome),
    Asked,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..=2 * HOUR).prop_map(Happening::Pass),
        4 => (0..=90_u64).prop_map(Happening::Pass),
        2 => (-3 * DAY as i64..=3 * DAY as i64).prop_map(Happening::Jump),
        4 => prop::sample::select(&Outcome::ALL[..]).prop_map(Happening::Ended),
        1 => Just(Happening::Asked),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_one_run_at_a_time_and_one_run_a_tick(
        expression in prop::sample::select(&["* * * * *", "*/7 * * * *", "30 2 * * *"][..]),
        time_zone in prop::sample::select(&["UTC", "Europe/Berlin"][..]),
        happenings in prop::collection::vec(happening(), 1..80),
    ) {
        let mut world = World::new(policy(cron(expression, time_zone)), "2026-10-24T22:00:00Z");
        let (mut is_active, mut ticks) = (false, BTreeSet::new());
        for happening in happenings {
            match happening {
                Happening::Pass(seconds) => world.pass(seconds),
                Happening::Jump(seconds) => world.jump(seconds),
                Happening::Ended(outcome) => {
                    world.ended(outcome);
                    is_active = false;
                }
                Happening::Asked => {
                    prop_assert_eq!(world.scheduler.admit(), !is_active);
                    is_active = true;
                }
            }
            for decision in world.decide() {
                if let Decision::Begin(cause) = decision {
                    prop_assert!(!is_active, "{cause:?} beside another run");
                    is_active = true;
                    if let Cause::Tick(tick) = cause {
                        prop_assert!(ticks.insert(tick), "{tick} begins a second run");
                        let late = world.now.wall.duration_since(tick);
                        prop_assert!((0..=60).contains(&late.as_secs()), "{tick} is {late:?} late");
                    }
                }
            }
            let next = world.scheduler.next_tick();
            prop_assert!(next.is_some_and(|next| next > world.now.wall && !ticks.contains(&next)));
        }
    }
}
