//! `audit`: what it finds, and how it says so.

use std::thread;
use std::time::Duration;

use chunk_ledger::Chunk;
use local_stack::s3::{Operation, S3Action, S3Fault};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::common::{Scene, pipectl};
use crate::objects::{chunk, object};

#[test]
fn a_drained_topic_is_clean() {
    let scene = Scene::new(true);
    scene.produce(0, 10);
    scene.produce(4, 25);
    scene.dead_letter(4, 12);
    // Written again after a crash: the same coordinates.
    scene.dead_letter(4, 12);
    scene.store(&chunk(0, 0, 10, 0), &[]);
    scene.store(&chunk(4, 0, 10, 0), &[]);
    scene.store(&chunk(4, 10, 25, 1), &[12]);
    // A lost commit is no harm.
    scene.commit(&[(0, 10), (4, 10)]);

    let run = scene.pipectl("audit --deep --expect-drained");
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{}", run.out);
    let summary = "audit: 34 rows + 1 dead letters in 3 chunks, 0 lost, 0 duplicated, 0 findings";
    assert_eq!(run.out.lines().last(), Some(summary), "{}", run.out);

    let json = scene.pipectl("audit --deep --expect-drained --json").json();
    assert_eq!(json["totals"]["lag"], 0);
    assert_eq!(json["totals"]["dead_letters"], 1);
    assert_eq!(json["partitions"].as_array().unwrap().len(), 6);
    let four = &json["partitions"][4];
    assert_eq!(
        (&four["committed"], &four["end"], &four["log_end"]),
        (&10.into(), &25.into(), &25.into())
    );
    assert_eq!(json["partitions"][1]["committed"], serde_json::Value::Null);
}

#[test]
fn damage_is_found_and_named() {
    let scene = Scene::new(true);
    scene.produce(1, 60);
    let chunks = [chunk(1, 0, 20, 0), chunk(1, 20, 30, 0), chunk(1, 30, 50, 0)];
    chunks.iter().for_each(|chunk| scene.store(chunk, &[]));
    let (lost, kept) = (scene.key(&chunks[1]), scene.key(&chunks[0]));
    let behind = scene.key(&chunks[2]);
    scene.delete(&lost);
    scene.commit(&[(1, 55)]);
    let foreign = "raw/names_topic/date=2026-11-02/_SUCCESS";
    scene.put_foreign(foreign);

    let run = scene.pipectl("audit --json --expect-drained");
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(
        run.findings(),
        [
            format!("L1: gap 20..30 in partition 1 between {kept} and {behind}"),
            format!(
                "L1: gap 50..55 in partition 1, after {behind}: group s3-sink has committed 55"
            ),
            "lag: 50..60 of partition 1 is not stored: 10 offsets wait".to_owned(),
            format!(
                "foreign: {foreign} is no chunk of names_topic: readers take it for data, \
                 move it out of raw/names_topic/"
            ),
        ]
    );
    let json = run.json();
    assert_eq!((&json["totals"]["lost"], &json["totals"]["lag"]), (&15.into(), &10.into()));

    let text = scene.pipectl("audit").out;
    assert!(text.contains(&format!("\n  L1: gap 20..30 in partition 1 between {kept}")), "{text}");
}

#[test]
fn only_a_deep_audit_opens_objects() {
    let scene = Scene::new(false);
    let (right, wrong) = (chunk(2, 0, 10, 0), chunk(2, 10, 20, 0));
    scene.store(&right, &[]);
    scene.put(&scene.key(&wrong), &wrong, object(&wrong, &[11, 15]));
    let garbage = chunk(2, 20, 30, 0);
    scene.put(&scene.key(&garbage), &garbage, b"not Parquet".to_vec());

    let run = scene.pipectl("audit --no-kafka");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.out.contains("note: Kafka was not asked"), "{}", run.out);
    let run = scene.pipectl("audit --no-kafka --deep --json");
    assert_eq!(run.code, Some(1), "{run:?}");
    let found = run.findings();
    assert_eq!(found[0], format!("rows: {} holds 8 rows, its metadata say 10", scene.key(&wrong)));
    let unreadable = format!("parquet: {} can't be read as Parquet: ", scene.key(&garbage));
    assert!(found[1].starts_with(&unreadable), "{found:?}");
    assert_eq!(found.len(), 2);
}

#[test]
fn a_deep_audit_fetches_little_of_large_objects() {
    let scene = Scene::new(false);
    let rows = 2_500_000;
    let (right, wrong) = (chunk(0, 0, rows, 0), chunk(0, rows, 2 * rows, 0));
    scene.store(&right, &[]);
    // Its rows are those of the one before.
    let body = object(&Chunk { range: right.range, ..wrong }, &[7]);
    assert!(body.len() > 8 << 20, "{} bytes are held whole", body.len());
    scene.put(&scene.key(&wrong), &wrong, body);
    let gets = || {
        let counts = scene.stack.s3().unwrap().request_counts();
        counts.get("GetObject").and_then(|one| one.get("206")).copied().unwrap_or(0)
    };
    assert_eq!(gets(), 0);
    let run = scene.pipectl("audit --no-kafka --deep --json");
    assert_eq!(run.code, Some(1), "{run:?}");
    // The footer and three row groups of each.
    assert_eq!(gets(), 2 * (1 + 3));
    let key = scene.key(&wrong);
    let findings = run.findings();
    let expected = [
        format!("parquet: {key}: its footer differs from its metadata: "),
        format!("rows: {key} holds 2499999 rows outside of {}", wrong.range),
        format!("rows: {key} holds 2499999 rows, its metadata say 2500000"),
    ];
    assert_eq!(findings.len(), expected.len(), "{findings:?}");
    for (finding, expected) in findings.iter().zip(&expected) {
        assert!(finding.starts_with(expected), "{finding}");
    }

    // A store that fails in the middle says nothing about the object.
    let faults = scene.stack.s3().unwrap().faults();
    faults.push(S3Fault::new(S3Action::AccessDenied).on(Operation::GetObject).skip(2).always());
    let run = scene.pipectl("audit --no-kafka --deep");
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
    assert!(run.err.contains("failed: AccessDenied"), "{}", run.err);
}

#[test]
fn a_deep_audit_asks_kafka_about_gaps() {
    let scene = Scene::new(true);
    scene.produce(0, 30);
    scene.store(&Chunk { rows: 17, gaps: 3, ..chunk(0, 0, 20, 0) }, &[4, 5, 19]);
    scene.store(&chunk(0, 20, 30, 0), &[]);
    let run = scene.pipectl("audit");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.out.contains("note: only --deep asks Kafka about the 3 gaps"), "{}", run.out);
    let run = scene.pipectl("audit --deep --json");
    let lacking = format!(
        "L1: {} lacks 3 messages that Kafka holds, first offset 4 of partition 0: \
         neither a row nor a dead letter",
        scene.key(&chunk(0, 0, 20, 0))
    );
    assert_eq!((run.code, run.findings()), (Some(1), vec![lacking]));
    assert_eq!(run.json()["totals"]["lost"], 3);
}

#[test]
fn every_page_of_a_listing_is_read() {
    let scene = Scene::new(false);
    let chunks: Vec<_> = (0..1_100).map(|start| chunk(0, start, start + 1, 0)).collect();
    scene.put_many(&chunks);
    let run = scene.pipectl("audit --no-kafka");
    let summary =
        "audit: 1100 rows + 0 dead letters in 1100 chunks, 0 lost, 0 duplicated, 0 findings";
    assert_eq!((run.code, run.out.lines().last()), (Some(0), Some(summary)));
    scene.delete(&scene.key(&chunks[1_050]));
    let run = scene.pipectl("audit --no-kafka --json");
    assert_eq!(run.findings().len(), 1);
    assert!(run.findings()[0].starts_with("L1: gap 1050..1051 in partition 0 between "));
}

#[test]
fn metadata_are_asked_for_side_by_side_and_no_more_than_32_at_a_time() {
    let scene = Scene::new(false);
    let chunks: Vec<_> = (0..100).map(|start| chunk(0, start, start + 1, 0)).collect();
    scene.put_many(&chunks);
    let faults = scene.stack.s3().unwrap().faults();
    faults.push(S3Fault::new(S3Action::Hold).on(Operation::HeadObject).always());
    let environment = scene.environment();
    let audit = thread::spawn(move || pipectl("audit --no-kafka", &environment));
    Runtime::new().unwrap().block_on(async {
        timeout(Duration::from_secs(20), faults.wait_held(32)).await.unwrap();
        let one_more = timeout(Duration::from_millis(300), faults.wait_held(33)).await;
        assert!(one_more.is_err(), "{} at a time", faults.held());
    });
    faults.clear();
    let run = audit.join().unwrap();
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[test]
fn dead_letters_that_are_missing_or_strange_are_found() {
    let scene = Scene::new(true);
    scene.produce(0, 10);
    scene.store(&chunk(0, 0, 10, 2), &[3, 4]);
    scene.dead_letter(0, 3);
    let lacking = format!(
        "dead_letters: {} counts 2 rejected offsets, but names_topic.dlq holds letters of 1",
        scene.key(&chunk(0, 0, 10, 2))
    );
    assert_eq!(scene.pipectl("audit --json").findings(), [lacking]);
    scene.dead_letter(0, 4);
    scene.dead_letter(0, 9);
    assert_eq!(scene.pipectl("audit --json").findings(), Vec::<String>::new());
    let found = scene.pipectl("audit --json --deep").findings();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("holds 1 rows that are dead letters, too, first offset 9"));
}

#[test]
fn what_can_not_be_asked_is_no_clean_audit() {
    let scene = Scene::new(false);
    let mut environment = scene.environment();
    let closed = "127.0.0.1:9";
    environment.push(("KAFKA_BOOTSTRAP_SERVERS".to_owned(), closed.to_owned()));

    let run = pipectl("audit --timeout 1", &environment);
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
    assert!(
        run.err.contains("no broker of KAFKA_BOOTSTRAP_SERVERS=\"127.0.0.1:9\""),
        "{}",
        run.err
    );
    assert!(run.err.contains("Connection refused"), "{}", run.err);

    let run = scene.pipectl("audit --no-kafka --s3-bucket other");
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.contains("LIST other/raw/names_topic/ failed: NoSuchBucket"), "{}", run.err);

    let run = scene.pipectl("audit --no-kafka --aws-endpoint-url-s3 http://127.0.0.1:9");
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.contains("Connection refused"), "{}", run.err);

    let run = pipectl("audit --s3-force-path-style perhaps", &[]);
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
    assert!(run.err.starts_with("pipectl: 3 settings are wrong:"), "{}", run.err);
}

#[test]
fn secrets_in_refused_properties_stay_secret() {
    let scene = Scene::new(true);
    for property in ["security.protocol=hunter2", "no.such.property=hunter2"] {
        let run = scene.pipectl(&format!("audit --kafka-config {property}"));
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.err.contains("KAFKA_CONFIG is refused"), "{}", run.err);
        assert!(!run.err.contains("hunter2"), "{}", run.err);
    }
}

#[test]
fn brokers_without_an_admin_api_are_named_as_such() {
    let scene = Scene::new(true);
    for line in ["topics ensure", "topics ensure --kafka-topic another"] {
        let run = scene.pipectl(line);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.err.contains("do not support Kafka's admin API"), "{}", run.err);
    }
}
