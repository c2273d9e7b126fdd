//! The bytes of an object in the making, cut into parts of one size.

use std::io::{self, Write};

use bytes::Bytes;

/// The share of the bytes by which room is made ahead of them.
const GROWTH_SHARE: usize = 4;

/// Takes bytes and cuts them into parts of `part_bytes` each. The size is exact because some
/// stores want every part but the last to be of the same one.
#[derive(Debug)]
pub(super) struct Parts {
    part_bytes: usize,
    full: Vec<Bytes>,
    filling: Vec<u8>,
    /// In parts that were taken.
    taken_bytes: u64,
}

impl Parts {
    pub(super) fn new(part_bytes: usize) -> Self {
        Self { part_bytes, full: Vec::new(), filling: Vec::new(), taken_bytes: 0 }
    }

    /// Bytes that were written and not taken.
    pub(super) fn held_bytes(&self) -> u64 {
        let full: usize = self.full.iter().map(Bytes::len).sum();
        (full + self.filling.len()) as u64
    }

    /// The most memory that these bytes take: room is made ahead of them.
    pub(super) fn memory_bytes(&self) -> u64 {
        let filling = self.filling.len();
        let ahead = (filling / GROWTH_SHARE).min(self.part_bytes - filling);
        self.held_bytes() + ahead as u64
    }

    /// Takes the parts that are full.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        let full = std::mem::take(&mut self.full);
        self.taken_bytes += full.iter().map(|part| part.len() as u64).sum::<u64>();
        full
    }

    /// Takes everything that is left, the last part included, and tells how many bytes were
    /// written in all.
    pub(super) fn finish(mut self) -> (Vec<Bytes>, u64) {
        let bytes = self.taken_bytes + self.held_bytes();
        if !self.filling.is_empty() {
            self.filling.shrink_to_fit();
            self.full.push(self.filling.into());
        }
        (self.full, bytes)
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.part_bytes - self.filling.len());
        let needed = self.filling.len() + taken;
        if needed > self.filling.capacity() {
            // Less than the doubling of a `Vec`, which is memory in each of many open chunks.
            let capacity = (needed + needed / GROWTH_SHARE).min(self.part_bytes);
            self.filling.reserve_exact(capacity - self.filling.len());
        }
        self.filling.extend_from_slice(&bytes[..taken]);
        if self.filling.len() == self.part_bytes {
            self.full.push(std::mem::take(&mut self.filling).into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_of_one_size_and_hold_what_was_written(
            part_bytes in 1..50_usize,
            writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 0..20),
        ) {
            let (mut parts, mut taken) = (Parts::new(part_bytes), Vec::new());
            let written = writes.concat();
            for (count, write) in writes.iter().enumerate() {
                parts.write_all(write).unwrap();
                if count % 3 == 0 {
                    taken.extend(parts.take());
                }
                let taken: usize = taken.iter().map(Bytes::len).sum();
                let so_far: usize = writes[..=count].iter().map(Vec::len).sum();
                prop_assert_eq!(parts.held_bytes() as usize, so_far - taken);
                let allocated = parts.full.iter().map(Bytes::len).sum::<usize>() + parts.filling.capacity();
                // An allocation of a few bytes is rounded up.
                prop_assert!(allocated as u64 <= parts.memory_bytes() + 8);
            }
            let (rest, bytes) = parts.finish();
            taken.extend(rest);
            prop_assert_eq!(bytes as usize, written.len());
            prop_assert_eq!(taken.concat(), written);
            for part in taken.iter().rev().skip(1) {
                prop_assert_eq!(part.len(), part_bytes);
            }
            prop_assert!(taken.last().is_none_or(|last| (1..=part_bytes).contains(&last.len())));
        }
    }
}
