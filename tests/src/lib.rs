//! What the demo, the end-to-end tests and those on a real cluster share: the real binaries as
//! processes, a topic whose every message is known, the rows that lie in the bucket, and the audit
//! as judge.

pub mod attack;
pub mod cluster;
pub mod flow;
pub mod malformed;
pub mod oracle;
pub mod process;
pub mod rows;
pub mod scenario;
pub mod tally;
pub mod zombie;

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks `condition` again and again until it gives a value. Waiting for a condition, not for a
/// time: the limit only ends a test that would hang.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    const INTERVAL: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} in vain for: {what}");
        }
        std::thread::sleep(INTERVAL);
    }
}

/// The seed of a random test: printed, and taken back from `E2E_SEED` to repeat a failure.
pub fn seed() -> u64 {
    let seed = from_environment("E2E_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("repeat with E2E_SEED={seed}");
    seed
}

/// The number in an environment variable, if it is set.
///
/// # Panics
///
/// If it is no number: a test that goes on without it is not the one that was asked for.
pub fn from_environment<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    match value.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{name} is {value:?}, which is no number"),
    }
}
