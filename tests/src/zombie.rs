//! A sink that is paused while its PUT stands before the store's door, and wakes up when its
//! partition has long been another's.

use anyhow::{Result, ensure};
use local_stack::s3::Operation;

use crate::process::PATIENCE;
use crate::scenario::{ASSIGNED, Scenario};
use crate::{tally, wait_for};

/// The metric of how many rows a sink has stored.
pub const ROWS: &str = "s3_sink_rows_stored_total";

/// Lets a PUT arrive after the new owner's, on a topic of one partition with `messages`: it must be
/// refused, and afterwards both sinks store what `more` comes. The owner's settings make larger
/// chunks than the zombie's, which would overlap if it were let in.
pub fn late_put(
    scenario: &Scenario,
    settings_of_zombie: &[(&str, &str)],
    settings_of_owner: &[(&str, &str)],
    messages: u64,
    more: u64,
) -> Result<()> {
    scenario.hold(Operation::PutObject)?;
    scenario.produce_valid(1, 0, messages)?;
    let mut zombie = scenario.sink("zombie", settings_of_zombie)?;
    scenario.wait_held()?;
    zombie.pause()?;
    let mut owner = scenario.sink("owner", settings_of_owner)?;
    owner.wait_for_metric(ROWS, messages as f64)?;
    let_in_vain(scenario)?;
    zombie.resume()?;
    scenario.produce_valid(1, messages, more)?;
    owner.leave()?;
    zombie.leave()?;
    let rows = scenario.finish(|_| true)?.rows as u64;
    ensure!(rows == messages + more, "{rows} rows of {}", messages + more);
    Ok(())
}

/// Lets a PUT arrive late so many times, of whichever of two sinks has the only partition: it falls
/// asleep before the store's door, the other one stores, and it wakes up to a refusal. Each sink is a
/// zombie again and again, with all that it remembers; the two cut chunks of different sizes.
pub fn late_puts(scenario: &Scenario, settings: &[(&str, &str)], rounds: u64) -> Result<()> {
    const MESSAGES: u64 = 600;
    let sink = |label: &str, rows: &str| {
        scenario.sink(label, &[settings, &[("CHUNK_ROWS_MAX", rows)]].concat())
    };
    let mut sinks = [sink("sink-0", "200")?, sink("sink-1", "500")?];
    for round in 0..rounds {
        let is_first = wait_for("one owner of the partition", PATIENCE, || {
            let [first, second] = &sinks;
            Ok(match (first.metric(ASSIGNED)?, second.metric(ASSIGNED)?) {
                (Some(1.0), Some(0.0)) => Some(true),
                (Some(0.0), Some(1.0)) => Some(false),
                _ => None,
            })
        })?;
        scenario.hold(Operation::PutObject)?;
        scenario.produce_valid(1, round * MESSAGES, MESSAGES)?;
        scenario.wait_held()?;
        let [first, second] = &mut sinks;
        let (zombie, owner) = if is_first { (first, second) } else { (second, first) };
        zombie.pause()?;
        let stored = owner.value(ROWS)?;
        owner.wait_for_metric(ROWS, stored + MESSAGES as f64)?;
        let_in_vain(scenario)?;
        zombie.resume()?;
    }
    wait_for("each row to be stored by one of the two", PATIENCE, || {
        let stored = sinks.iter().map(|sink| sink.value(ROWS)).sum::<Result<f64>>()?;
        Ok((stored == (rounds * MESSAGES) as f64).then_some(()))
    })?;
    for sink in &mut sinks {
        sink.leave()?;
    }
    let rows = scenario.finish(|_| true)?.rows as u64;
    ensure!(rows == rounds * MESSAGES, "{rows} rows of {}", rounds * MESSAGES);
    Ok(())
}

/// Lets the held PUT in, and waits until the store has refused it.
fn let_in_vain(scenario: &Scenario) -> Result<()> {
    let before = scenario.puts_refused()?;
    scenario.s3()?.faults().release();
    wait_for("the zombie's PUT to be refused", PATIENCE, || {
        Ok((scenario.puts_refused()? > before).then_some(()))
    })?;
    tally::count("late PUT of a former owner refused (412)")
}
