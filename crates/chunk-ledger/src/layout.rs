//! Where objects lie: the one place that knows every key.

use crate::{Day, Offset, Partition, WriterId};

/// The keys of one topic below one prefix.
///
/// ```
/// use chunk_ledger::{Layout, Offset, Partition, Timestamp};
/// let layout = Layout::new("raw", "names_topic");
/// let key = layout.key(Partition(3), Timestamp(1_793_577_600_000).day(), Offset(120));
/// assert_eq!(key, "raw/names_topic/date=2026-11-02/names_topic+3+00000000000000000120.parquet");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Empty, or ending in a slash.
    prefix: String,
    topic: String,
}

/// The parts of a chunk's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The partition.
    pub partition: Partition,
    /// The first offset of the chunk.
    pub start: Offset,
    /// The day of its first message.
    pub day: Day,
}

impl Layout {
    /// Slashes around `prefix` don't matter; it may be empty.
    pub fn new(prefix: &str, topic: &str) -> Self {
        let prefix = match prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Self { prefix, topic: topic.to_owned() }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What the keys of all chunks of the topic begin with; ends in a slash. Nothing but chunks
    /// ever lies below it, since readers take every file they find.
    pub fn topic_prefix(&self) -> String {
        format!("{}{}/", self.prefix, self.topic)
    }

    /// The key of a chunk. It depends on the chunk's start and on the message that lies there,
    /// never on its end: two writers at the same start meet at the same key.
    pub fn key(&self, partition: Partition, day: Day, start: Offset) -> String {
        let Self { prefix, topic } = self;
        format!(
            "{prefix}{topic}/date={day}/{topic}+{partition}+{start:020}.parquet",
            start = start.0
        )
    }

    /// Reads a key back; `None` for anything that [`Layout::key`] does not write.
    pub fn parse(&self, key: &str) -> Option<ObjectName> {
        let rest = key.strip_prefix(&self.prefix)?.strip_prefix(&self.topic)?;
        let (day, file) = rest.strip_prefix("/date=")?.split_once('/')?;
        let numbers =
            file.strip_prefix(&self.topic)?.strip_prefix('+')?.strip_suffix(".parquet")?;
        let (partition, start) = numbers.split_once('+')?;
        let name = ObjectName {
            partition: Partition(partition.parse().ok()?),
            start: Offset(start.parse().ok()?),
            day: day.parse().ok()?,
        };
        // Only the canonical spelling: `+1`, `01` or `2026-11-2` are keys of somebody else.
        (self.key(name.partition, name.day, name.start) == key).then_some(name)
    }

    /// The key of the start-up probe's object: beside the topic's prefix, never below it, and no
    /// key that a chunk of any topic could have (`+` is not allowed in a topic's name).
    pub fn probe_key(&self, writer: WriterId) -> String {
        format!("{}{}+probe/{writer}", self.prefix, self.topic)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn slashes_around_the_prefix_do_not_matter() {
        for prefix in ["a/b", "/a/b", "a/b/", "//a/b//"] {
            assert_eq!(Layout::new(prefix, "t").topic_prefix(), "a/b/t/");
        }
        assert_eq!(Layout::new("/", "t").topic_prefix(), "t/");
    }

    #[test]
    fn foreign_keys_are_not_taken_for_chunks() {
        let layout = Layout::new("p", "t");
        assert!(layout.parse("p/t/date=2026-11-02/t+0+00000000000000000007.parquet").is_some());
        for key in [
            "t/date=2026-11-02/t+0+00000000000000000007.parquet",
            "p/t/date=2026-11-2/t+0+00000000000000000007.parquet",
            "p/t/date=2026-11-02/t+0+7.parquet",
            "p/t/date=2026-11-02/t+00+00000000000000000007.parquet",
            "p/t/date=2026-11-02/t+0+00000000000000000007.parquet.tmp",
            "p/t/date=2026-11-02/x/t+0+00000000000000000007.parquet",
            "p/tt/date=2026-11-02/tt+0+00000000000000000007.parquet",
            "p/t+probe/00000000000000000000000000000001",
        ] {
            assert_eq!(layout.parse(key), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn a_key_reads_back(
            prefix in "[a-z/]{0,6}", topic in "[a-zA-Z0-9._-]{1,12}",
            partition in 0..i32::MAX, start in 0..i64::MAX, millis: i64,
        ) {
            let layout = Layout::new(&prefix, &topic);
            let name = ObjectName {
                partition: Partition(partition), start: Offset(start), day: Timestamp(millis).day(),
            };
            let key = layout.key(name.partition, name.day, name.start);
            prop_assert!(key.starts_with(&layout.topic_prefix()));
            prop_assert_eq!(layout.parse(&key), Some(name));
        }
    }
}
