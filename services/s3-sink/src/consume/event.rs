//! What the loop waits for, as one closed enum.

use chunk_ledger::{Chunk, Partition, SealReason, StoreOutcome};
use rdkafka::error::KafkaResult;

use super::{Commit, Gap, GroupEvent, Resume, UploadId, Watermarks};
use crate::store::{Found, UnreadableObject};

/// Everything that can happen to the loop besides a message.
#[derive(Debug)]
pub enum Event {
    /// The consumer group.
    Group(GroupEvent),
    /// Where to begin with the partitions of an assignment.
    Resolved {
        /// The assignment asked for.
        epoch: u64,
        /// The answer of the brokers.
        points: KafkaResult<Vec<Resume>>,
    },
    /// The ends of a log, asked because offsets were missing.
    GapExplained {
        /// The partition.
        partition: Partition,
        /// Its assignment.
        epoch: u64,
        /// The missing offsets.
        gap: Gap,
        /// The answer of the brokers.
        watermarks: KafkaResult<Watermarks>,
    },
    /// How far the group has come with the partitions that are not ours.
    Progress {
        /// The answer of the brokers.
        points: KafkaResult<Vec<Resume>>,
    },
    /// What lies at the key of the next chunk.
    Probed {
        /// The partition.
        partition: Partition,
        /// Its assignment.
        epoch: u64,
        /// The answer of the store.
        found: Found,
    },
    /// A part of a chunk is stored, and out of memory.
    PartStored {
        /// The partition.
        partition: Partition,
        /// Which upload.
        upload: UploadId,
        /// Size of the part.
        bytes: u64,
    },
    /// An upload can't be completed any more.
    UploadLost {
        /// The partition.
        partition: Partition,
        /// Which upload.
        upload: UploadId,
    },
    /// Whether a chunk's object is created was decided.
    Stored {
        /// Its assignment.
        epoch: u64,
        /// The chunk.
        chunk: Chunk,
        /// Why it was sealed.
        reason: SealReason,
        /// Size of the object.
        object_bytes: u64,
        /// The decision of the store.
        outcome: Result<StoreOutcome, UnreadableObject>,
    },
    /// A commit ended.
    CommitDone {
        /// What was committed.
        commit: Commit,
        /// Or why not.
        outcome: Result<(), String>,
    },
    /// A task ended in a way that must not happen.
    Broken(String),
}
