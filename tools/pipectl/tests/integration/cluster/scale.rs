//! A hundred thousand chunks in a real store: how long the tool takes, and how much memory.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chunk_ledger::{Chunk, Mark, Timestamp};

use super::{s3, unused};
use crate::objects::{NOON, chunk, object};

const CHUNKS: i64 = 100_000;
const PARTITIONS: i64 = 6;
const DAYS: i64 = 10;
const ROWS: i64 = 3;
const DAY_MS: i64 = 86_400_000;
/// What the tool may take for all of them: the facts of a chunk and its key are half a KiB.
const RSS_MIB_MAX: u64 = 128;

/// The chunks, in the order of their partitions and offsets.
fn chunks() -> impl Iterator<Item = Chunk> {
    (0..CHUNKS).map(|number| {
        let per_partition = CHUNKS / PARTITIONS + 1;
        let (partition, index) = (number / per_partition, number % per_partition);
        let start = index * ROWS;
        let time = Timestamp(NOON + index * DAYS / per_partition * DAY_MS);
        let chunk = chunk(i32::try_from(partition).unwrap(), start, start + ROWS, 0);
        let first = Mark { timestamp: time, ..chunk.first };
        Chunk { first, last_timestamp: time, ..chunk }
    })
}

#[test]
fn a_hundred_thousand_chunks_are_audited_in_bounded_memory() {
    let Some((bucket, environment)) = s3(&unused("scale")) else { return };
    let began = Instant::now();
    bucket.put_all(chunks().map(|chunk| (chunk, object(&chunk, &[]))));
    println!("{CHUNKS} objects written in {:.1?}", began.elapsed());
    for line in ["audit --no-kafka", "audit --no-kafka --deep", "chunks"] {
        let (took, rss_mib, last) = measure(&environment, line);
        println!("pipectl {line}: {took:.1?}, {rss_mib} MiB at most; {last}");
        assert!(rss_mib <= RSS_MIB_MAX, "{line} took {rss_mib} MiB");
        if line.starts_with("audit") {
            let rows = CHUNKS * ROWS;
            let clean = format!(
                "audit: {rows} rows + 0 dead letters in {CHUNKS} chunks, 0 lost, 0 duplicated, \
                 0 findings"
            );
            assert_eq!(last, clean);
        }
    }
}

/// How long the tool ran, the most memory that it held, and the last line that it printed.
fn measure(environment: &[(String, String)], line: &str) -> (Duration, u64, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pipectl"))
        .args(line.split_whitespace())
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::from(fs::File::create(&path).unwrap()))
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut rss_kib = 0;
    let exit = loop {
        if let Some(exit) = child.try_wait().unwrap() {
            break exit;
        }
        // The high-water mark only grows, so a look now and then does not miss the peak.
        let peak = fs::read_to_string(&status).unwrap_or_default();
        let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
        rss_kib = peak.unwrap_or(0).max(rss_kib);
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(exit.success(), "{line}: {exit}");
    let out = fs::read_to_string(&path).unwrap();
    (began.elapsed(), rss_kib / 1024, out.lines().last().unwrap_or_default().to_owned())
}
