//! `bucket ensure`.

use clap::Command;
use service_kit::config::{ConfigErrors, args};

use super::settings::{LOGS, STORE, TIMEOUT};
use super::{Invocation, Source, Task, finish, flags, read_store, read_timeout};
use crate::bucket::EnsureBucketConfig;

pub(super) fn command() -> Command {
    let ensure = Command::new("ensure")
        .about("Creates the bucket if it is not there")
        .long_about("Creates the bucket if it is not there. Waits for the store to answer.")
        .args(args(&STORE))
        .args(flags([&TIMEOUT]))
        .args(args(&LOGS));
    Command::new("bucket")
        .about("The bucket of the chunks")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(ensure)
}

pub(super) fn read(source: Source<'_>) -> Result<Invocation, ConfigErrors> {
    let mut reader = source.reader(STORE.iter().chain([&TIMEOUT]));
    let store = read_store(&mut reader);
    let timeout = read_timeout(&mut reader);
    finish(reader, || {
        Some(Task::EnsureBucket(EnsureBucketConfig { store: store?, timeout: timeout? }))
    })
}
