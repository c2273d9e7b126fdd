//! `audit`.

use chunk_ledger::Layout;
use clap::Command;
use service_kit::config::{ConfigErrors, args, parse};

use super::settings::{GROUP, KAFKA, LOGS, PREFIX, STORE, TIMEOUT, TOPIC, topic_name};
use super::{Invocation, JSON, Source, Task, finish, flags, read_kafka, read_store, switch};
use crate::audit::AuditConfig;

const NO_KAFKA: &str = "no-kafka";
const DEEP: &str = "deep";
const EXPECT_DRAINED: &str = "expect-drained";

pub(super) fn command() -> Command {
    Command::new("audit")
        .about("Checks that every offset of the topic is stored exactly once")
        .after_help("Exit codes: 0 clean, 1 something was found, 2 the audit could not be made.")
        .args(args([&TOPIC, &GROUP]))
        .args(args(&KAFKA))
        .args(args(STORE.iter().chain([&PREFIX])))
        .args(flags([&TIMEOUT]))
        .args([
            switch(DEEP, "also read every object: its offsets, footer and schema"),
            switch(NO_KAFKA, "ask the store only: no commits, no lag, no dead letters"),
            switch(EXPECT_DRAINED, "a lag is a finding").conflicts_with(NO_KAFKA),
            switch(JSON, "print one JSON document"),
        ])
        .args(args(&LOGS))
}

pub(super) fn read(source: Source<'_>) -> Result<Invocation, ConfigErrors> {
    let settings = [&TOPIC, &GROUP, &TIMEOUT, &PREFIX].into_iter().chain(&KAFKA).chain(&STORE);
    let mut reader = source.reader(settings);
    let topic = reader.required("KAFKA_TOPIC", topic_name);
    let prefix = reader.optional("S3_PREFIX", parse::text);
    let store = read_store(&mut reader);
    let group = reader.required("KAFKA_GROUP_ID", parse::text);
    let kafka = match source.has(NO_KAFKA) {
        true => Some(None),
        false => read_kafka(&mut reader).map(Some),
    };
    finish(reader, || {
        let config = AuditConfig {
            store: store?,
            layout: Layout::new(&prefix?.unwrap_or_default(), &topic?),
            kafka: kafka?,
            group: group?,
            deep: source.has(DEEP),
            expect_drained: source.has(EXPECT_DRAINED),
        };
        Some(Task::Audit { config, json: source.has(JSON) })
    })
}
