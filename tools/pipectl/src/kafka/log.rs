//! Messages, read at chosen offsets without joining a group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::time::Instant;

use chunk_ledger::{Offset, OffsetRange, Partition};
use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset as Position, TopicPartitionList};

use super::{Cluster, ClusterError, POLL_PAUSE, is_passing, refused};

/// Offsets that are rather read over than jumped over: a jump costs some milliseconds.
const JUMP_MIN: i64 = 20_000;

/// What the end of a partition's log means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtEnd {
    /// The partition is done.
    Done,
    /// Something is still to come: brokers that have just changed their roles may show an end that
    /// lies before what was committed.
    Wait,
}

/// What is not read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The partition of the message at hand.
    Partition,
    /// All of it.
    All,
}

impl Cluster {
    /// Where the log of each partition of `topic` lies; `None` if there is no such topic. Blocks.
    pub(super) fn logs(
        &self,
        topic: &str,
    ) -> Result<Option<BTreeMap<Partition, OffsetRange>>, ClusterError> {
        let Some(partitions) = self.partitions(topic)? else { return Ok(None) };
        let logs = partitions.into_iter().map(|partition| {
            let log = self.log_range(topic, partition)?;
            Ok((partition, log))
        });
        logs.collect::<Result<_, _>>().map(Some)
    }

    /// Those of `ranges` with a message inside. The others have only offsets, such as those of
    /// transactions and of what compaction removed. Blocks.
    pub fn with_messages(
        &self,
        topic: &str,
        ranges: BTreeMap<Partition, OffsetRange>,
    ) -> Result<BTreeSet<Partition>, ClusterError> {
        let mut found = BTreeSet::new();
        self.read(topic, ranges, AtEnd::Done, |message| {
            found.insert(Partition(message.partition()));
            ControlFlow::Break(Stop::Partition)
        })?;
        Ok(found)
    }

    /// Names to `visit` every offset of `ranges` at which Kafka has a message, and some around
    /// them. Ranges are ascending. Blocks.
    pub fn visit_offsets(
        &self,
        topic: &str,
        ranges: &BTreeMap<Partition, Vec<OffsetRange>>,
        mut visit: impl FnMut(Partition, Offset),
    ) -> Result<(), ClusterError> {
        let mut spans: BTreeMap<Partition, VecDeque<OffsetRange>> =
            ranges.iter().map(|(partition, ranges)| (*partition, spans(ranges))).collect();
        loop {
            let round: BTreeMap<Partition, OffsetRange> = spans
                .iter_mut()
                .filter_map(|(partition, spans)| Some((*partition, spans.pop_front()?)))
                .collect();
            if round.is_empty() {
                return Ok(());
            }
            self.read(topic, round, AtEnd::Done, |message| {
                visit(Partition(message.partition()), Offset(message.offset()));
                ControlFlow::Continue(())
            })?;
        }
    }

    /// Shows `visit` every message of `ranges`, each partition in order, until it says to stop. A
    /// partition's last offsets may hold none: it may be done at the end of its log, too.
    pub(super) fn read(
        &self,
        topic: &str,
        mut ranges: BTreeMap<Partition, OffsetRange>,
        at_end: AtEnd,
        mut visit: impl FnMut(&BorrowedMessage<'_>) -> ControlFlow<Stop>,
    ) -> Result<(), ClusterError> {
        let what = || format!("can't read topic {topic:?}");
        ranges.retain(|_, range| !range.is_empty());
        let mut assignment = TopicPartitionList::with_capacity(ranges.len());
        for (partition, range) in &ranges {
            assignment
                .add_partition_offset(topic, partition.0, Position::Offset(range.start.0))
                .map_err(|error| refused(what(), &error))?;
        }
        self.consumer.assign(&assignment).map_err(|error| refused(what(), &error))?;
        let mut heard = Instant::now();
        while !ranges.is_empty() {
            match self.consumer.poll(POLL_PAUSE) {
                Some(Ok(message)) => {
                    let (partition, offset) = (Partition(message.partition()), message.offset());
                    // Behind the end that was there at first, new messages may follow.
                    if let Some(range) = ranges.get(&partition) {
                        let end = range.end.0;
                        let next = match offset < end {
                            true => visit(&message),
                            false => ControlFlow::Continue(()),
                        };
                        if next == ControlFlow::Break(Stop::All) {
                            break;
                        }
                        if next.is_break() || offset + 1 >= end {
                            ranges.remove(&partition);
                        }
                    }
                    heard = Instant::now();
                }
                Some(Err(KafkaError::PartitionEOF(partition))) if at_end == AtEnd::Done => {
                    ranges.remove(&Partition(partition));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                // The client looks for the group's coordinator although nobody needs it.
                Some(Err(error)) if is_about_the_group(&error) => {}
                Some(Err(error)) if !error.rdkafka_error_code().is_some_and(is_passing) => {
                    return Err(refused(what(), &error));
                }
                Some(Err(error)) if heard.elapsed() > self.config.timeout => {
                    return Err(self.unreachable(&error));
                }
                None if heard.elapsed() > self.config.timeout => {
                    let detail = format!("nothing came for {:?}", self.config.timeout);
                    return Err(refused(what(), &detail));
                }
                Some(Err(_)) | None => {}
            }
        }
        let nothing = TopicPartitionList::new();
        self.consumer.assign(&nothing).map_err(|error| refused(what(), &error))
    }
}

fn is_about_the_group(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
}

/// The ranges, neighbours that lie close together as one.
fn spans(ranges: &[OffsetRange]) -> VecDeque<OffsetRange> {
    let mut spans: VecDeque<OffsetRange> = VecDeque::new();
    for range in ranges {
        match spans.back_mut() {
            Some(last) if range.start.0.saturating_sub(last.end.0) < JUMP_MIN => {
                last.end = last.end.max(range.end);
            }
            _ => spans.push_back(*range),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: i64, end: i64) -> OffsetRange {
        OffsetRange { start: Offset(start), end: Offset(end) }
    }

    #[test]
    fn only_wide_distances_are_jumped_over() {
        let ranges =
            [range(0, 1), range(5, 9), range(7, 8), range(20_009, 20_010), range(20_100, 20_101)];
        assert_eq!(spans(&ranges), [range(0, 9), range(20_009, 20_101)]);
        assert_eq!(spans(&[]), []);
    }
}
