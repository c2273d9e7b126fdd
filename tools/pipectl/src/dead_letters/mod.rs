//! `dead-letters`: lists the messages that could not become rows, shows one of them, and sends them
//! back to the topic once what refused them is mended.
//!
//! Nothing here removes a letter: what has been replayed is recorded beside the dead-letter topic,
//! in a compacted topic of its own.

mod filter;
mod list;
mod replay;
mod show;

use std::fmt;
use std::path::PathBuf;

use crate::kafka::{ClusterError, KafkaConfig, ReplayError};

pub use filter::Filter;
pub use list::{Listed, Listing, ReasonCounts, Totals, list};
pub use replay::{HEADER_REPLAYED_FROM, Outcome, Preview, RefusedLetter, ReplayConfig, replay};
pub use show::{Bytes, Shown, show};

/// Whose dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LettersConfig {
    /// The brokers.
    pub kafka: KafkaConfig,
    /// The topic of the original messages.
    pub topic: String,
}

/// Why dead letters could not be looked at, or not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum LettersError {
    /// The brokers did not answer.
    #[error(transparent)]
    Kafka(#[from] ClusterError),
    /// A replay failed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The payload to send can't be read.
    #[error("can't read the payload from {}: {source}", path.display())]
    Payload {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// One payload can't stand for several messages, nor for none.
    #[error(
        "a payload file stands for one dead letter, and {selected} selected: name its coordinates"
    )]
    NotOne {
        /// `none is` or `several are`.
        selected: &'static str,
    },
    /// The task ended early.
    #[error("the task that asks the brokers ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// The note of how many letters were found again, if any were.
fn write_repeated(f: &mut fmt::Formatter<'_>, repeated: u64) -> fmt::Result {
    match repeated {
        0 => Ok(()),
        _ => writeln!(f, "note: {repeated} repetitions, written after crashes, are left out"),
    }
}
