//! Why a partition stops: what the ledger refuses to decide alone.

use crate::{Offset, OffsetRange, Partition};

/// Why a partition stopped. Nothing was skipped or overwritten; somebody has to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// The message at a chunk's first offset is not the one that the stored chunk began with.
    #[error(
        "partition {partition}: the topic was created anew: the stored chunk {start}..{end} began with a message of \
         timestamp {stored} ms at offset {offset}, but Kafka now has one of {found} ms there; \
         give the sink another S3_PREFIX, or move the old objects away"
    )]
    TopicRecreated {
        /// The partition.
        partition: Partition,
        /// Start of the stored chunk.
        start: Offset,
        /// End of the stored chunk.
        end: Offset,
        /// Offset of the message that differs.
        offset: Offset,
        /// Its timestamp in the stored chunk, in ms.
        stored: i64,
        /// Its timestamp in Kafka, in ms.
        found: i64,
    },
    /// Kafka gave a message from before the position.
    #[error(
        "partition {partition}: Kafka gave offset {offset} although everything below {position} is stored: the topic \
         was created anew or truncated; give the sink another S3_PREFIX and another KAFKA_GROUP_ID"
    )]
    OffsetWentBack {
        /// The partition.
        partition: Partition,
        /// The lowest offset that could come.
        position: Offset,
        /// The offset that came.
        offset: Offset,
    },
    /// The position lies behind the end of the log.
    #[error(
        "partition {partition}: everything below offset {position} is stored, but Kafka's log ends at {log_end}: the \
         topic was created anew or truncated; give the sink another S3_PREFIX and another KAFKA_GROUP_ID"
    )]
    BeyondLogEnd {
        /// The partition.
        partition: Partition,
        /// Where consuming would go on.
        position: Offset,
        /// The next offset that Kafka would write.
        log_end: Offset,
    },
    /// The object at a chunk's key has no metadata of a chunk.
    #[error(
        "partition {partition}: an object that is no chunk lies where the chunk that starts at {start} belongs: it was \
         written by something else or copied without its metadata; move it away"
    )]
    UnreadableChunk {
        /// The partition.
        partition: Partition,
        /// The start in the key.
        start: Offset,
    },
    /// The object at a chunk's key describes another chunk.
    #[error(
        "partition {partition}: the object of the chunk that starts at {start} describes offsets {found} of partition \
         {found_partition}: it was copied or renamed by hand; move it away"
    )]
    ForeignChunk {
        /// The partition.
        partition: Partition,
        /// The start in the key.
        start: Offset,
        /// The range in the metadata.
        found: OffsetRange,
        /// The partition in the metadata.
        found_partition: Partition,
    },
}
