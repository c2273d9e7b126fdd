//! Offsets that a chunk counts as gaps, held against Kafka: where it has a message, the chunk lost
//! it. Compaction, aborted transactions and retention leave gaps without one.

use std::collections::BTreeMap;

use chunk_ledger::{Chunk, Offset, OffsetRange, Partition};

use super::check::{Dropped, KafkaFacts};
use crate::kafka::{Cluster, ClusterError};

/// Ranges remembered, 24 bytes each. A compacted topic may have any number of them.
const RANGES_MAX: usize = 1_000_000;

/// The gaps of all chunks.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    chunks: Vec<GapsOf>,
    ranges: BTreeMap<Partition, Vec<Gap>>,
    count: usize,
    /// Whether there were more than are remembered.
    pub(super) truncated: bool,
}

#[derive(Debug)]
struct GapsOf {
    partition: Partition,
    key: String,
    count: u64,
    first: Option<Offset>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Gap {
    range: OffsetRange,
    /// Index of the chunk.
    chunk: usize,
}

impl Gaps {
    /// Remembers what is `missing` in `chunk`, as far as Kafka can still know.
    pub(super) fn add(
        &mut self,
        key: &str,
        chunk: &Chunk,
        missing: &[OffsetRange],
        kafka: &KafkaFacts,
    ) {
        let Some(offsets) = kafka.partitions.get(&chunk.partition) else { return };
        let letters = &kafka.dead_letters;
        let known = letters.letters(chunk.partition, chunk.range).count() as u64;
        if letters.exists && !letters.complete && known < chunk.rejected {
            // Some of it are rejects whose letters are gone: Kafka has their messages, rightly.
            return;
        }
        let (partition, index) = (chunk.partition, self.chunks.len());
        self.chunks.push(GapsOf { partition, key: key.to_owned(), count: 0, first: None });
        let ranges = self.ranges.entry(partition).or_default();
        for range in missing {
            let range = OffsetRange { start: range.start.max(offsets.log.start), ..*range };
            if range.is_empty() {
                continue;
            }
            if self.count >= RANGES_MAX {
                self.truncated = true;
                return;
            }
            self.count += 1;
            ranges.push(Gap { range, chunk: index });
        }
    }

    /// Asks Kafka. Blocks.
    pub(super) fn ask(
        mut self,
        cluster: &Cluster,
        topic: &str,
        on_message: impl Fn(),
    ) -> Result<Vec<Dropped>, ClusterError> {
        self.ranges.values_mut().for_each(|ranges| ranges.sort_unstable());
        let wanted = self.ranges.iter().map(|(partition, gaps)| {
            (*partition, gaps.iter().map(|gap| gap.range).collect::<Vec<_>>())
        });
        let wanted = wanted.collect();
        cluster.visit_offsets(topic, &wanted, |partition, offset| {
            on_message();
            self.see(partition, offset);
        })?;
        Ok(self.dropped())
    }

    /// Kafka has a message at `offset`.
    fn see(&mut self, partition: Partition, offset: Offset) {
        let gaps = self.ranges.get(&partition).map_or(&[][..], Vec::as_slice);
        let behind = gaps.partition_point(|gap| gap.range.start <= offset);
        if let Some(gap) = behind.checked_sub(1).and_then(|index| gaps.get(index))
            && offset < gap.range.end
            && let Some(chunk) = self.chunks.get_mut(gap.chunk)
        {
            chunk.count += 1;
            chunk.first.get_or_insert(offset);
        }
    }

    fn dropped(self) -> Vec<Dropped> {
        let chunks = self.chunks.into_iter();
        chunks
            .filter_map(|GapsOf { partition, key, count, first }| {
                Some(Dropped { partition, key, count, first: first? })
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "gaps_tests.rs"]
mod tests;
