//! The consumer group as the loop sees it: a poll for messages, a closed set of events, and the
//! few calls that move a partition. Nothing here decides anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use chunk_ledger::{Offset, Partition};
use rdkafka::Message as _;
use rdkafka::consumer::{CommitMode, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use tracing::warn;

use super::Event;
use super::batch::{FetchError, Fetched, MessageQueue};
use super::client::{self, ClientError, GroupConsumer, GroupContext};
use crate::config::KafkaConfig;

/// Longest wait for an answer of the brokers in calls that block.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one poll waits while the group is being left.
const CLOSE_POLL: Duration = Duration::from_millis(100);
/// Seeking only talks to librdkafka's own threads.
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);

/// What happens in the group.
#[derive(Debug)]
pub enum GroupEvent {
    /// Partitions are ours, once [`Group::assign`] has said where to start.
    Assigned(Vec<Partition>),
    /// Partitions move on, once [`Group::unassign`] has let go of them.
    Revoked {
        /// Which.
        partitions: Vec<Partition>,
        /// They already belong to somebody else: the session had expired.
        lost: bool,
    },
    /// The periodic report of librdkafka.
    Report {
        /// Where each partition's log begins and ends, as last seen.
        logs: Vec<Watermarks>,
        /// The member has joined and no rebalance is going on.
        steady: bool,
    },
}

/// Where consuming a partition begins.
#[derive(Debug, Clone, Copy)]
pub struct Resume {
    /// The partition.
    pub partition: Partition,
    /// What the group holds.
    pub committed: Option<Offset>,
    /// The first offset to fetch: the commit, or the start of the log.
    pub position: Offset,
    /// The log, where a drain asked for it.
    pub log: Option<Watermarks>,
}

/// The first offset that is still in a partition's log, and the end of the log.
#[derive(Debug, Clone, Copy)]
pub struct Watermarks {
    /// The partition.
    pub partition: Partition,
    /// First offset in the log.
    pub low: Offset,
    /// The next offset to be written.
    pub high: Offset,
}

/// Why nothing is known of a topic.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// No broker answers.
    #[error("the brokers do not answer; check KAFKA_BOOTSTRAP_SERVERS and KAFKA_CONFIG")]
    NoAnswer(#[source] KafkaError),
    /// Brokers answer, but not about this topic.
    #[error("kafka refuses the topic {topic}: {reason}; check the rights of the sink's user")]
    Refused {
        /// The topic's name.
        topic: String,
        /// What the broker says.
        reason: RDKafkaErrorCode,
    },
}

/// One member of the consumer group. Clones share it.
#[derive(Clone)]
pub struct Group {
    consumer: Arc<GroupConsumer>,
    messages: Arc<MessageQueue<GroupContext>>,
    topic: Arc<str>,
    is_drain: bool,
}

impl Group {
    /// A member that is not subscribed yet. Rebalances and reports are told to `events` from
    /// within [`Group::poll`].
    pub fn connect(
        kafka: &KafkaConfig,
        is_drain: bool,
        queue_bytes_max: u64,
        events: Sender<Event>,
    ) -> Result<Self, ClientError> {
        let consumer = Arc::new(client::connect(kafka, queue_bytes_max, events)?);
        let messages = MessageQueue::new(Arc::clone(&consumer), &kafka.topic)
            .ok_or_else(|| ClientError("librdkafka makes no queue for the topic".to_owned()))?;
        let topic = kafka.topic.as_str().into();
        Ok(Self { consumer, messages: Arc::new(messages), topic, is_drain })
    }

    /// Joins the group.
    pub fn subscribe(&self) -> KafkaResult<()> {
        self.consumer.subscribe(&[&self.topic])
    }

    /// The next messages, at most `most`, and errors in their place; waits for the first one, at
    /// most for `patience`.
    pub fn take(&self, most: usize, patience: Duration) -> Vec<Result<Fetched<'_>, FetchError>> {
        self.messages.take(most, patience)
    }

    /// Behind what [`Group::take`] has returned of each partition, and behind the offsets that follow
    /// without a message, such as the markers of transactions. Nothing is known of a partition
    /// between a seek and the next message.
    pub fn taken(&self) -> KafkaResult<BTreeMap<Partition, Offset>> {
        let list = self.consumer.position()?;
        let taken = list.elements().into_iter().filter_map(|element| match element.offset() {
            KafkaOffset::Offset(offset) => Some((Partition(element.partition()), Offset(offset))),
            _ => None,
        });
        Ok(taken.collect())
    }

    /// Serves what happens in the group, which is told as events, until there is an error, or a
    /// message that was not forwarded to where [`Group::take`] looks: it is dropped, and its
    /// partition returned.
    pub fn poll(&self) -> Option<KafkaResult<Partition>> {
        let polled = self.consumer.poll(Duration::ZERO)?;
        Some(polled.map(|message| Partition(message.partition())))
    }

    /// The partitions of `topic`; `None` if there is no such topic. Blocks.
    pub fn partitions_of(&self, topic: &str) -> Result<Option<Vec<Partition>>, TopicError> {
        let metadata = self
            .consumer
            .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
            .map_err(TopicError::NoAnswer)?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            None if found.partitions().is_empty() => Ok(None),
            None => Ok(Some(
                found.partitions().iter().map(|partition| Partition(partition.id())).collect(),
            )),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Ok(None)
            }
            Some(reason) => Err(TopicError::Refused { topic: topic.to_owned(), reason }),
        }
    }

    /// Where to begin with `partitions`. Blocks.
    pub fn resume_points(&self, partitions: &[Partition]) -> KafkaResult<Vec<Resume>> {
        let asked =
            self.list(partitions.iter().map(|partition| (*partition, KafkaOffset::Invalid)))?;
        let committed = self.consumer.committed_offsets(asked, REQUEST_TIMEOUT)?;
        let resume = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            element.error()?;
            let partition = Partition(element.partition());
            let committed = match element.offset() {
                KafkaOffset::Offset(offset) => Some(Offset(offset)),
                _ => None,
            };
            let log = match committed {
                Some(_) if !self.is_drain => None,
                _ => Some(self.watermarks(partition)?),
            };
            let start = log.map_or(Offset(0), |log| log.low);
            Ok(Resume {
                partition,
                committed,
                position: committed.unwrap_or(start),
                log: log.filter(|_| self.is_drain),
            })
        };
        committed.elements().into_iter().map(resume).collect()
    }

    /// Where a partition's log begins and ends. Blocks.
    pub fn watermarks(&self, partition: Partition) -> KafkaResult<Watermarks> {
        let (low, high) =
            self.consumer.fetch_watermarks(&self.topic, partition.0, REQUEST_TIMEOUT)?;
        Ok(Watermarks { partition, low: Offset(low), high: Offset(high) })
    }

    /// Takes partitions over, each from its position on.
    pub fn assign(&self, positions: &[(Partition, Offset)]) -> KafkaResult<()> {
        let list = self.list(
            positions.iter().map(|(partition, offset)| (*partition, KafkaOffset::Offset(offset.0))),
        )?;
        self.forward(positions.iter().map(|(partition, _)| *partition));
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&list),
            _ => self.consumer.assign(&list),
        }
    }

    /// Has messages come where [`Group::take`] looks. librdkafka forgets it when it stops fetching a
    /// partition, which may be late: to be said again from time to time.
    pub fn forward(&self, partitions: impl Iterator<Item = Partition>) {
        partitions.for_each(|partition| self.messages.forward(partition));
    }

    /// Lets go of partitions, so that the rebalance can go on.
    pub fn unassign(&self, partitions: &[Partition]) -> KafkaResult<()> {
        client::release(
            &self.consumer,
            &self.list(partitions.iter().map(|partition| (*partition, KafkaOffset::Invalid)))?,
        )
    }

    /// Stops fetching a partition; messages fetched already are dropped, see [`Group::resume_at`].
    pub fn pause(&self, partition: Partition) -> KafkaResult<()> {
        self.consumer.pause(&self.list([(partition, KafkaOffset::Invalid)])?)
    }

    /// Fetches partitions again that the application paused in an earlier assignment: librdkafka
    /// remembers that beyond their revocation.
    pub fn resume(&self, partitions: &[(Partition, Offset)]) -> KafkaResult<()> {
        self.consumer.resume(
            &self
                .list(partitions.iter().map(|(partition, _)| (*partition, KafkaOffset::Invalid)))?,
        )
    }

    /// Fetches a partition again, from `offset` on.
    pub fn resume_at(&self, partition: Partition, offset: Offset) -> KafkaResult<()> {
        self.seek(partition, offset)?;
        self.consumer.resume(&self.list([(partition, KafkaOffset::Invalid)])?)
    }

    /// Fetches a partition from `offset` on.
    pub fn seek(&self, partition: Partition, offset: Offset) -> KafkaResult<()> {
        self.consumer.seek(&self.topic, partition.0, KafkaOffset::Offset(offset.0), SEEK_TIMEOUT)
    }

    /// Commits the next offsets of some partitions and returns how it went for each. Blocks.
    pub fn commit(
        &self,
        offsets: &[(Partition, Offset)],
    ) -> BTreeMap<Partition, Result<(), String>> {
        let positions =
            offsets.iter().map(|(partition, offset)| (*partition, KafkaOffset::Offset(offset.0)));
        let outcome = self.list(positions).and_then(|list| {
            self.consumer.commit(&list, CommitMode::Sync)?;
            Ok(list)
        });
        match outcome {
            Ok(list) => list
                .elements()
                .iter()
                .map(|element| {
                    (
                        Partition(element.partition()),
                        element.error().map_err(|error| error.to_string()),
                    )
                })
                .collect(),
            Err(error) => {
                offsets.iter().map(|(partition, _)| (*partition, Err(error.to_string()))).collect()
            }
        }
    }

    /// Leaves the group. Blocks until the brokers know.
    pub fn leave(self) {
        let Self { consumer, messages, .. } = self;
        drop(messages);
        // Dropping the client does it, but whoever waits for an answer of the brokers has a share in it.
        if let Err(shared) = Arc::try_unwrap(consumer) {
            if let Err(error) = shared.close_queue() {
                warn!(%error, "the consumer group could not be left");
                return;
            }
            while !shared.closed() {
                shared.poll(CLOSE_POLL);
            }
        }
    }

    /// The fatal error that ended the client, if one did.
    pub fn fatal_error(&self) -> Option<String> {
        let (code, text) = self.consumer.client().fatal_error()?;
        Some(format!("{code}: {text}"))
    }

    fn list(
        &self,
        partitions: impl IntoIterator<Item = (Partition, KafkaOffset)>,
    ) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in partitions {
            list.add_partition_offset(&self.topic, partition.0, offset)?;
        }
        Ok(list)
    }
}
