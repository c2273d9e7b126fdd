//! One budget for the memory of all open and storing chunks of a process.

use std::collections::BTreeMap;

use crate::Partition;

/// Bytes held by each partition: in its open chunk, and on their way to the store.
///
/// The rule is: append only what [`Budget::admits`]; where it does not, seal the chunk that
/// [`Budget::relief`] names and stop consuming until enough is released.
#[derive(Debug, Clone)]
pub struct Budget {
    bytes_max: u64,
    bytes: u64,
    leaving: u64,
    partitions: BTreeMap<Partition, Held>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// Of the open chunk, here.
    open: u64,
    /// Of the open chunk, on their way.
    parts: u64,
    /// Of the sealed chunk, while it is being stored: on their way.
    storing: Option<u64>,
}

impl Held {
    fn leaving(&self) -> u64 {
        self.parts + self.storing.unwrap_or(0)
    }

    fn bytes(&self) -> u64 {
        self.open + self.leaving()
    }
}

impl Budget {
    /// A budget of `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: 0, leaving: 0, partitions: BTreeMap::new() }
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

    /// Of these, the bytes that are on their way to the store: they leave memory by themselves.
    pub fn leaving(&self) -> u64 {
        self.leaving
    }

    /// The limit.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// The open chunk of `partition` now holds `bytes`.
    pub fn set_open(&mut self, partition: Partition, bytes: u64) {
        self.update(partition, |held| held.open = bytes);
    }

    /// `part` bytes of the open chunk are on their way to the store, and it holds `open` bytes
    /// besides: no more than before together.
    pub fn send_part(&mut self, partition: Partition, part: u64, open: u64) {
        self.update(partition, |held| (held.open, held.parts) = (open, held.parts + part));
    }

    /// `part` bytes of the open chunk have left memory.
    pub fn release_part(&mut self, partition: Partition, part: u64) {
        self.update(partition, |held| held.parts = held.parts.saturating_sub(part));
    }

    /// The open chunk of `partition` is gone from memory, and with it what was on its way.
    pub fn discard_open(&mut self, partition: Partition) {
        self.update(partition, |held| (held.open, held.parts) = (0, 0));
    }

    /// The open chunk of `partition` was sealed, and what it still held is on its way to the store
    /// as `bytes`: no more than it held.
    pub fn set_storing(&mut self, partition: Partition, bytes: u64) {
        self.update(partition, |held| {
            *held = Held { open: 0, parts: 0, storing: Some(held.parts + bytes) };
        });
    }

    /// `part` bytes of the sealed chunk have left memory.
    pub fn release_storing_part(&mut self, partition: Partition, part: u64) {
        self.update(partition, |held| {
            held.storing = held.storing.map(|storing| storing.saturating_sub(part));
        });
    }

    /// The chunk that was being stored is gone from memory.
    pub fn release_storing(&mut self, partition: Partition) {
        self.update(partition, |held| held.storing = None);
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
            self.partitions.iter().filter(|(_, held)| held.open > 0 && held.storing.is_none());
        candidates.max_by_key(|(_, held)| held.open).map(|(partition, _)| *partition)
    }

    fn update(&mut self, partition: Partition, change: impl FnOnce(&mut Held)) {
        let held = self.partitions.entry(partition).or_default();
        self.bytes -= held.bytes();
        self.leaving -= held.leaving();
        change(held);
        self.bytes += held.bytes();
        self.leaving += held.leaving();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Partition = Partition(0);
    const Q: Partition = Partition(1);

    #[test]
    fn what_is_on_its_way_counts_until_it_has_left() {
        let mut budget = Budget::new(100);
        budget.set_open(P, 60);
        budget.send_part(P, 40, 20);
        assert_eq!((budget.bytes(), budget.leaving()), (60, 40));
        budget.release_part(P, 40);
        budget.send_part(P, 10, 10);
        budget.set_storing(P, 8);
        assert_eq!((budget.bytes(), budget.leaving()), (18, 18), "parts and the rest");
        budget.set_open(P, 30);
        // A part of the sealed chunk, not of the one that is open behind it.
        budget.release_storing_part(P, 10);
        assert_eq!((budget.bytes(), budget.leaving()), (38, 8));
        budget.discard_open(P);
        assert_eq!((budget.bytes(), budget.leaving()), (8, 8));
        budget.release_storing(P);
        assert_eq!((budget.bytes(), budget.leaving()), (0, 0));
    }

    #[test]
    fn relief_comes_from_the_largest_chunk_that_can_be_stored_now() {
        let mut budget = Budget::new(100);
        assert_eq!(budget.relief(), None);
        budget.set_open(P, 60);
        budget.set_open(Q, 30);
        assert_eq!(budget.relief(), Some(P));
        budget.send_part(P, 40, 20);
        assert_eq!(budget.relief(), Some(Q), "what is on its way is no reason to seal");
        budget.set_storing(Q, 30);
        assert_eq!(budget.relief(), Some(P));
        budget.set_open(Q, 40);
        assert_eq!(budget.relief(), Some(P), "Q still stores its former chunk");
        budget.remove(P);
        assert_eq!(budget.relief(), None);
        assert!(budget.admits(30) && !budget.admits(31));
    }
}
