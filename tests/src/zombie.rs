//! A sink that is paused while its PUT stands before the store's door, and wakes up when its
//! partition has long been another's.

use anyhow::{Result, ensure};
use local_stack::s3::Operation;

use crate::process::PATIENCE;
use crate::scenario::Scenario;
use crate::wait_for;

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
    owner.wait_for_metric("s3_sink_rows_stored_total", messages as f64)?;
    let before = scenario.puts_refused()?;
    scenario.s3()?.faults().release();
    wait_for("the zombie's PUT to be refused", PATIENCE, || {
        Ok((scenario.puts_refused()? > before).then_some(()))
    })?;
    zombie.resume()?;
    scenario.produce_valid(1, messages, more)?;
    owner.leave()?;
    zombie.leave()?;
    let rows = scenario.finish(|_| true)?.rows as u64;
    ensure!(rows == messages + more, "{rows} rows of {}", messages + more);
    Ok(())
}
