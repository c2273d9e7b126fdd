//! What the demo and the end-to-end tests share: the real binaries as processes, a topic whose
//! every message is known, the rows that lie in the bucket, and the audit as judge.

pub mod oracle;
pub mod process;
pub mod rows;
pub mod scenario;

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
