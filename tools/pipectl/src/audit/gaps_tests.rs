use chunk_ledger::{Mark, Timestamp, WriterId};

use std::collections::BTreeSet;

use super::*;
use crate::kafka::{DeadLetterLog, PartitionOffsets};

fn range(start: i64, end: i64) -> OffsetRange {
    OffsetRange { start: Offset(start), end: Offset(end) }
}

fn chunk(start: i64, end: i64, rejected: u64) -> Chunk {
    Chunk {
        partition: Partition(3),
        range: range(start, end),
        first: Mark { offset: Offset(start), timestamp: Timestamp(0) },
        last_timestamp: Timestamp(0),
        rows: 0,
        rejected,
        gaps: 0,
        writer: WriterId(7),
    }
}

/// Kafka holds 5..100 of partition 3.
fn kafka(complete: bool) -> KafkaFacts {
    let offsets = PartitionOffsets { committed: None, log: range(5, 100) };
    KafkaFacts {
        partitions: BTreeMap::from([(Partition(3), offsets)]),
        nothing_waits: BTreeSet::new(),
        dead_letters: DeadLetterLog { exists: true, complete, ..Default::default() },
    }
}

#[test]
fn a_message_inside_a_gap_counts_for_its_chunk() {
    let mut gaps = Gaps::default();
    gaps.add("a", &chunk(0, 20, 0), &[range(2, 8), range(15, 16)], &kafka(true));
    gaps.add("b", &chunk(20, 40, 0), &[range(21, 23)], &kafka(true));
    gaps.add("c", &chunk(40, 60, 0), &[range(50, 60)], &kafka(true));
    // Below the log's start, between the gaps, at their edges, in another partition.
    for offset in [3, 4, 8, 14, 16, 20, 21, 22, 23, 7] {
        gaps.see(Partition(3), Offset(offset));
    }
    gaps.see(Partition(4), Offset(21));
    let dropped = |key: &str, first, count| Dropped {
        partition: Partition(3),
        key: key.to_owned(),
        first: Offset(first),
        count,
    };
    assert_eq!(gaps.dropped(), [dropped("a", 7, 1), dropped("b", 21, 2)]);
}

#[test]
fn rejects_whose_letters_are_removed_are_left_alone() {
    let mut gaps = Gaps::default();
    gaps.add("a", &chunk(0, 20, 1), &[range(6, 7)], &kafka(false));
    gaps.see(Partition(3), Offset(6));
    assert_eq!(gaps.dropped(), []);
}
