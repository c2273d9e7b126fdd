//! The Kafka client behind the group: how it is configured, and what it tells.

use std::sync::mpsc::Sender;

use chunk_ledger::{Offset, Partition};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaConfRes, RDKafkaRespErr};

use super::{Event, GroupEvent, Watermarks};
use crate::config::KafkaConfig;

/// The client of Kafka that a member of a group works with.
pub(super) type GroupConsumer = BaseConsumer<GroupContext>;

/// The least that librdkafka takes as `fetch.max.bytes`: its `message.max.bytes`.
const FETCH_BYTES_MIN: u64 = 1_000_000;

/// A client that is not subscribed yet; rebalances and reports are told to `events` whenever it is
/// polled.
pub(super) fn connect(
    kafka: &KafkaConfig,
    queue_bytes_max: u64,
    events: Sender<Event>,
) -> Result<GroupConsumer, ClientError> {
    let config = client_config(kafka, queue_bytes_max);
    Ok(config.create_with_context(GroupContext { events })?)
}

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

/// Why a Kafka client can't be made.
#[derive(Debug, thiserror::Error)]
#[error("the Kafka client can't be made: {0}; check KAFKA_CONFIG")]
pub struct ClientError(pub(super) String);

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

/// Passes callbacks on as events. librdkafka waits with the rebalance until the loop has answered
/// by assigning or unassigning; nothing is waited for inside the callback.
pub(super) struct GroupContext {
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

pub(super) fn release(
    consumer: &BaseConsumer<GroupContext>,
    list: &TopicPartitionList,
) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        _ => consumer.unassign(),
    }
}
