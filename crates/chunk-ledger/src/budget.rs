//! One budget for the memory of all open and storing chunks of a process.

use std::collections::BTreeMap;

use crate::Partition;

/// Bytes held by each partition's open chunk and by the chunk being stored.
///
/// The rule is: append only what [`Budget::admits`]; where it does not, seal the chunk that
/// [`Budget::relief`] names and stop consuming until enough is released.
#[derive(Debug, Clone)]
pub struct Budget {
    bytes_max: u64,
    bytes: u64,
    partitions: BTreeMap<Partition, Held>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    open: u64,
    storing: u64,
}

impl Budget {
    /// A budget of `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: 0, partitions: BTreeMap::new() }
    }

    /// Whether `more` bytes fit. With nothing held anything fits: one message that is larger than
    /// the whole budget must not block its partition for ever.
    pub fn admits(&self, more: u64) -> bool {
        self.bytes == 0 || self.bytes.saturating_add(more) <= self.bytes_max
    }

    /// Bytes held by all chunks.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The limit.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// The open chunk of `partition` now holds `bytes`.
    pub fn set_open(&mut self, partition: Partition, bytes: u64) {
        self.update(partition, |held| held.open = bytes);
    }

    /// The open chunk of `partition` was sealed into an object of `object_bytes`, which is being
    /// stored. The object may not be larger than what the open chunk held.
    pub fn set_storing(&mut self, partition: Partition, object_bytes: u64) {
        self.update(partition, |held| *held = Held { open: 0, storing: object_bytes });
    }

    /// The chunk that was being stored is gone from memory.
    pub fn release_storing(&mut self, partition: Partition) {
        self.update(partition, |held| held.storing = 0);
    }

    /// `partition` holds nothing any more.
    pub fn remove(&mut self, partition: Partition) {
        self.update(partition, |held| *held = Held::default());
        self.partitions.remove(&partition);
    }

    /// The partition with the largest open chunk among those that store nothing: sealing it frees
    /// the most, soonest.
    pub fn relief(&self) -> Option<Partition> {
        let candidates =
            self.partitions.iter().filter(|(_, held)| held.open > 0 && held.storing == 0);
        candidates.max_by_key(|(_, held)| held.open).map(|(partition, _)| *partition)
    }

    fn update(&mut self, partition: Partition, change: impl FnOnce(&mut Held)) {
        let held = self.partitions.entry(partition).or_default();
        self.bytes -= held.open + held.storing;
        change(held);
        self.bytes += held.open + held.storing;
    }
}
