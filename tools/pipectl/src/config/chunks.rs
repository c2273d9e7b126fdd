//! `chunks`.

use chunk_ledger::{Layout, Partition};
use clap::Command;
use service_kit::config::{ConfigErrors, Setting, args, parse};

use super::filters::{day, offsets, time};
use super::settings::{
    DATE, FROM, LIMIT, LOGS, OFFSET, PARTITION, PREFIX, STORE, TO, TOPIC, topic_name,
};
use super::{Invocation, JSON, Source, Task, finish, flags, read_limit, read_store, switch};
use crate::chunks::{ChunkFilter, ChunksConfig};

static FILTER: [&Setting; 6] = [&PARTITION, &DATE, &OFFSET, &FROM, &TO, &LIMIT];

pub(super) fn command() -> Command {
    Command::new("chunks")
        .about("Lists what is stored: chunks with their offsets, rows, bytes and times")
        .args(args([&TOPIC]))
        .args(args(STORE.iter().chain([&PREFIX])))
        .args(flags(FILTER))
        .arg(switch(JSON, "print one JSON document"))
        .args(args(&LOGS))
}

pub(super) fn read(source: Source<'_>) -> Result<Invocation, ConfigErrors> {
    let settings = [&TOPIC, &PREFIX].into_iter().chain(&STORE).chain(FILTER);
    let mut reader = source.reader(settings);
    let topic = reader.required(TOPIC.name, topic_name);
    let prefix = reader.optional(PREFIX.name, parse::text);
    let store = read_store(&mut reader);
    let partition = reader.optional(PARTITION.name, parse::integer(0..=i32::MAX));
    let day = reader.optional(DATE.name, day);
    let offsets = reader.optional(OFFSET.name, offsets);
    let from = reader.optional(FROM.name, time);
    let to = reader.optional(TO.name, time);
    let limit = read_limit(&mut reader);
    finish(reader, || {
        let config = ChunksConfig {
            store: store?,
            layout: Layout::new(&prefix?.unwrap_or_default(), &topic?),
            filter: ChunkFilter {
                partition: partition?.map(Partition),
                day: day?,
                offsets: offsets?,
                from: from?,
                to: to?,
            },
            limit: limit?,
        };
        Some(Task::ListChunks { config, json: source.has(JSON) })
    })
}
