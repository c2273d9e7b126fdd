#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use chunk_ledger::invariants::Invariant;
use chunk_ledger::{Offset, OffsetRange, Partition};

use super::*;
use crate::audit::Check;

fn partition(number: i32) -> PartitionReport {
    PartitionReport {
        partition: number,
        chunks: 2,
        rows: 148,
        rejected: 2,
        gaps: 0,
        bytes: 9000,
        first: Some(0),
        end: Some(170),
        committed: Some(150),
        log_start: Some(0),
        log_end: Some(175),
        lag: Some(5),
        dead_letters: Some(2),
        lost: 20,
        duplicated: 0,
        findings: 1,
    }
}

fn report() -> Report {
    let mut report = Report::new(&Layout::new("raw", "names_topic"), Some("s3-sink"), false);
    let empty = PartitionReport {
        partition: 10,
        chunks: 0,
        rows: 0,
        rejected: 0,
        gaps: 0,
        bytes: 0,
        first: None,
        end: None,
        committed: None,
        log_start: Some(0),
        log_end: Some(0),
        lag: Some(0),
        dead_letters: Some(0),
        lost: 0,
        duplicated: 0,
        findings: 0,
    };
    report.partitions = vec![partition(3), empty];
    let missing = OffsetRange { start: Offset(120), end: Offset(140) };
    report.findings.push(Finding::at(
        Check::Invariant(Invariant::L1),
        Partition(3),
        missing,
        &["a", "b"],
        "gap 120..140 in partition 3 between a and b".to_owned(),
    ));
    report.notes.push("something was not looked at".to_owned());
    report.total();
    report
}

#[test]
fn people_get_a_table_the_findings_and_a_summary() {
    let expected = "\
names_topic below raw/names_topic/ (group s3-sink, objects not read)

| partition | chunks | rows | rejected | gaps | bytes | first | end | committed | log end | lag | findings |
|-----------|--------|------|----------|------|-------|-------|-----|-----------|---------|-----|----------|
|         3 |      2 |  148 |        2 |    0 |  9000 |     0 | 170 |       150 |     175 |   5 |        1 |
|        10 |      0 |    0 |        0 |    0 |     0 |     - |   - |         - |       0 |   0 |        0 |
|       all |      2 |  148 |        2 |    0 |  9000 |     - |   - |         - |       - |   5 |        1 |

findings:
  L1: gap 120..140 in partition 3 between a and b

note: something was not looked at
audit: 148 rows + 2 dead letters in 2 chunks, 20 lost, 0 duplicated, 1 findings";
    assert_eq!(report().to_string(), expected);
}

#[test]
fn programs_get_one_document() {
    let json = serde_json::to_value(report()).unwrap();
    assert_eq!(json["topic"], "names_topic");
    assert_eq!(json["group"], "s3-sink");
    assert_eq!(json["partitions"][0]["end"], 170);
    assert_eq!(json["partitions"][1]["committed"], serde_json::Value::Null);
    assert_eq!(json["totals"]["lost"], 20);
    let finding = serde_json::json!({
        "check": "L1",
        "partition": 3,
        "offsets": {"start": 120, "end": 140},
        "keys": ["a", "b"],
        "message": "gap 120..140 in partition 3 between a and b",
    });
    assert_eq!(json["findings"], serde_json::json!([finding]));
}

#[test]
fn what_only_kafka_knows_is_left_out_without_it() {
    let mut report = Report::new(&Layout::new("", "t"), None, true);
    report.total();
    assert_eq!((report.totals.lag, report.totals.dead_letters), (None, None));
    assert!(report.to_string().starts_with("t below t/ (Kafka not asked, every object read)"));
}
