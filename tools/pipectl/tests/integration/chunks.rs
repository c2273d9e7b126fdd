//! `chunks` against the embedded store.

use chunk_ledger::{Chunk, Mark, Timestamp};

use crate::common::Scene;
use crate::objects::{NOON, chunk};

const DAY: i64 = 86_400_000;

/// Five chunks of two partitions and two days.
fn scene() -> Scene {
    let scene = Scene::new(false);
    let next_day = |chunk: Chunk| Chunk {
        first: Mark { timestamp: Timestamp(NOON + DAY), ..chunk.first },
        last_timestamp: Timestamp(NOON + DAY + 1),
        ..chunk
    };
    scene.put_many(&[
        chunk(2, 100, 150, 3),
        chunk(1, 0, 10, 0),
        next_day(chunk(1, 25, 40, 0)),
        Chunk { rows: 12, gaps: 3, ..chunk(1, 10, 25, 0) },
        next_day(chunk(2, 150, 151, 1)),
    ]);
    scene
}

fn listed(scene: &Scene, filter: &str) -> Vec<String> {
    let json = scene.pipectl(&format!("chunks --json {filter}")).json();
    let chunks = json["chunks"].as_array().unwrap();
    chunks.iter().map(|one| format!("{}+{}", one["partition"], one["start"])).collect()
}

#[test]
fn chunks_are_listed_by_partition_and_offset_with_totals() {
    let scene = scene();
    let run = scene.pipectl("chunks");
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    let totals = "chunks: 84 rows + 4 dead letters + 3 gaps in 5 chunks, 5 bytes";
    assert_eq!(run.out.lines().last(), Some(totals), "{}", run.out);
    let row = "| raw/names_topic/date=2026-11-02/names_topic+1+00000000000000000010.parquet \
               |   10..25 |   12 |        0 |    3 |     1 | 2026-11-02T12:00:00.000Z \
               | 2026-11-02T12:00:00.000Z | 00000000000000000000000000000007 |";
    assert!(run.out.lines().any(|line| line == row), "{}", run.out);
    assert_eq!(listed(&scene, ""), ["1+0", "1+10", "1+25", "2+100", "2+150"]);
    let json = scene.pipectl("chunks --json --partition 2 --limit 1").json();
    assert_eq!(
        json["chunks"][0],
        serde_json::json!({
            "key": "raw/names_topic/date=2026-11-02/names_topic+2+00000000000000000100.parquet",
            "partition": 2, "start": 100, "end": 150,
            "rows": 47, "rejected": 3, "gaps": 0, "bytes": 1,
            "first_timestamp": "2026-11-02T12:00:00.000Z",
            "last_timestamp": "2026-11-02T12:00:00.000Z",
            "writer": "00000000000000000000000000000007",
        })
    );
    assert_eq!((&json["totals"]["chunks"], &json["totals"]["rows"]), (&1.into(), &47.into()));
}

#[test]
fn filters_ask_for_no_more_metadata_than_they_need() {
    let scene = scene();
    let s3 = scene.stack.s3().unwrap();
    let heads = || s3.request_counts().get("HeadObject").map_or(0, |one| one.values().sum::<u64>());
    let mut before = heads();
    let mut asked = |filter: &str| {
        let chunks = listed(&scene, filter);
        let now = heads();
        let asked = now - std::mem::replace(&mut before, now);
        (chunks.join(" "), asked)
    };
    let expect = |chunks: &str, asked| (chunks.to_owned(), asked);
    assert_eq!(asked("--partition 2"), expect("2+100 2+150", 2));
    assert_eq!(asked("--date 2026-11-03"), expect("1+25 2+150", 2));
    assert_eq!(asked("--date 2026-11-03 --partition 1"), expect("1+25", 1));
    assert_eq!(asked("--partition 1 --offset 12"), expect("1+10", 2));
    assert_eq!(asked("--from 2026-11-03"), expect("1+25 2+150", 2));
    assert_eq!(asked("--to 2026-11-03"), expect("1+0 1+10 2+100", 3));
    assert_eq!(asked("--from 2026-11-04"), expect("", 0));
}

#[test]
fn what_is_no_chunk_is_noted() {
    let scene = scene();
    scene.put_foreign("raw/names_topic/_SUCCESS");
    let copied = "raw/names_topic/date=2026-11-02/names_topic+5+00000000000000000000.parquet";
    scene.put_foreign(copied);
    let run = scene.pipectl("chunks");
    assert_eq!(run.code, Some(0), "{run:?}");
    let foreign = "note: 1 objects below raw/names_topic/ are no chunks of names_topic";
    assert!(run.out.lines().any(|line| line == foreign), "{}", run.out);
    let unreadable = format!("note: {copied}: the metadata has no \"topic\"");
    assert!(run.out.lines().any(|line| line.starts_with(&unreadable)), "{}", run.out);
}
