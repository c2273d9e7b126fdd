//! What was done to the parts and what came of it, counted over a whole run: one line each in the
//! file that `FAULT_TALLY` names, which `make test-cluster` and `make soak` sum up.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result};

/// Counts one of these. Tests in several threads and processes may do so at once.
pub fn count(what: &str) -> Result<()> {
    let Some(path) = std::env::var_os("FAULT_TALLY") else { return Ok(()) };
    let mut tally = OpenOptions::new().create(true).append(true).open(&path)?;
    tally.write_all(format!("{what}\n").as_bytes()).with_context(|| path.display().to_string())
}
