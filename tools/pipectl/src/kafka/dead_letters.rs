//! The dead-letter topic, read from its start to its current end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use chunk_ledger::{Offset, OffsetRange, Partition};
use pipeline_model::dead_letter::{HEADER_OFFSET, HEADER_PARTITION, HEADER_TOPIC, topic_of};
use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::topic_partition_list::{Offset as Position, TopicPartitionList};

use super::{Cluster, ClusterError, POLL_PAUSE, is_passing, refused};

/// The dead letters of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterLog {
    /// Whether the dead-letter topic exists.
    pub exists: bool,
    /// Whether Kafka still holds every letter that was ever written.
    pub complete: bool,
    /// Messages read; a letter may be there more than once.
    pub messages: u64,
    /// Where the letters come from, each place once.
    pub offsets: BTreeMap<Partition, BTreeSet<Offset>>,
    /// Messages that are no dead letter of the topic.
    pub unreadable: Vec<Unreadable>,
}

/// A message in the dead-letter topic that does not say where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its own partition, in the dead-letter topic.
    pub partition: Partition,
    /// Its own offset.
    pub offset: Offset,
    /// What is wrong with its headers.
    pub problem: String,
}

impl DeadLetterLog {
    /// The offsets inside `range` of `partition` for which there is a letter, ascending.
    pub fn letters(
        &self,
        partition: Partition,
        range: OffsetRange,
    ) -> impl Iterator<Item = Offset> + '_ {
        let offsets = self.offsets.get(&partition).filter(|_| !range.is_empty());
        offsets.into_iter().flat_map(move |offsets| offsets.range(range.start..range.end)).copied()
    }
}

impl Cluster {
    /// Reads the dead letters of `topic`. `on_message` hears of each message. Blocks.
    pub fn dead_letters(
        &self,
        topic: &str,
        on_message: impl Fn(),
    ) -> Result<DeadLetterLog, ClusterError> {
        let letters = topic_of(topic);
        let Some(partitions) = self.partitions(&letters)? else {
            return Ok(DeadLetterLog::default());
        };
        let mut log = DeadLetterLog { exists: true, complete: true, ..Default::default() };
        let mut ends = BTreeMap::new();
        for partition in partitions {
            let range = self.log_range(&letters, partition)?;
            log.complete &= range.start == Offset(0);
            if !range.is_empty() {
                ends.insert(partition, range);
            }
        }
        self.read_to_end(&letters, ends, |message| {
            on_message();
            log.messages += 1;
            match origin(topic, message) {
                Ok((partition, offset)) => {
                    log.offsets.entry(partition).or_default().insert(offset);
                }
                Err(problem) => log.unreadable.push(Unreadable {
                    partition: Partition(message.partition()),
                    offset: Offset(message.offset()),
                    problem,
                }),
            }
        })?;
        Ok(log)
    }

    /// Shows `visit` every message of `ranges`, each partition in order. A partition's last offsets
    /// may hold none: it is done at its end, too.
    fn read_to_end(
        &self,
        topic: &str,
        mut ranges: BTreeMap<Partition, OffsetRange>,
        mut visit: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), ClusterError> {
        let what = || format!("can't read topic {topic:?}");
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
                        if offset < end {
                            visit(&message);
                        }
                        if offset + 1 >= end {
                            ranges.remove(&partition);
                        }
                    }
                    heard = Instant::now();
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ranges.remove(&Partition(partition));
                }
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

/// Where a dead letter comes from, or what its headers lack.
fn origin(topic: &str, message: &BorrowedMessage<'_>) -> Result<(Partition, Offset), String> {
    let header = |name: &str| {
        let headers = message.headers()?;
        // Ours stand behind those of the original message.
        let last = headers.iter().filter(|header| header.key == name).last()?;
        std::str::from_utf8(last.value?).ok()
    };
    let need = |name: &str| header(name).ok_or_else(|| format!("it has no header {name:?}"));
    let found = need(HEADER_TOPIC)?;
    if found != topic {
        return Err(format!("its header {HEADER_TOPIC:?} is {found:?}"));
    }
    let partition = need(HEADER_PARTITION)?;
    let offset = need(HEADER_OFFSET)?;
    match (partition.parse(), offset.parse()) {
        (Ok(partition), Ok(offset)) => Ok((Partition(partition), Offset(offset))),
        (Err(_), _) => Err(format!("its header {HEADER_PARTITION:?} is {partition:?}")),
        (_, Err(_)) => Err(format!("its header {HEADER_OFFSET:?} is {offset:?}")),
    }
}
