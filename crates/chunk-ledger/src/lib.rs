//! The chunk protocol as a pure state machine: it decides when a chunk is sealed, under which key
//! it is stored, whether a partition adopts what another writer stored, and what is committed.
//!
//! A *chunk* is a half-open offset range of one partition that becomes one object. Objects are
//! created conditionally, so exactly one writer can create the chunk that starts at an offset;
//! whoever loses adopts the winner's end and goes on from there. The chunks of a partition
//! therefore form one chain without gap or overlap, whatever crashes, pauses, or believes that it
//! still owns the partition. The commit to the consumer group only says where to resume.
//!
//! Inputs and a `now` go in, [`Action`]s come out. No I/O, no clock, no async, no payloads:
//! [`PartitionLedger`] is what the property tests and the exhaustive model drive, and what the
//! sink runs. [`invariants`] names what must always hold, once, for tests, model and audit.

mod action;
mod budget;
mod chunk;
mod fault;
pub mod invariants;
mod layout;
mod ledger;
mod metadata;
mod units;

pub use action::{Action, Appended, Limits, StoreOutcome, Verdict};
pub use budget::Budget;
pub use chunk::{Chunk, Opening, SealReason, WriterId};
pub use fault::Fault;
pub use layout::{Layout, ObjectName};
pub use ledger::PartitionLedger;
pub use metadata::{
    Described, FOOTER_PREFIX, MetadataError, describe, from_footer, from_metadata,
    opening_to_metadata, to_metadata,
};
pub use units::{Day, Mark, Offset, OffsetRange, Partition, Timestamp};
