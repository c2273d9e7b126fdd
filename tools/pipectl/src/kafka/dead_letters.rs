//! The dead-letter topic, read from its start to its current end.

use std::collections::{BTreeMap, BTreeSet};

use chunk_ledger::{Offset, OffsetRange, Partition};
use pipeline_model::dead_letter::{HEADER_OFFSET, HEADER_PARTITION, HEADER_TOPIC, topic_of};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

use super::{Cluster, ClusterError};

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
        self.read(&letters, ends, |message| {
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
