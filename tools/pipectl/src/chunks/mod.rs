//! `chunks`: lists what is stored, by the objects' keys and metadata.

mod report;

use chunk_ledger::{Chunk, Day, Layout, ObjectName, OffsetRange, Partition, Timestamp};

use crate::audit::{Object, ObjectKind, describe};
use crate::progress;
use crate::store::{Listed, Store, StoreConfig, StoreError};

pub use report::{ChunkList, ListedChunk, Totals, Unreadable};

/// Objects whose metadata are asked for before those found are counted against the limit.
const BATCH_OBJECTS: usize = 1_024;

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunksConfig {
    /// The bucket.
    pub store: StoreConfig,
    /// The topic and where its chunks lie.
    pub layout: Layout,
    /// Which of them.
    pub filter: ChunkFilter,
    /// How many of them at most.
    pub limit: usize,
}

/// Which chunks are meant: those that satisfy every part; an empty one admits all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChunkFilter {
    /// Of this partition.
    pub partition: Option<Partition>,
    /// Of this day, as the key says.
    pub day: Option<Day>,
    /// With one of these offsets.
    pub offsets: Option<OffsetRange>,
    /// With messages of this time or later.
    pub from: Option<Timestamp>,
    /// With messages before this time.
    pub to: Option<Timestamp>,
}

/// Lists the chunks by partition, in the order of their offsets.
pub async fn list(config: &ChunksConfig) -> Result<ChunkList, StoreError> {
    let ChunksConfig { layout, filter, .. } = config;
    let store = Store::connect(&config.store).await?;
    let mut list = ChunkList::new(layout);
    let mut meant: Vec<(ObjectName, Listed)> = Vec::new();
    let counter = progress::counter("objects listed");
    for listed in store.list(&prefix(layout, filter), |objects| counter.advance(objects)).await? {
        match layout.parse(&listed.key) {
            Some(name) if filter.may_admit(&name) => meant.push((name, listed)),
            Some(_) => {}
            None => list.foreign += 1,
        }
    }
    drop(counter);
    meant.sort_by_key(|(name, _)| (name.partition, name.start, name.day));
    let mut meant = meant.into_iter().map(|(_, listed)| listed).peekable();
    while list.chunks.len() < config.limit && meant.peek().is_some() {
        let batch = meant.by_ref().take(BATCH_OBJECTS).collect();
        for Object { key, bytes, kind } in describe(&store, layout, batch).await? {
            match kind {
                ObjectKind::Chunk { metadata: Ok(chunk), .. } if filter.admits(&chunk) => {
                    list.chunks.push(ListedChunk::new(key, bytes, &chunk));
                }
                ObjectKind::Chunk { metadata: Err(error), .. } => {
                    list.unreadable.push(Unreadable { key, problem: error.to_string() });
                }
                // One that is not meant, or gone since it was listed.
                _ => {}
            }
        }
    }
    list.chunks.truncate(config.limit);
    list.total();
    Ok(list)
}

/// What the keys of all chunks that are meant begin with.
fn prefix(layout: &Layout, filter: &ChunkFilter) -> String {
    let topic = layout.topic_prefix();
    match filter.day {
        Some(day) => format!("{topic}date={day}/"),
        None => topic,
    }
}

impl ChunkFilter {
    /// Whether a chunk of this name may be meant: no request is made for others.
    fn may_admit(&self, name: &ObjectName) -> bool {
        let ObjectName { partition, start, day } = *name;
        self.partition.is_none_or(|wanted| wanted == partition)
            && self.day.is_none_or(|wanted| wanted == day)
            && self.offsets.is_none_or(|range| start < range.end)
            // It begins with a message of its day, and may hold late ones, but none of a later day.
            && self.from.is_none_or(|from| from.day() <= day)
            && self.to.is_none_or(|to| day <= Timestamp(to.0.saturating_sub(1)).day())
    }

    fn admits(&self, chunk: &Chunk) -> bool {
        let Chunk { partition, range, first, last_timestamp, .. } = chunk;
        let overlaps = |wanted: OffsetRange| wanted.start < range.end && range.start < wanted.end;
        self.partition.is_none_or(|wanted| wanted == *partition)
            && self.offsets.is_none_or(overlaps)
            && self.from.is_none_or(|from| from <= *last_timestamp)
            && self.to.is_none_or(|to| first.timestamp < to)
    }
}

#[cfg(test)]
mod tests {
    use chunk_ledger::{Mark, Offset, WriterId};

    use super::*;

    /// 2026-11-02.
    const DAY: i64 = 1_793_577_600_000;
    const HOUR: i64 = 3_600_000;

    /// Of partition 3, from two to four on that day.
    fn chunk(start: i64, end: i64) -> Chunk {
        Chunk {
            partition: Partition(3),
            range: range(start, end),
            first: Mark { offset: Offset(start), timestamp: Timestamp(DAY + 2 * HOUR) },
            last_timestamp: Timestamp(DAY + 4 * HOUR),
            rows: end.abs_diff(start),
            rejected: 0,
            gaps: 0,
            writer: WriterId(7),
        }
    }

    fn range(start: i64, end: i64) -> OffsetRange {
        OffsetRange { start: Offset(start), end: Offset(end) }
    }

    /// Whether the filter admits the chunk; its name must admit every chunk that is meant.
    fn admits(filter: &ChunkFilter, chunk: &Chunk) -> bool {
        let (partition, start) = (chunk.partition, chunk.range.start);
        let by_name = filter.may_admit(&ObjectName { partition, start, day: chunk.day() });
        let is_meant = filter.admits(chunk) && filter.day.is_none_or(|day| day == chunk.day());
        assert!(by_name || !is_meant, "{filter:?} {chunk:?}");
        by_name && is_meant
    }

    #[test]
    fn offsets_meet_the_chunk_that_holds_one_of_them() {
        let chunks = [chunk(0, 10), chunk(10, 20), chunk(20, 30)];
        let meant = |start, end| {
            let filter = ChunkFilter { offsets: Some(range(start, end)), ..Default::default() };
            chunks.iter().map(|chunk| admits(&filter, chunk)).collect::<Vec<_>>()
        };
        assert_eq!(meant(10, 11), [false, true, false]);
        assert_eq!(meant(9, 11), [true, true, false]);
        assert_eq!(meant(19, 21), [false, true, true]);
        assert_eq!(meant(30, 40), [false, false, false]);
    }

    #[test]
    fn times_meet_the_chunk_that_may_hold_a_message_of_them() {
        let meant = |from: Option<i64>, to: Option<i64>| {
            let at = |hour| Timestamp(DAY + hour * HOUR);
            admits(
                &ChunkFilter { from: from.map(at), to: to.map(at), ..Default::default() },
                &chunk(0, 10),
            )
        };
        assert!(meant(None, None) && meant(Some(4), None) && meant(None, Some(3)));
        assert!(meant(Some(-100), Some(100)), "days around it");
        assert!(!meant(Some(5), None) && !meant(None, Some(2)) && !meant(Some(24), None));
        assert!(!meant(None, Some(0)), "the day is left out");
    }

    #[test]
    fn days_and_partitions_are_those_of_the_key() {
        let day = Timestamp(DAY).day();
        let filter =
            ChunkFilter { day: Some(day), partition: Some(Partition(3)), ..Default::default() };
        assert!(admits(&filter, &chunk(0, 10)));
        assert!(!admits(&filter, &Chunk { partition: Partition(30), ..chunk(0, 10) }));
        let next = Mark { offset: Offset(0), timestamp: Timestamp(DAY + 24 * HOUR) };
        assert!(!admits(&filter, &Chunk { first: next, ..chunk(0, 10) }));
        let layout = Layout::new("raw", "t");
        assert_eq!(prefix(&layout, &filter), "raw/t/date=2026-11-02/");
    }
}
