//! `dead-letters list`, `show` and `replay`.

use std::path::PathBuf;

use chunk_ledger::Partition;
use clap::{Arg, ArgAction, ArgGroup, Command, value_parser};
use service_kit::config::{ConfigErrors, Reader, Setting, args, parse};

use super::filters::{offsets, time};
use super::settings::{
    FROM, KAFKA, LIMIT, LOGS, OFFSET, PARTITION, REASON, TIMEOUT, TO, TOPIC, topic_name,
};
use super::{
    Invocation, JSON, ShowAs, Source, Task, finish, flags, read_kafka, read_limit, switch,
};
use crate::coordinates::Coordinates;
use crate::dead_letters::{Filter, LettersConfig, ReplayConfig};

const COORDINATES: &str = "coordinates";
const RAW: &str = "raw";
const ALL: &str = "all";
const DRY_RUN: &str = "dry-run";
const PAYLOAD_FILE: &str = "payload-file";

static FILTER: [&Setting; 6] = [&PARTITION, &OFFSET, &REASON, &FROM, &TO, &LIMIT];

pub(super) fn command() -> Command {
    Command::new("dead-letters")
        .about("Messages that could not become rows")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list())
        .subcommand(show())
        .subcommand(replay())
}

fn list() -> Command {
    with_kafka(Command::new("list"))
        .about("Lists dead letters, and how many there are for each reason")
        .args(flags(FILTER))
        .arg(coordinates(0))
        .arg(switch(JSON, "print one JSON document"))
}

fn show() -> Command {
    with_kafka(Command::new("show"))
        .about("Shows a dead letter with its headers and its payload")
        .after_help("Exit codes: 0 shown, 1 there is no such letter, 2 it could not be looked for.")
        .arg(coordinates(1).required(true))
        .args([
            switch(JSON, "print one JSON document").conflicts_with(RAW),
            switch(RAW, "write the payload, and nothing else, as it is"),
        ])
}

fn replay() -> Command {
    let payload = Arg::new(PAYLOAD_FILE)
        .long(PAYLOAD_FILE)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("send the bytes of FILE instead of the payload of the one letter selected");
    let selected = FILTER.iter().map(|setting| setting.name).filter(|name| *name != LIMIT.name);
    with_kafka(Command::new("replay"))
        .about("Sends dead letters back to the topic, each once")
        .long_about(
            "Sends dead letters back to the topic, each once, with their own key, payload and \
             headers, to the partition that they came from; the header `replayed-from` names \
             where they lay. What has been sent is recorded in {topic}.dlq.replayed in the same \
             transaction: the same command again, even after a kill, sends what is left. A new \
             replay ends one that is under way.",
        )
        .after_help(
            "Exit codes: 0 everything selected is sent, 1 some letters were not accepted, or a \
             signal came, 2 it failed.",
        )
        .args(flags(FILTER))
        .arg(coordinates(0))
        .args([
            switch(ALL, "select every dead letter"),
            switch(DRY_RUN, "say what would be sent, and send nothing"),
            switch(JSON, "print one JSON document"),
        ])
        .arg(payload)
        .group(
            ArgGroup::new("selection")
                .args(selected.chain([COORDINATES, ALL]))
                .required(true)
                .multiple(true),
        )
}

pub(super) fn read_list(source: Source<'_>) -> Result<Invocation, ConfigErrors> {
    let mut reader = source.reader(settings().chain(FILTER));
    let letters = read_letters(&mut reader);
    let (filter, limit) = (read_filter(&mut reader, source), read_limit(&mut reader));
    finish(reader, || {
        let json = source.has(JSON);
        Some(Task::ListLetters { config: letters?, filter: filter?, limit: limit?, json })
    })
}

pub(super) fn read_show(source: Source<'_>) -> Result<Invocation, ConfigErrors> {
    let mut reader = source.reader(settings());
    let letters = read_letters(&mut reader);
    finish(reader, || {
        let output = match (source.has(JSON), source.has(RAW)) {
            (true, _) => ShowAs::Json,
            (_, true) => ShowAs::Raw,
            _ => ShowAs::Text,
        };
        let origin = read_coordinates(source).next()?;
        Some(Task::ShowLetter { config: letters?, origin, output })
    })
}

pub(super) fn read_replay(source: Source<'_>) -> Result<Invocation, ConfigErrors> {
    let mut reader = source.reader(settings().chain(FILTER));
    let letters = read_letters(&mut reader);
    let (filter, limit) = (read_filter(&mut reader, source), read_limit(&mut reader));
    finish(reader, || {
        let config = ReplayConfig {
            letters: letters?,
            filter: filter?,
            limit: limit?,
            dry_run: source.has(DRY_RUN),
            payload: source.matches.get_one::<PathBuf>(PAYLOAD_FILE).cloned(),
        };
        Some(Task::ReplayLetters { config, json: source.has(JSON) })
    })
}

fn with_kafka(command: Command) -> Command {
    command.args(args([&TOPIC])).args(args(&KAFKA)).args(flags([&TIMEOUT])).args(args(&LOGS))
}

fn settings() -> impl Iterator<Item = &'static Setting> {
    [&TOPIC, &TIMEOUT].into_iter().chain(&KAFKA)
}

fn coordinates(at_most: usize) -> Arg {
    let arg = Arg::new(COORDINATES)
        .value_name("PARTITION+OFFSET")
        .value_parser(|text: &str| text.parse::<Coordinates>());
    match at_most {
        1 => arg.help("where the original message lay, such as 3+120"),
        _ => arg
            .action(ArgAction::Append)
            .num_args(0..)
            .help("where the original messages lay, such as 3+120; any place if left out"),
    }
}

fn read_coordinates(source: Source<'_>) -> impl Iterator<Item = Coordinates> {
    source.matches.get_many::<Coordinates>(COORDINATES).into_iter().flatten().copied()
}

fn read_letters(reader: &mut Reader) -> Option<LettersConfig> {
    let topic = reader.required(TOPIC.name, topic_name);
    let kafka = read_kafka(reader);
    Some(LettersConfig { kafka: kafka?, topic: topic? })
}

fn read_filter(reader: &mut Reader, source: Source<'_>) -> Option<Filter> {
    let partition = reader.optional(PARTITION.name, parse::integer(0..=i32::MAX));
    let offsets = reader.optional(OFFSET.name, offsets);
    let reason = reader.optional(REASON.name, parse::text);
    let from = reader.optional(FROM.name, time);
    let to = reader.optional(TO.name, time);
    Some(Filter {
        coordinates: read_coordinates(source).collect(),
        partition: partition?.map(Partition),
        offsets: offsets?,
        reason: reason?,
        from: from?,
        to: to?,
    })
}
