use super::*;

fn spec() -> TopicSpec {
    TopicSpec::new("names_topic".to_owned(), 6, 3, 2)
}

fn state(replicas: &[usize], config: &[(&str, &str)]) -> TopicState {
    TopicState {
        description: TopicDescription { replicas: replicas.to_vec(), leaderless: vec![] },
        config: config.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    }
}

fn shown(spec: &TopicSpec, state: &TopicState) -> String {
    let result = EnsureResult::Differs(differences(spec, state));
    Outcome { spec: spec.clone(), result }.to_string()
}

#[test]
fn a_topic_as_wanted_has_no_differences() {
    let config = [
        ("message.timestamp.type", "LogAppendTime"),
        ("min.insync.replicas", "2"),
        ("retention.ms", "1"),
    ];
    assert_eq!(differences(&spec(), &state(&[3; 6], &config)), []);
}

#[test]
fn each_difference_is_named_with_its_remedy() {
    let config = [("message.timestamp.type", "CreateTime")];
    let expected = "\
names_topic: exists and differs, nothing was changed
  partitions is 4, wanted 6: `kafka-topics.sh --alter --topic names_topic --partitions 6` adds the missing ones
  replication is 1 or 3, wanted 3: `kafka-reassign-partitions.sh` changes it
  message.timestamp.type is CreateTime, wanted LogAppendTime: `kafka-configs.sh --alter --entity-type topics \
--entity-name names_topic --add-config message.timestamp.type=LogAppendTime` sets it
  min.insync.replicas is not set, wanted 2: `kafka-configs.sh --alter --entity-type topics \
--entity-name names_topic --add-config min.insync.replicas=2` sets it";
    assert_eq!(shown(&spec(), &state(&[3, 1, 3, 3], &config)), expected);
}

#[test]
fn partitions_are_never_taken_away() {
    let config = [("message.timestamp.type", "LogAppendTime"), ("min.insync.replicas", "2")];
    let expected = "names_topic: exists and differs, nothing was changed\n  \
                    partitions is 8, wanted 6: ask for 8: Kafka can't take partitions away";
    assert_eq!(shown(&spec(), &state(&[3; 8], &config)), expected);
}

#[test]
fn what_was_done_is_said_in_a_line() {
    let outcome = |result| Outcome { spec: spec(), result };
    let lines = [
        (
            EnsureResult::Created,
            "names_topic: created, partitions=6, replication=3, \
             message.timestamp.type=LogAppendTime, min.insync.replicas=2",
            true,
        ),
        (EnsureResult::AsWanted, "names_topic: exists, as wanted", true),
        (
            EnsureResult::LeftMissing,
            "names_topic: missing, not created because another topic differs",
            false,
        ),
    ];
    for (result, line, as_wanted) in lines {
        let outcome = outcome(result);
        assert_eq!((outcome.to_string().as_str(), outcome.is_as_wanted()), (line, as_wanted));
    }
}
