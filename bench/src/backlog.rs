//! A backlog: does the sink stay within its memory, how large do objects get, and is every message
//! stored exactly once? Fails where one of the three is not so.

use anyhow::{Result, anyhow, ensure};
use indicatif::{HumanBytes, HumanCount};
use service_kit::config::parse;

use crate::sink::{Drained, drain};
use crate::world::World;

/// What the process may take beside `MEMORY_LIMIT`, in bytes.
const MARGIN_BYTES: u64 = 128 << 20;
/// A backlog is stored by size; objects that are sealed by age would say nothing about memory.
const CHUNK_AGE: &str = "1h";
/// The sink's own default.
const MEMORY_LIMIT: &str = "256MiB";

/// Fills a topic, has it drained and audited, and deletes it.
pub fn run(messages: u64, partitions: i32) -> Result<()> {
    let world = World::new("backlog", None)?
        .with_default("CHUNK_AGE_SECONDS_MAX", CHUNK_AGE)
        .with_default("DRAIN_TIMEOUT_SECONDS", "10m")
        .with_default("MEMORY_LIMIT", MEMORY_LIMIT);
    world.with_topic(partitions, |topic| {
        topic.fill(messages, None)?;
        println!("{} messages over {partitions} partitions", HumanCount(messages));
        let drained = drain(&world, 1)?;
        print(messages, &drained);
        judge(&drained, &world)?;
        let totals = world.audit()?;
        println!(
            "audit: {} rows, {} lost, {} duplicated",
            totals.rows, totals.lost, totals.duplicated
        );
        totals.judge(messages)
    })
}

fn print(messages: u64, drained: &Drained) {
    let rate = messages as f64 / drained.seconds;
    println!("taken in {:.0} s, {rate:.0} messages/s", drained.seconds);
    println!("peak resident memory: {}", HumanBytes(drained.peak_memory_bytes()));
    println!("chunks, by why they were sealed: {:?}", drained.sealed);
    let objects = &drained.object_bytes;
    let at = |share: f64| {
        let last = objects.len().saturating_sub(1);
        HumanBytes(objects.get((last as f64 * share) as usize).copied().unwrap_or(0))
    };
    println!(
        "{} objects of {}: smallest {}, median {}, largest {}",
        objects.len(),
        HumanBytes(objects.iter().sum()),
        at(0.0),
        at(0.5),
        at(1.0)
    );
}

fn judge(drained: &Drained, world: &World) -> Result<()> {
    let limit = parse::bytes(0..=u64::MAX)(world.setting("MEMORY_LIMIT")?)
        .map_err(|expected| anyhow!("MEMORY_LIMIT: expected {}", expected.0))?;
    let peak = drained.peak_memory_bytes();
    ensure!(
        peak <= limit + MARGIN_BYTES,
        "{} were resident, {} more than MEMORY_LIMIT and the margin of {} allow",
        HumanBytes(peak),
        HumanBytes(peak - limit - MARGIN_BYTES),
        HumanBytes(MARGIN_BYTES)
    );
    Ok(())
}
