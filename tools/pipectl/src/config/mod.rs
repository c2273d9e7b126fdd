//! The command line, the environment and every default. The only place that reads the environment.

mod audit;
mod bucket;
mod chunks;
mod dead_letters;
mod filters;
mod settings;
mod topics;

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use service_kit::config::{ConfigErrors, LOG_FORMAT, LOG_LEVEL, Reader, Setting, parse};
use service_kit::log;

use self::settings::{LIMIT, LOGS, is_flag_only};
use crate::audit::AuditConfig;
use crate::bucket::EnsureBucketConfig;
use crate::chunks::ChunksConfig;
use crate::coordinates::Coordinates;
use crate::dead_letters::{Filter, LettersConfig, ReplayConfig};
use crate::kafka::KafkaConfig;
use crate::store::StoreConfig;
use crate::topics::EnsureConfig;

const JSON: &str = "json";

/// What the process was asked to do, and how it logs meanwhile.
#[derive(Debug)]
pub struct Invocation {
    /// What to do.
    pub task: Task,
    /// How log lines look.
    pub log_format: log::Format,
    /// What is logged.
    pub log_filter: log::Filter,
}

/// One subcommand with all that it needs to know.
#[derive(Debug)]
pub enum Task {
    /// `topics ensure`.
    EnsureTopics(EnsureConfig),
    /// `bucket ensure`.
    EnsureBucket(EnsureBucketConfig),
    /// `audit`.
    Audit {
        /// What to audit.
        config: AuditConfig,
        /// Print one JSON document instead of tables.
        json: bool,
    },
    /// `chunks`.
    ListChunks {
        /// Which.
        config: ChunksConfig,
        /// Print one JSON document instead of a table.
        json: bool,
    },
    /// `dead-letters list`.
    ListLetters {
        /// Whose.
        config: LettersConfig,
        /// Which of them.
        filter: Filter,
        /// How many of them at most.
        limit: usize,
        /// Print one JSON document instead of a table.
        json: bool,
    },
    /// `dead-letters show`.
    ShowLetter {
        /// Whose.
        config: LettersConfig,
        /// Where the original message lay.
        origin: Coordinates,
        /// How to print it.
        output: ShowAs,
    },
    /// `dead-letters replay`.
    ReplayLetters {
        /// Which, and how.
        config: ReplayConfig,
        /// Print one JSON document instead of text.
        json: bool,
    },
}

/// How a dead letter is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowAs {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// The payload alone, as it is.
    Raw,
}

/// The command line.
pub fn command() -> Command {
    Command::new("pipectl")
        .about("Looks after the pipeline's topics and chunks")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(topics::command())
        .subcommand(bucket::command())
        .subcommand(audit::command())
        .subcommand(chunks::command())
        .subcommand(dead_letters::command())
}

/// Reads the settings of the subcommand in `matches`, which must come from [`command`]; every
/// mistake is reported at once.
pub fn read(
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation, ConfigErrors> {
    let (words, matches) = innermost(matches);
    let source = Source { matches, environment: &environment };
    // clap lets no other subcommand through.
    match words.as_slice() {
        ["topics", ..] => topics::read(source),
        ["bucket", ..] => bucket::read(source),
        ["chunks"] => chunks::read(source),
        ["dead-letters", "list"] => dead_letters::read_list(source),
        ["dead-letters", "show"] => dead_letters::read_show(source),
        ["dead-letters", ..] => dead_letters::read_replay(source),
        _ => audit::read(source),
    }
}

/// Where settings come from.
#[derive(Clone, Copy)]
struct Source<'a> {
    matches: &'a ArgMatches,
    environment: &'a dyn Fn(&str) -> Option<OsString>,
}

impl Source<'_> {
    /// Reads `settings` and those of the logs.
    fn reader(self, settings: impl IntoIterator<Item = &'static Setting>) -> Reader {
        Reader::new(settings.into_iter().chain(&LOGS), self.matches, |name| {
            if is_flag_only(name) { None } else { (self.environment)(name) }
        })
    }

    fn has(self, switch: &str) -> bool {
        self.matches.get_flag(switch)
    }
}

/// The names of the subcommands, and what the last one was given.
fn innermost(matches: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let mut words = Vec::new();
    let mut matches = matches;
    while let Some((word, inner)) = matches.subcommand() {
        words.push(word);
        matches = inner;
    }
    (words, matches)
}

/// Reads the settings of the logs, and makes an invocation of the task, unless something is wrong.
fn finish(
    mut reader: Reader,
    task: impl FnOnce() -> Option<Task>,
) -> Result<Invocation, ConfigErrors> {
    let logs = read_logs(&mut reader);
    reader.finish(|| {
        let (log_format, log_filter) = logs?;
        Some(Invocation { task: task()?, log_format, log_filter })
    })
}

fn read_kafka(reader: &mut Reader) -> Option<KafkaConfig> {
    let bootstrap_servers = reader.required("KAFKA_BOOTSTRAP_SERVERS", parse::text);
    let properties = reader.optional("KAFKA_CONFIG", parse::key_values);
    let timeout = read_timeout(reader);
    Some(KafkaConfig {
        bootstrap_servers: bootstrap_servers?,
        properties: properties?.unwrap_or_default(),
        timeout: timeout?,
    })
}

fn read_timeout(reader: &mut Reader) -> Option<Duration> {
    reader.required("TIMEOUT", parse::duration(Duration::from_secs(1)..=Duration::from_secs(3600)))
}

fn read_limit(reader: &mut Reader) -> Option<usize> {
    Some(reader.optional(LIMIT.name, parse::integer(1..=usize::MAX))?.unwrap_or(usize::MAX))
}

fn read_store(reader: &mut Reader) -> Option<StoreConfig> {
    let bucket = reader.required("S3_BUCKET", parse::text);
    let own = reader.optional("AWS_ENDPOINT_URL_S3", parse::url(&["http", "https"]));
    let shared = reader.optional("AWS_ENDPOINT_URL", parse::url(&["http", "https"]));
    let force_path_style = reader.optional("S3_FORCE_PATH_STYLE", parse::boolean);
    let (own, shared) = (own?, shared?);
    let endpoint = own.or(shared);
    Some(StoreConfig {
        bucket: bucket?,
        force_path_style: force_path_style?.unwrap_or(endpoint.is_some()),
        endpoint,
    })
}

fn read_logs(reader: &mut Reader) -> Option<(log::Format, log::Filter)> {
    let formats = [("json", log::Format::Json), ("text", log::Format::Text)];
    let format = reader.required(LOG_FORMAT.name, parse::one_of(&formats));
    let filter = reader.required(LOG_LEVEL.name, parse::log_filter);
    Some((format?, filter?))
}

/// Flags for settings that no variable sets.
fn flags(settings: impl IntoIterator<Item = &'static Setting>) -> impl Iterator<Item = Arg> {
    settings.into_iter().map(|setting| {
        let default = setting.default.map(|value| format!(" [default: {value}]"));
        Arg::new(setting.name)
            .long(setting.flag())
            .value_name("VALUE")
            .allow_hyphen_values(true)
            .help(format!("{}{}", setting.help, default.unwrap_or_default()))
    })
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

#[cfg(test)]
mod tests;
