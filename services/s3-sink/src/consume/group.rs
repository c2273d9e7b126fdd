//! The consumer group as the loop sees it: a poll for messages, a closed set of events, and the
//! few calls that move a partition. Nothing here decides anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use chunk_ledger::{Offset, Partition};
use rdkafka::Message as _;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use rdkafka::types::{RDKafkaConfRes, RDKafkaRespErr};

use super::Event;
use super::batch::{FetchError, Fetched, MessageQueue};
use crate::config::KafkaConfig;

/// Longest wait for an answer of the brokers in calls that block.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
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

/// Why a Kafka client can't be made.
#[derive(Debug, thiserror::Error)]
#[error("the Kafka client can't be made: {0}; check KAFKA_CONFIG")]
pub struct ClientError(String);

impl From<KafkaError> for ClientError {
    /// The value of a property may be a secret, and librdkafka quotes it.
    fn from(error: KafkaError) -> Self {
        Self(match error {
            KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => {
                format!("librdkafka has no property `{name}`")
            }
            KafkaError::ClientConfig(_, _, name, _) => {
                format!("librdkafka refuses the value of `{name}`")
            }
            error => error.to_string(),
        })
    }
}

/// One member of the consumer group. Clones share it.
#[derive(Clone)]
pub struct Group {
    consumer: Arc<BaseConsumer<GroupContext>>,
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
        let config = client_config(kafka, queue_bytes_max);
        let consumer: BaseConsumer<GroupContext> =
            config.create_with_context(GroupContext { events })?;
        let consumer = Arc::new(consumer);
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
    pub fn partitions_of(&self, topic: &str) -> KafkaResult<Option<Vec<Partition>>> {
        let metadata = self.consumer.fetch_metadata(Some(topic), REQUEST_TIMEOUT)?;
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
            Some(code) => Err(KafkaError::MetadataFetch(code)),
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
        release(
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

/// The least that librdkafka takes as `fetch.max.bytes`: its `message.max.bytes`.
const FETCH_BYTES_MIN: u64 = 1_000_000;

/// Our defaults, what the user wants instead, and what the protocol relies on, in this order.
fn client_config(kafka: &KafkaConfig, queue_bytes_max: u64) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("client.id", "s3-sink")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("check.crcs", "true")
        // One queue for all partitions: its limit bounds what is fetched ahead.
        .set("queued.max.messages.kbytes", (queue_bytes_max / 1024).max(1024).to_string())
        .set("fetch.message.max.bytes", "524288")
        // Of one answer, which is in memory as a whole: with many partitions it would be 50 MiB.
        .set("fetch.max.bytes", (queue_bytes_max / 2).max(FETCH_BYTES_MIN).to_string())
        // At its default of a second a queue that was full stays empty for as long.
        .set("fetch.queue.backoff.ms", "10")
        // A fetch that is under way delays a partition that begins or is resumed by as much.
        .set("fetch.wait.max.ms", "100")
        .set("topic.metadata.refresh.interval.ms", "30000")
        .set("statistics.interval.ms", "1000");
    if let Some(instance_id) = &kafka.instance_id {
        config.set("group.instance.id", instance_id);
    }
    config.extend(kafka.properties.iter().cloned());
    config
        .set("bootstrap.servers", &kafka.bootstrap_servers)
        .set("group.id", &kafka.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Only for a position outside the log: the loop sees the gap, or the offset that went back.
        .set("auto.offset.reset", "earliest")
        // It would come as an error in a batch, see `FetchError`.
        .set("enable.partition.eof", "false");
    config
}

fn release(consumer: &BaseConsumer<GroupContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        _ => consumer.unassign(),
    }
}

/// Passes callbacks on as events. librdkafka waits with the rebalance until the loop has answered
/// by assigning or unassigning; nothing is waited for inside the callback.
struct GroupContext {
    events: Sender<Event>,
}

impl GroupContext {
    /// Whether the loop is still there to take the event.
    fn tell(&self, event: GroupEvent) -> bool {
        self.events.send(Event::Group(event)).is_ok()
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        service_kit::log::kafka_client(level as u8, facility, message);
    }

    /// The poll returns the same errors.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client reports an error");
    }

    fn stats(&self, statistics: Statistics) {
        let logs = statistics
            .topics
            .values()
            .flat_map(|topic| &topic.partitions)
            .filter(|(_, partition)| partition.hi_offset >= 0)
            .map(|(id, partition)| Watermarks {
                partition: Partition(*id),
                low: Offset(partition.lo_offset),
                high: Offset(partition.hi_offset),
            })
            .collect();
        let steady = statistics
            .cgrp
            .is_some_and(|group| group.state == "up" && group.join_state == "steady");
        // With the loop gone nobody wants the report.
        let _ = self.tell(GroupEvent::Report { logs, steady });
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions =
            list.elements().iter().map(|element| Partition(element.partition())).collect();
        let told = self.tell(match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                GroupEvent::Assigned(partitions)
            }
            _ => GroupEvent::Revoked { partitions, lost: consumer.assignment_lost() },
        });
        // While the client closes the loop is gone, and closing waits for the answer.
        if !told && let Err(error) = release(consumer, list) {
            tracing::debug!(%error, "partitions could not be released while closing");
        }
    }
}
