//! `topics ensure`.

use clap::Command;
use pipeline_model::dead_letter;
use service_kit::config::{ConfigErrors, args, parse};

use super::settings::{KAFKA, LOGS, RUNS_TOPIC, TIMEOUT, TOPIC, TOPIC_SHAPE, topic_name};
use super::{Invocation, Source, Task, finish, flags, read_kafka};
use crate::kafka::replayed_topic_of;
use crate::topics::{EnsureConfig, TopicSpec};

pub(super) fn command() -> Command {
    let ensure = Command::new("ensure")
        .about("Creates the pipeline's topics, or names how they differ from what is wanted")
        .long_about(
            "Creates the topic, its dead-letter topic, the record of what of that was replayed, \
             and the topic of the ingestor's run history, or names how they differ from what is wanted. Waits for the brokers, and \
             for as many of them as there are to be replicas.",
        )
        .args(args([&TOPIC, &RUNS_TOPIC]))
        .args(args(&KAFKA))
        .args(flags(TOPIC_SHAPE.iter().chain([&TIMEOUT])))
        .args(args(&LOGS));
    Command::new("topics")
        .about("Topics of the pipeline")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(ensure)
}

pub(super) fn read(source: Source<'_>) -> Result<Invocation, ConfigErrors> {
    let topics = [&TOPIC, &RUNS_TOPIC].into_iter();
    let mut reader = source.reader(topics.chain(&KAFKA).chain(&TOPIC_SHAPE).chain([&TIMEOUT]));
    let topic = reader.required("KAFKA_TOPIC", topic_name);
    let runs = reader.required("RUNS_TOPIC", topic_name);
    let partitions = reader.required("PARTITIONS", parse::integer(1..=100_000));
    let replication = reader.required("REPLICATION", parse::integer(1..=100));
    let min_insync = reader.required("MIN_INSYNC_REPLICAS", parse::integer(1..=100));
    let letters = reader.required("DEAD_LETTER_PARTITIONS", parse::integer(1..=100_000));
    if let (Some(replication), Some(min_insync)) = (replication, min_insync)
        && min_insync > replication
    {
        let problem = format!("expected at most the replication, which is {replication}");
        reader.refuse("MIN_INSYNC_REPLICAS", &problem);
    }
    if let (Some(topic), Some(runs)) = (&topic, &runs)
        && [topic.clone(), dead_letter::topic_of(topic), replayed_topic_of(topic)].contains(runs)
    {
        reader.refuse("RUNS_TOPIC", "expected a topic of its own, this one is taken");
    }
    let kafka = read_kafka(&mut reader);
    finish(reader, || {
        let (topic, replication, min_insync) = (topic?, replication?, min_insync?);
        let spec =
            |name: String, partitions| TopicSpec::new(name, partitions, replication, min_insync);
        let letters = spec(dead_letter::topic_of(&topic), letters?).for_dead_letters();
        let replayed = spec(replayed_topic_of(&topic), 1).compacted();
        let runs = spec(runs?, 1).compacted();
        let topics = vec![spec(topic, partitions?), letters, replayed, runs];
        Some(Task::EnsureTopics(EnsureConfig { kafka: kafka?, topics }))
    })
}
