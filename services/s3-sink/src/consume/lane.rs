//! One partition's lane: its ledger, the encoder of its open chunk, the upload that takes its
//! parts, and the dead letters that must be acknowledged before the chunk is stored. No Kafka, no
//! requests to S3.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunk_ledger::{
    Appended, Chunk, Limits, Mark, Offset, Partition, PartitionLedger, Verdict, WriterId,
};
use parquet::file::properties::WriterPropertiesPtr;
use pipeline_model::message::PersonRef;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::gap::LaneGaps;
use super::letters::Letters;
use crate::encode::{ChunkEncoder, Closed, EncodeError, EncodingThread, ROW_GROUP_BYTES_MIN};
use crate::store::Upload;

/// Memory is taken from the budget in steps of this many bytes, not for each message.
const RESERVATION_BYTES: u64 = 64 << 10;

/// What all lanes share.
#[derive(Debug, Clone)]
pub struct LaneConfig {
    /// When chunks are sealed.
    pub limits: Limits,
    /// Who we are.
    pub writer: WriterId,
    /// The topic.
    pub topic: Arc<str>,
    /// How Parquet is written.
    pub properties: WriterPropertiesPtr,
    /// Size of the parts in which an object is uploaded while its chunk fills; one that is no
    /// larger is created in one piece.
    pub part_bytes: usize,
    /// Encodes full row groups while the loop goes on, where there is a core for it.
    pub encoding: Option<EncodingThread>,
}

impl LaneConfig {
    fn encoder(&self) -> ChunkEncoder {
        ChunkEncoder::new(Arc::clone(&self.properties), self.part_bytes)
            .with_thread(self.encoding.clone())
    }
}

/// Tells one upload of this process from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadId(pub u64);

/// A chunk that was closed, on its way to the store.
#[derive(Debug)]
pub struct Sealed {
    /// The parts that were not sent yet, and the object's size.
    pub object: Closed,
    /// Where the other parts went, if there are any.
    pub upload: Option<(UploadId, Upload)>,
    /// Must be acknowledged first.
    pub letters: Letters,
}

/// The sealed chunk that is being stored.
#[derive(Debug)]
pub struct Storing {
    /// The task that stores it.
    pub task: AbortHandle,
    /// Its upload, if it is stored in parts.
    pub upload: Option<UploadId>,
}

/// The lane of one partition during one assignment.
pub struct Lane {
    config: LaneConfig,
    /// Tells late answers of an earlier assignment of the partition from ours.
    pub epoch: u64,
    /// The protocol's state.
    pub ledger: PartitionLedger,
    encoder: ChunkEncoder,
    letters: Letters,
    /// Where the open chunk's parts go, once there is one.
    pub upload: Option<(UploadId, Upload)>,
    /// Its sender is gone once what earlier owners left of their uploads is removed: ours begin
    /// after that.
    pub swept: watch::Receiver<()>,
    reserved_bytes: u64,
    /// Whether Kafka is told not to fetch the partition.
    pub paused: bool,
    /// The batch of messages during which the partition was last fetched anew.
    pub fetched_anew_in: Option<u64>,
    /// Takes no more messages: revoked, shutting down, or drained.
    pub leaving: bool,
    /// A drain is over for this partition at this offset.
    pub drain_until: Option<Offset>,
    /// Offsets without a message.
    pub gaps: LaneGaps,
    /// When to try again to have the partition fetched, after a failure.
    pub resume_not_before: Duration,
    /// Whether a fault of the ledger was made known.
    pub is_fault_reported: bool,
    /// The chunk that is being stored.
    pub storing: Option<Storing>,
}

impl Lane {
    /// A lane that has just been assigned.
    pub fn new(
        config: LaneConfig,
        epoch: u64,
        partition: Partition,
        position: Offset,
        committed: Option<Offset>,
        swept: watch::Receiver<()>,
    ) -> Self {
        let ledger =
            PartitionLedger::new(partition, config.writer, config.limits, position, committed);
        Self {
            encoder: config.encoder(),
            config,
            epoch,
            ledger,
            letters: Letters::default(),
            upload: None,
            swept,
            reserved_bytes: 0,
            paused: false,
            fetched_anew_in: None,
            leaving: false,
            drain_until: None,
            gaps: LaneGaps::default(),
            resume_not_before: Duration::ZERO,
            is_fault_reported: false,
            storing: None,
        }
    }

    /// Whether an answer from elsewhere will move the lane on, soon.
    pub fn is_waiting(&self) -> bool {
        let is_held = self.paused && !self.leaving && self.ledger.fault().is_none();
        is_held || self.ledger.storing().is_some()
    }

    /// The offset below which every message was offered, where below `taken` nothing is left to
    /// take: behind the last message there may be offsets without one.
    pub fn offered(&self, taken: Offset) -> Offset {
        let position = self.ledger.position();
        // While it is paused, messages are taken and dropped.
        if self.paused { position } else { taken.max(position) }
    }

    /// Offsets of a log with this end that wait to be stored. Where a transaction is open, the
    /// messages behind its begin are not taken before it ends: they wait, too.
    pub fn lag(&self, log_end: Offset, taken: Offset) -> u64 {
        let is_at_end = self.offered(taken) >= log_end;
        if is_at_end && self.ledger.is_stored() && self.ledger.fault().is_none() {
            return 0;
        }
        log_end.0.saturating_sub(self.ledger.stored_end().0).max(0).unsigned_abs()
    }

    /// Whether the lane takes messages now.
    pub fn is_accepting(&self) -> bool {
        !self.leaving && self.ledger.is_accepting()
    }

    /// Whether what is left of a batch was fetched before the lane went elsewhere, or went on:
    /// Kafka sends it again from the lane's position.
    pub fn is_stale(&self, batch: u64) -> bool {
        self.fetched_anew_in == Some(batch)
    }

    /// Asks the ledger about a message.
    pub fn offer(&mut self, mark: Mark, now: Duration) -> Verdict {
        if self.leaving { Verdict::Hold } else { self.ledger.offer(mark, now) }
    }

    /// Appends a row that the ledger let in; true if that closed a row group.
    pub fn append_row(&mut self, person: &PersonRef<'_>, mark: Mark) -> Result<bool, EncodeError> {
        let is_closed = self.encoder.append(person, self.ledger.partition(), mark)?;
        self.ledger.appended(Appended::Row, self.encoder.object_bytes());
        Ok(is_closed)
    }

    /// Appends a dead letter that the ledger let in.
    pub fn append_dead_letter(&mut self, letter: impl Future<Output = ()> + Send + 'static) {
        self.letters.send(letter);
        self.ledger.appended(Appended::Rejected, self.encoder.object_bytes());
    }

    /// Dead letters in the open chunk.
    pub fn dead_letters(&self) -> usize {
        self.letters.count()
    }

    /// Bytes to hold for the open chunk before `more` bytes are appended, if what is reserved
    /// does not cover them.
    pub fn reservation_for(&self, more: u64) -> Option<u64> {
        let needed = self.encoder.memory_bytes() + more;
        (needed > self.reserved_bytes).then(|| needed.next_multiple_of(RESERVATION_BYTES))
    }

    /// Bytes reserved for the open chunk.
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved_bytes
    }

    /// Notes what [`Lane::reservation_for`] asked for.
    pub fn reserve(&mut self, bytes: u64) {
        self.reserved_bytes = bytes;
    }

    /// Bytes of rows that could be compressed now, if it is worth while.
    pub fn compressible_bytes(&self) -> Option<u64> {
        Some(self.encoder.waiting_bytes()).filter(|bytes| *bytes >= ROW_GROUP_BYTES_MIN)
    }

    /// Compresses the rows that wait for their row group.
    pub fn compress(&mut self) -> Result<(), EncodeError> {
        self.encoder.close_row_group()
    }

    /// Whether rows of the open chunk are being compressed elsewhere, or were and are not taken
    /// back yet.
    pub fn is_encoding(&self) -> bool {
        self.encoder.is_encoding()
    }

    /// Waits until they are.
    pub fn finish_encoding(&mut self) -> Result<(), EncodeError> {
        self.encoder.finish_encoding()
    }

    /// Takes the parts of the open chunk that are full, and gives back what was reserved beyond
    /// the rest.
    pub fn take_parts(&mut self) -> Result<Vec<Bytes>, EncodeError> {
        let parts = self.encoder.take_parts()?;
        let needed = self.encoder.memory_bytes().next_multiple_of(RESERVATION_BYTES);
        self.reserved_bytes = self.reserved_bytes.min(needed);
        Ok(parts)
    }

    /// Closes the open chunk.
    pub fn close_chunk(&mut self, chunk: &Chunk) -> Result<Sealed, EncodeError> {
        let upload = self.upload.take();
        let (encoder, letters) = self.take_open();
        Ok(Sealed { object: encoder.close(&self.config.topic, chunk)?, upload, letters })
    }

    /// Forgets the open chunk.
    pub fn discard_chunk(&mut self) {
        self.upload = None;
        drop(self.take_open());
    }

    fn take_open(&mut self) -> (ChunkEncoder, Letters) {
        self.reserved_bytes = 0;
        let empty = self.config.encoder();
        (std::mem::replace(&mut self.encoder, empty), std::mem::take(&mut self.letters))
    }
}
