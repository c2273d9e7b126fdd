#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use chunk_ledger::{Mark, Offset, OffsetRange, Timestamp, WriterId};

use super::*;
use crate::kafka::{PartitionOffsets, Unreadable};

/// 2026-11-02.
const NOON: i64 = 1_793_577_600_000 + 12 * 3_600_000;
const DAY: i64 = 86_400_000;

fn layout() -> Layout {
    Layout::new("raw", "names_topic")
}

fn chunk(partition: i32, start: i64, end: i64) -> Chunk {
    Chunk {
        partition: Partition(partition),
        range: OffsetRange { start: Offset(start), end: Offset(end) },
        first: Mark { offset: Offset(start), timestamp: Timestamp(NOON) },
        last_timestamp: Timestamp(NOON),
        rows: end.abs_diff(start),
        rejected: 0,
        gaps: 0,
        writer: WriterId(7),
    }
}

fn key(partition: i32, start: i64) -> String {
    format!("raw/names_topic/date=2026-11-02/names_topic+{partition}+{start:020}.parquet")
}

/// The object of `chunk` at the key of its start.
fn object(chunk: Chunk) -> Object {
    object_at(&layout().key(chunk.partition, chunk.day(), chunk.range.start), Ok(chunk))
}

fn object_at(key: &str, metadata: Result<Chunk, MetadataError>) -> Object {
    let kind = match layout().parse(key) {
        Some(name) => ObjectKind::Chunk { name, metadata },
        None => ObjectKind::Foreign,
    };
    Object { key: key.to_owned(), bytes: 1000, kind }
}

fn chain(partition: i32, ranges: &[(i64, i64)]) -> Vec<Object> {
    ranges.iter().map(|(start, end)| object(chunk(partition, *start, *end))).collect()
}

/// One partition, 3, as Kafka knows it, without dead letters.
fn kafka(committed: Option<i64>, log_start: i64, log_end: i64) -> KafkaFacts {
    let log = OffsetRange { start: Offset(log_start), end: Offset(log_end) };
    let offsets = PartitionOffsets { committed: committed.map(Offset), log };
    KafkaFacts {
        partitions: BTreeMap::from([(Partition(3), offsets)]),
        nothing_waits: BTreeSet::new(),
        dead_letters: DeadLetterLog { exists: true, complete: true, ..Default::default() },
    }
}

fn audit(objects: &[Object], kafka: Option<&KafkaFacts>, expect_drained: bool) -> Report {
    let layout = layout();
    let (contents, group) = (None, "s3-sink");
    check(Evidence { layout: &layout, objects, kafka, contents, group, expect_drained })
}

fn findings(report: &Report) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn chains_that_tile_are_clean() {
    let mut objects = chain(3, &[(100, 120), (120, 121), (121, 150)]);
    objects.reverse();
    objects.extend(chain(0, &[(7, 9)]));
    let mut facts = kafka(Some(140), 100, 170);
    let log = OffsetRange { start: Offset(8), end: Offset(9) };
    facts.partitions.insert(Partition(0), PartitionOffsets { committed: Some(Offset(9)), log });
    let report = audit(&objects, Some(&facts), false);
    assert_eq!(findings(&report), Vec::<String>::new());
    assert!(report.is_clean());
    let expected = "audit: 52 rows + 0 dead letters in 4 chunks, 0 lost, 0 duplicated, 0 findings";
    assert_eq!(report.summary(), expected);
    assert_eq!(report.totals.lag, Some(20));
    let three = &report.partitions[1];
    assert_eq!(
        (three.partition, three.first, three.end, three.chunks),
        (3, Some(100), Some(150), 3)
    );
    assert_eq!((three.committed, three.log_end, three.bytes), (Some(140), Some(170), 3000));
}

#[test]
fn gaps_and_overlaps_name_offsets_partition_and_keys() {
    type Case = (&'static [(i64, i64)], &'static [(&'static str, i64, i64)], u64, u64);
    let cases: &[Case] = &[
        (&[(0, 120), (140, 150)], &[("L1: gap 120..140", 0, 140)], 20, 0),
        (&[(0, 120), (110, 150)], &[("L2: overlap 110..120", 0, 110)], 0, 10),
        (
            &[(0, 10), (2, 3), (20, 30), (25, 26)],
            &[
                ("L2: overlap 2..3", 0, 2),
                ("L1: gap 10..20", 0, 20),
                ("L2: overlap 25..26", 20, 25),
            ],
            10,
            2,
        ),
    ];
    for (ranges, expected, lost, duplicated) in cases {
        let report = audit(&chain(3, ranges), None, false);
        let expected: Vec<String> = expected
            .iter()
            .map(|(what, one, other)| {
                format!("{what} in partition 3 between {} and {}", key(3, *one), key(3, *other))
            })
            .collect();
        assert_eq!(findings(&report), expected, "{ranges:?}");
        assert_eq!((report.totals.lost, report.totals.duplicated), (*lost, *duplicated));
        assert!(!report.is_clean());
    }
}

#[test]
fn one_start_on_two_days_is_an_overlap() {
    let mut later = chunk(3, 50, 70);
    later.first.timestamp = Timestamp(NOON + DAY);
    let objects = [object(chunk(3, 50, 60)), object(later)];
    let report = audit(&objects, None, false);
    let expected = format!(
        "L2: overlap 50..60 in partition 3 between {} and {}",
        key(3, 50),
        key(3, 50).replace("11-02", "11-03")
    );
    assert_eq!(findings(&report), [expected]);
    assert_eq!(report.totals.duplicated, 10);
}

#[test]
fn the_chain_is_held_against_commit_and_log() {
    type Case = (&'static [(i64, i64)], Option<i64>, (i64, i64), &'static [&'static str], u64);
    // Ranges; committed; log; findings, with {key} for the key at 100; lost.
    let cases: &[Case] = &[
        (&[], None, (5, 9), &[], 0),
        (&[], Some(5), (5, 9), &[], 0),
        (
            &[(100, 150)],
            Some(160),
            (100, 170),
            &["L1: gap 150..160 in partition 3, after {key}: group s3-sink has committed 160"],
            10,
        ),
        (
            &[],
            Some(7),
            (0, 9),
            &["L1: gap 0..7 in partition 3, which has no chunk: group s3-sink has committed 7"],
            7,
        ),
        (
            &[(100, 150)],
            Some(100),
            (80, 150),
            &["L1: gap 80..100 in partition 3 before {key}: Kafka still holds these offsets"],
            20,
        ),
        (
            &[(100, 150)],
            None,
            (0, 140),
            &["log: partition 3 is stored up to 150, but Kafka's log ends at 140: \
               the topic was created anew or truncated"],
            0,
        ),
        (
            &[(100, 150)],
            Some(150),
            (155, 160),
            &["log: Kafka has removed 150..155 of partition 3 before it was stored: \
               its retention is too short for the sink's lag"],
            0,
        ),
        (
            &[],
            Some(3),
            (5, 5),
            &["log: Kafka has removed 3..5 of partition 3 before it was stored: \
               its retention is too short for the sink's lag"],
            0,
        ),
    ];
    for (ranges, committed, (start, end), expected, lost) in cases {
        let report = audit(&chain(3, ranges), Some(&kafka(*committed, *start, *end)), false);
        let expected: Vec<String> =
            expected.iter().map(|line| line.replace("{key}", &key(3, 100))).collect();
        assert_eq!(findings(&report), expected, "{ranges:?} {committed:?} {start}..{end}");
        assert_eq!(report.totals.lost, *lost);
    }
}

#[test]
fn a_lag_is_a_finding_only_if_none_is_expected() {
    let (objects, facts) = (chain(3, &[(100, 150)]), kafka(Some(150), 120, 162));
    let report = audit(&objects, Some(&facts), false);
    assert_eq!((findings(&report).len(), report.totals.lag), (0, Some(12)));
    let report = audit(&objects, Some(&facts), true);
    assert_eq!(findings(&report), ["lag: 150..162 of partition 3 is not stored: 12 offsets wait"]);
    let report = audit(&objects, Some(&kafka(Some(150), 120, 150)), true);
    assert!(report.is_clean());
}

#[test]
fn offsets_without_messages_do_not_wait() {
    let objects = chain(3, &[(100, 150)]);
    let facts = KafkaFacts { nothing_waits: [Partition(3)].into(), ..kafka(Some(150), 120, 151) };
    let report = audit(&objects, Some(&facts), true);
    assert_eq!((findings(&report), report.totals.lag), (vec![], Some(0)));
}

#[test]
fn what_waits_is_noted_where_it_is_no_finding() {
    let (objects, facts) = (chain(3, &[(100, 150)]), kafka(Some(150), 120, 162));
    let noted = |expect_drained| {
        let report = audit(&objects, Some(&facts), expect_drained);
        report.notes.iter().filter(|note| note.starts_with("12 offsets wait to be stored")).count()
    };
    assert_eq!((noted(false), noted(true)), (1, 0));
}

#[test]
fn objects_that_contradict_themselves_are_named() {
    let wrong_counts = Chunk { rows: 3, rejected: 2, gaps: 1, ..chunk(3, 0, 10) };
    let key = key(3, 0);
    let wrong_first =
        Chunk { first: Mark { offset: Offset(10), timestamp: Timestamp(NOON) }, ..chunk(3, 0, 10) };
    let cases: [(Object, String); 6] = [
        (
            object(wrong_counts),
            format!("counts: {key} counts 3 rows + 2 rejected + 1 gaps, but 0..10 are 10 offsets"),
        ),
        (
            object(wrong_first),
            format!("metadata: {key} says that its first message is 10, outside of 0..10"),
        ),
        (
            object_at(&key, Ok(chunk(2, 5, 6))),
            format!(
                "key: {key} describes offsets 5..6 of partition 2: it was copied or renamed by hand"
            ),
        ),
        (
            object_at(&key.replace("11-02", "11-03"), Ok(chunk(3, 0, 10))),
            format!(
                "key: {} begins with a message of 2026-11-02, its key is {key}",
                key.replace("11-02", "11-03")
            ),
        ),
        (
            object_at(&key, Err(MetadataError::Missing("rows"))),
            format!("metadata: {key}: {}", MetadataError::Missing("rows")),
        ),
        (
            object_at("raw/names_topic/notes.txt", Err(MetadataError::Missing("rows"))),
            "foreign: raw/names_topic/notes.txt is no chunk of names_topic: \
             readers take it for data, move it out of raw/names_topic/"
                .to_owned(),
        ),
    ];
    for (object, expected) in cases {
        assert_eq!(findings(&audit(&[object], None, false)), [expected]);
    }
    let name = layout().parse(&key).unwrap();
    let vanished = Object { key: key.clone(), bytes: 1, kind: ObjectKind::Vanished { name } };
    let expected = format!("metadata: {key} was listed and is gone: somebody deletes chunks");
    assert_eq!(findings(&audit(&[vanished], None, false)), [expected]);
}

#[test]
fn a_copied_object_counts_where_its_rows_are() {
    // Offsets 0..10 lie under two keys: readers see them twice.
    let objects = [object(chunk(3, 0, 10)), object_at(&key(3, 10), Ok(chunk(3, 0, 10)))];
    let report = audit(&objects, None, false);
    assert_eq!(
        findings(&report),
        [
            format!(
                "key: {} describes offsets 0..10 of partition 3: it was copied or renamed by hand",
                key(3, 10)
            ),
            format!("L2: overlap 0..10 in partition 3 between {} and {}", key(3, 0), key(3, 10)),
        ]
    );
    assert_eq!(report.totals.duplicated, 10);
}

#[test]
fn a_partition_that_kafka_does_not_know_is_named() {
    let report = audit(&chain(5, &[(0, 4)]), Some(&kafka(None, 0, 0)), true);
    assert_eq!(
        findings(&report),
        ["log: partition 5 has chunks, but names_topic has 1 partitions"]
    );
    assert_eq!(report.partitions.iter().map(|one| one.partition).collect::<Vec<_>>(), [3, 5]);
}

#[test]
fn rejected_offsets_need_their_dead_letters() {
    let objects = [
        object(Chunk { rows: 8, rejected: 2, ..chunk(3, 0, 10) }),
        object(Chunk { rows: 9, rejected: 1, ..chunk(3, 10, 20) }),
    ];
    let letters = |offsets: &[i64]| {
        let mut facts = kafka(Some(20), 0, 20);
        let offsets = offsets.iter().map(|offset| Offset(*offset)).collect();
        facts.dead_letters.offsets.insert(Partition(3), offsets);
        facts
    };
    let all = letters(&[3, 9, 10]);
    let report = audit(&objects, Some(&all), false);
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.totals.rejected, report.totals.dead_letters), (3, Some(3)));
    // A letter more than rejected offsets: a repetition found the message readable.
    assert!(audit(&objects, Some(&letters(&[3, 4, 9, 10])), false).is_clean());

    let mut some = letters(&[9, 11, 12]);
    let lacking = format!(
        "dead_letters: {} counts 2 rejected offsets, but names_topic.dlq holds letters of 1",
        key(3, 0)
    );
    assert_eq!(findings(&audit(&objects, Some(&some), false)), [lacking]);
    // Where Kafka has removed letters, their absence says nothing.
    some.dead_letters.complete = false;
    let report = audit(&objects, Some(&some), false);
    assert_eq!((report.is_clean(), report.notes.len()), (true, 1));

    let mut none = kafka(Some(20), 0, 20);
    none.dead_letters = DeadLetterLog::default();
    assert_eq!(findings(&audit(&objects, Some(&none), false)).len(), 2);
}

#[test]
fn strangers_in_the_dead_letter_topic_are_named() {
    let mut facts = kafka(None, 0, 0);
    facts.dead_letters.unreadable.push(Unreadable {
        partition: Partition(0),
        offset: Offset(41),
        problem: "it has no header \"dead-letter-topic\"".to_owned(),
    });
    let expected = "dead_letters: the message at offset 41 of partition 0 of names_topic.dlq is no \
                    dead letter of names_topic: it has no header \"dead-letter-topic\"";
    assert_eq!(findings(&audit(&[], Some(&facts), false)), [expected]);
}

#[test]
fn what_objects_are_like_inside_counts_for_their_partition() {
    let layout = layout();
    let inside = Finding::about(Check::Rows, Some(Partition(3)), "k", "wrong rows".to_owned());
    let objects = chain(3, &[(0, 4)]);
    let dropped = Dropped { partition: Partition(3), key: key(3, 0), first: Offset(2), count: 2 };
    let contents =
        Contents { findings: vec![inside], dropped: vec![dropped], gaps_truncated: true };
    let report = check(Evidence {
        layout: &layout,
        objects: &objects,
        kafka: None,
        contents: Some(contents),
        group: "s3-sink",
        expect_drained: false,
    });
    let lacking = format!(
        "L1: {} lacks 2 messages that Kafka holds, first offset 2 of partition 3: \
         neither a row nor a dead letter",
        key(3, 0)
    );
    assert_eq!(findings(&report), ["rows: wrong rows".to_owned(), lacking]);
    assert_eq!((report.partitions[0].findings, report.totals.lost), (2, 2));
    assert!(report.deep && report.notes.len() == 2);
}

#[test]
fn gaps_that_nobody_asked_kafka_about_are_mentioned() {
    let objects = [object(Chunk { rows: 7, gaps: 3, ..chunk(3, 0, 10) })];
    let report = audit(&objects, Some(&kafka(Some(10), 0, 10)), true);
    assert_eq!(report.notes, ["only --deep asks Kafka about the 3 gaps"]);
    assert!(report.is_clean());
}

#[test]
fn absurd_counts_do_not_end_the_audit() {
    let absurd = |start| Chunk { rows: u64::MAX, gaps: u64::MAX, ..chunk(3, start, i64::MAX) };
    let report = audit(&[object(absurd(0)), object(absurd(1)), object(absurd(2))], None, false);
    assert_eq!((report.totals.rows, report.totals.gaps), (u64::MAX, u64::MAX));
    assert_eq!(report.findings.len(), 5);
}
