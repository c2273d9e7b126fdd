//! `dead-letters` against the embedded brokers. They keep transactions as far as these commit; what
//! becomes of others is tested on real ones, in `cluster::replay`.

use local_stack::kafka::{KafkaCluster, KafkaOptions, RDKafkaApiKey, RDKafkaRespErr};
use pipeline_model::dead_letter::{HEADER_REASON, HEADER_TOPIC};

use crate::common::pipectl;
use crate::letters::{NewLetter, Topic};

/// Embedded brokers with a topic of six partitions, and these letters.
fn brokers(letters: &[NewLetter]) -> (KafkaCluster, Topic) {
    let cluster = KafkaCluster::start(KafkaOptions::default()).unwrap();
    let servers = cluster.bootstrap_servers().unwrap();
    let topic = Topic { servers, name: "names_topic".to_owned() };
    topic.write(letters);
    (cluster, topic)
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn a_replayed_message_is_the_original_and_says_where_it_was() {
    let awkward = NewLetter {
        key: Some(b"k\xff".to_vec()),
        payload: Some(b"\xffbytes".to_vec()),
        headers: vec![
            ("schema-version", Some(b"1".to_vec())),
            (HEADER_REASON, Some(b"the original's own".to_vec())),
            ("empty", Some(vec![])),
            ("null", None),
        ],
        ..NewLetter::new(3, 120)
    };
    let null = NewLetter { payload: None, headers: vec![], ..NewLetter::new(3, 121) };
    let (_cluster, topic) = brokers(&[awkward.clone(), null]);
    let run = topic.pipectl("dead-letters replay --all");
    let sent = "replay: 2 dead letters sent to names_topic, 0 sent before, 0 not accepted\n";
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (Some(0), sent, ""));

    let messages = topic.messages();
    assert_eq!(messages.len(), 2);
    let [first, second] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((first.partition, second.partition), (3, 3), "where they came from");
    assert_eq!((&first.key, &first.payload), (&awkward.key, &awkward.payload));
    let mut headers: Vec<_> =
        awkward.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    headers.push(("replayed-from".to_owned(), Some(b"names_topic+3+120".to_vec())));
    assert_eq!(first.headers, headers);
    assert_eq!((&second.key, &second.payload), (&None, &None));
    assert_eq!(second.header("replayed-from"), "names_topic+3+121");
    assert!(second.headers.iter().all(|(name, _)| name != HEADER_TOPIC));
}

#[test]
fn each_letter_is_sent_once_however_often_it_is_asked_for() {
    let letters: Vec<_> = (0..10).map(|offset| NewLetter::new(1, offset)).collect();
    let (_cluster, topic) = brokers(&letters);
    // The sink writes some again after a crash.
    topic.write(&letters[..4]);
    let line = |line: &str| {
        let run = topic.pipectl(line);
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
        last_line(&run.out).to_owned()
    };
    let outcome = |sent: u64, before: u64| {
        format!(
            "replay: {sent} dead letters sent to names_topic, {before} sent before, 0 not accepted"
        )
    };
    assert_eq!(line("dead-letters replay --offset 2..5"), outcome(3, 0));
    assert_eq!(line("dead-letters replay 1+2 1+7"), outcome(1, 1));
    assert_eq!(line("dead-letters replay --all --limit 2"), outcome(2, 0));
    assert_eq!(line("dead-letters replay --all"), outcome(4, 6));
    assert_eq!(line("dead-letters replay --all"), outcome(0, 10));
    let mut from: Vec<_> =
        topic.messages().iter().map(|found| found.header("replayed-from")).collect();
    from.sort();
    let expected: Vec<_> = (0..10).map(|offset| format!("names_topic+1+{offset}")).collect();
    assert_eq!(from, expected);
}

#[test]
fn a_letter_of_a_message_that_was_replayed_can_be_replayed() {
    let again = NewLetter {
        headers: vec![("replayed-from", Some(b"names_topic+0+3".to_vec()))],
        ..NewLetter::new(0, 40)
    };
    let (_cluster, topic) = brokers(&[again]);
    assert_eq!(topic.pipectl("dead-letters replay --all").code, Some(0));
    assert_eq!(topic.messages()[0].header("replayed-from"), "names_topic+0+40");
}

#[test]
fn a_topic_created_anew_has_letters_of_its_own() {
    let letter = NewLetter::new(0, 3);
    let (_cluster, topic) = brokers(&[letter.clone(), letter.clone().payload("of another life")]);
    assert_eq!(topic.pipectl("dead-letters replay 0+3").code, Some(0));
    assert_eq!(topic.messages().len(), 2);
    let shown = topic.pipectl("dead-letters show 0+3 --json").json();
    assert_eq!(shown["others"], 1);
    assert_eq!(shown["payload"]["text"], "of another life");
}

#[test]
fn a_payload_from_a_file_stands_for_one_letter() {
    let (_cluster, topic) = brokers(&[5, 6, 7].map(|offset| NewLetter::new(2, offset)));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mended.json");
    std::fs::write(&file, "{\"mended\":true}").unwrap();
    let replay = |selection: &str| {
        topic.pipectl(&format!("dead-letters replay {selection} --payload-file {}", file.display()))
    };
    let assert_refused = |selection: &str| {
        let run = replay(selection);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
        assert!(run.err.contains("a payload file stands for one dead letter"), "{}", run.err);
    };
    assert_refused("--all");
    assert_refused("2+9");
    assert_eq!(topic.messages(), []);
    for (sent, before) in [(1, 0), (0, 1)] {
        let run = replay("2+5");
        let expected = format!("replay: {sent} dead letters sent to names_topic, {before} sent");
        assert!(run.out.starts_with(&expected), "{run:?}");
    }
    let messages = topic.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].payload.as_deref(), Some(b"{\"mended\":true}".as_slice()));
    assert_eq!(messages[0].header("replayed-from"), "names_topic+2+5");
    assert_refused("--all");
    assert_refused("2+5 2+6");
    // The file is not there: nothing is sent.
    std::fs::remove_file(&file).unwrap();
    let run = replay("2+6");
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("can't read the payload from"), "{}", run.err);
}

#[test]
fn a_dry_run_sends_nothing() {
    let (_cluster, topic) = brokers(&[
        NewLetter::new(0, 1),
        NewLetter { payload: None, ..NewLetter::new(0, 2) },
        NewLetter::new(0, 3).reason("bad_zip"),
    ]);
    topic.pipectl("dead-letters replay 0+1");
    let run = topic.pipectl("dead-letters replay --all --dry-run");
    let expected = "\
would send 0+2 (not_json, null)
would send 0+3 (bad_zip, 11 bytes)
replay: 2 dead letters would be sent to names_topic, 1 sent before, 0 not accepted
";
    assert_eq!((run.code, run.out.as_str()), (Some(0), expected), "{run:?}");
    assert_eq!(topic.messages().len(), 1);
}

#[test]
fn large_letters_are_sent_whatever_the_settings_say() {
    let large = NewLetter::new(4, 1).payload(vec![b'x'; 3000]);
    let (_cluster, topic) = brokers(&[large]);
    let mut environment = topic.environment();
    environment.push(("KAFKA_CONFIG".to_owned(), "message.max.bytes=2000".to_owned()));
    let run = pipectl("dead-letters replay --all", &environment);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(topic.messages().len(), 1);
}

#[test]
fn letters_are_listed_filtered_and_counted() {
    let (_cluster, topic) = brokers(&[
        NewLetter::new(0, 7),
        NewLetter::new(3, 1).reason("bad_zip"),
        NewLetter::new(3, 2),
        NewLetter::new(3, 2),
        NewLetter { payload: None, ..NewLetter::new(3, 20) },
    ]);
    topic.pipectl("dead-letters replay 3+1");
    let run = topic.pipectl("dead-letters list");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(last_line(&run.out), "dead-letters: 4 of names_topic, 1 replayed");
    for line in ["bad_zip: 1 letters, 1 replayed", "not_json: 3 letters, 0 replayed"] {
        assert!(run.out.lines().any(|found| found == line), "{}", run.out);
    }
    assert!(run.out.contains("note: 1 repetitions"), "{}", run.out);

    let listed = |filter: &str| -> Vec<String> {
        let json = topic.pipectl(&format!("dead-letters list --json {filter}")).json();
        let letters = json["letters"].as_array().unwrap();
        letters.iter().map(|one| format!("{}+{}", one["partition"], one["offset"])).collect()
    };
    let mut all = listed("");
    all.sort();
    assert_eq!(all, ["0+7", "3+1", "3+2", "3+20"]);
    assert_eq!(listed("--partition 3 --offset 2..20"), ["3+2"]);
    assert_eq!(listed("--reason bad_zip"), ["3+1"]);
    assert_eq!(listed("--from 2200-01-01"), Vec::<String>::new());
    assert_eq!(listed("--to 2200-01-01 --limit 1").len(), 1);
    assert_eq!(listed("3+20 0+7 5+5").len(), 2);
    let json = topic.pipectl("dead-letters list --json --limit 1 --partition 3").json();
    assert_eq!(json["letters"].as_array().unwrap().len(), 1);
    assert_eq!(
        json["totals"],
        serde_json::json!({"letters": 3, "replayed": 1, "repeated": 1, "unreadable": 0})
    );
}

#[test]
fn a_letter_is_shown_with_everything() {
    let letter = NewLetter {
        key: Some(b"key".to_vec()),
        headers: vec![("run-id", Some(b"7\x1b[2J".to_vec()))],
        ..NewLetter::new(3, 120).payload(b"{\"zip\": \xff}\x07")
    };
    let (_cluster, topic) = brokers(&[letter]);
    let run = topic.pipectl("dead-letters show 3+120");
    assert_eq!(run.code, Some(0), "{run:?}");
    for line in [
        "dead letter 3+120 of names_topic",
        "reason    not_json",
        "detail    so it is",
        "replayed  no",
        r"header    run-id: 7\u{1b}[2J",
        "key       key",
        "payload   11 bytes; --raw writes them as they are",
        r#"{"zip": \xff}\u{7}"#,
    ] {
        assert!(run.out.lines().any(|found| found == line), "{line}\n{}", run.out);
    }
    let raw = std::process::Command::new(env!("CARGO_BIN_EXE_pipectl"))
        .args(["dead-letters", "show", "3+120", "--raw"])
        .env_clear()
        .envs(topic.environment())
        .output()
        .unwrap();
    assert_eq!(raw.stdout, b"{\"zip\": \xff}\x07");

    topic.pipectl("dead-letters replay 3+120");
    let json = topic.pipectl("dead-letters show 3+120 --json").json();
    assert_eq!(json["payload"]["base64"], "eyJ6aXAiOiD/fQc=");
    assert_eq!(json["key"]["text"], "key");
    assert_eq!(json["replayed_to"], serde_json::json!({"partition": 3, "offset": 0}));
    let run = topic.pipectl("dead-letters show 3+121");
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""), "{run:?}");
    assert_eq!(run.err, "pipectl: there is no dead letter of names_topic at 3+121\n");
}

#[test]
fn what_is_not_there_is_named() {
    let (_cluster, topic) = brokers(&[]);
    let none = topic.pipectl("dead-letters replay 0+7");
    assert_eq!(none.code, Some(0), "{none:?}");
    assert!(none.out.starts_with("note: no dead letter is selected"), "{}", none.out);
    let other = Topic { name: "other".to_owned(), ..topic };
    for line in ["list", "show 0+7", "replay --all --dry-run"] {
        let run = other.pipectl(&format!("dead-letters {line}"));
        let expected = "pipectl: topic \"other.dlq\" does not exist on the brokers; `pipectl topics \
                        ensure` creates it\n";
        assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (Some(2), "", expected));
    }
    let run = other.pipectl("dead-letters replay --all");
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
    assert!(run.err.contains("topic \"other\" does not exist"), "{}", run.err);
    let run = other.pipectl("dead-letters replay");
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "everything is no default: {run:?}");
}

#[test]
fn a_right_that_is_missing_is_named_on_one_line() {
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as NO_TOPIC,
        RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED as NO_ID,
    };
    let (cluster, topic) = brokers(&[NewLetter::new(0, 1)]);
    let assert_refused = |line: &str, expected: &str| {
        let run = topic.pipectl(line);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
        assert!(run.err.contains(expected), "{}", run.err);
    };
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &[NO_ID]).unwrap();
    let expected = "can't prepare a transaction: Failed to acquire transactional PID";
    assert_refused("dead-letters replay --all", expected);
    cluster.request_errors(RDKafkaApiKey::AddPartitionsToTxn, &[NO_TOPIC]).unwrap();
    assert_refused("dead-letters replay --all", "Topic authorization failed");
    cluster.request_errors(RDKafkaApiKey::Fetch, &[NO_TOPIC]).unwrap();
    assert_refused("dead-letters list", "can't read topic \"names_topic.dlq");
    assert_eq!(topic.messages(), [], "nothing is sent");
    let run = topic.pipectl("dead-letters replay --all");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(topic.messages().len(), 1);
}
