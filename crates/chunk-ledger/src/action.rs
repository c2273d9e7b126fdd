//! What goes into a [`PartitionLedger`], and what comes out of it.
//!
//! [`PartitionLedger`]: crate::PartitionLedger

use std::time::Duration;

use crate::{Chunk, Day, Offset, SealReason};

/// When a chunk is sealed. Whichever limit is met first decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Size of the object, in bytes, as far as the caller can tell before it is closed.
    pub bytes_max: u64,
    /// Messages in the chunk, dead letters included.
    pub rows_max: u64,
    /// Time since the chunk's first message came.
    pub age_max: Duration,
}

/// What the caller has to do next for the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask the store which chunk lies at this key, and answer with [`probed`].
    ///
    /// [`probed`]: crate::PartitionLedger::probed
    Probe {
        /// The day in the key.
        day: Day,
        /// The start in the key.
        start: Offset,
    },
    /// Close the open chunk's encoder and create the object of `chunk`, on condition that there is
    /// none; answer with [`stored`]. Before that every dead letter of the chunk must be
    /// acknowledged.
    ///
    /// [`stored`]: crate::PartitionLedger::stored
    Store {
        /// The sealed chunk.
        chunk: Chunk,
        /// Why it was sealed.
        reason: SealReason,
    },
    /// Forget the open chunk and every message in hand, and consume from `offset` on.
    Seek {
        /// The next message wanted is the first at or behind this offset.
        offset: Offset,
    },
    /// Commit `offset` to the consumer group; answer with [`commit_done`].
    ///
    /// [`commit_done`]: crate::PartitionLedger::commit_done
    Commit {
        /// The next offset to consume, as Kafka counts commits.
        offset: Offset,
    },
}

/// The answer to a message that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Decode it, append it to the open chunk, and report with [`appended`].
    ///
    /// [`appended`]: crate::PartitionLedger::appended
    Append,
    /// Not now: pause the partition, and go on at its [`position`], with this message kept or
    /// fetched anew, once it [`is_accepting`].
    ///
    /// [`position`]: crate::PartitionLedger::position
    /// [`is_accepting`]: crate::PartitionLedger::is_accepting
    Hold,
}

/// What became of a message that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// A row.
    Row,
    /// A dead letter.
    Rejected,
}

/// How the conditional creation of a chunk's object ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// The object was created.
    Created,
    /// There was one already, with these facts.
    Exists(Chunk),
    /// There is none, and the bytes to create it are gone, such as parts that somebody removed:
    /// its messages must be read again. Should the object appear all the same, because a request
    /// that was given up arrives late, then whoever comes to its key next finds it.
    Lost,
}
