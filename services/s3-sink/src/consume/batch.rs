//! Messages from librdkafka in batches, which takes a third of the CPU off each compared to a poll.
//! The Rust binding has no call for it, hence `unsafe`. `make test-unsafe` runs the tests of this file
//! under valgrind.
//!
//! The partitions of the consumer are forwarded to a queue of their own. Everything else, such as
//! rebalances and statistics, stays in the consumer's queue and needs its poll: the call for batches
//! would answer a rebalance by itself.

#![allow(unsafe_code, reason = "librdkafka is C; each use says why it is sound")]

use std::ffi::{CStr, CString, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use chunk_ledger::Partition;
use rdkafka::bindings::rd_kafka_timestamp_type_t as RDKafkaTimestampType;
use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_header_get_all, rd_kafka_message_destroy,
    rd_kafka_message_headers, rd_kafka_message_timestamp, rd_kafka_queue_destroy,
    rd_kafka_queue_forward, rd_kafka_queue_get_partition, rd_kafka_queue_new,
};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage, Timestamp};
use rdkafka::types::{RDKafkaMessage, RDKafkaQueue, RDKafkaRespErr};

/// The queue of the messages of one topic's partitions.
pub(super) struct MessageQueue<C: ConsumerContext + 'static> {
    queue: NonNull<RDKafkaQueue>,
    topic: CString,
    /// The queue is part of it: it is destroyed first.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used from any thread, and from several at once.
unsafe impl<C: ConsumerContext + 'static> Send for MessageQueue<C> {}
// SAFETY: the same.
unsafe impl<C: ConsumerContext + 'static> Sync for MessageQueue<C> {}

impl<C: ConsumerContext + 'static> MessageQueue<C> {
    /// An empty queue; `None` if librdkafka has no memory, or the topic's name contains a NUL.
    pub(super) fn new(consumer: Arc<BaseConsumer<C>>, topic: &str) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: the client is alive, and `consumer` keeps it so.
        let queue = NonNull::new(unsafe { rd_kafka_queue_new(consumer.client().native_ptr()) })?;
        Some(Self { queue, topic, consumer })
    }

    /// Has the messages of a partition come here, those included that wait in its own queue.
    /// librdkafka forgets it when it stops to fetch the partition; to say it again does no harm.
    pub(super) fn forward(&self, partition: Partition) {
        let client = self.consumer.client().native_ptr();
        // SAFETY: the client and both queues are alive. The partition's queue is counted by
        // librdkafka, so it outlives our reference to it.
        unsafe {
            let source = rd_kafka_queue_get_partition(client, self.topic.as_ptr(), partition.0);
            if !source.is_null() {
                rd_kafka_queue_forward(source, self.queue.as_ptr());
                rd_kafka_queue_destroy(source);
            }
        }
    }

    /// The next messages, at most `most`, and errors in their place. Waits for the first one, at
    /// most for `patience`, and not for more.
    pub(super) fn take(
        &self,
        most: usize,
        patience: Duration,
    ) -> Vec<Result<Fetched<'_>, FetchError>> {
        // Where librdkafka may wait it does so until it has all that were asked for.
        let mut taken = self.take_within(most, Duration::ZERO);
        if taken.is_empty() && !patience.is_zero() {
            taken = self.take_within(1, patience);
            taken.extend(self.take_within(most.saturating_sub(taken.len()), Duration::ZERO));
        }
        taken
    }

    fn take_within(&self, most: usize, timeout: Duration) -> Vec<Result<Fetched<'_>, FetchError>> {
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let mut pointers: Vec<*mut RDKafkaMessage> = Vec::with_capacity(most);
        // SAFETY: the queue is alive, and there is room for `most` pointers, of which the call writes
        // as many as it says. Below zero would be an error, of which it has none today.
        unsafe {
            let (queue, start) = (self.queue.as_ptr(), pointers.as_mut_ptr());
            let count = rd_kafka_consume_batch_queue(queue, timeout, start, most);
            pointers.set_len(usize::try_from(count).unwrap_or(0));
        }
        let messages = pointers.into_iter().filter_map(NonNull::new);
        messages.map(|message| Fetched { message, queue: PhantomData }.or_error()).collect()
    }
}

impl<C: ConsumerContext + 'static> Drop for MessageQueue<C> {
    fn drop(&mut self) {
        // SAFETY: no message borrows the queue any more. Partitions that are forwarded to it hold
        // references of their own.
        unsafe { rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// An error that came in place of a message. librdkafka counts it as the message of its offset: where
/// it pauses the partition for a rebalance it goes on behind it. Whoever takes one has to seek.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchError {
    /// The partition.
    pub partition: Partition,
    /// Where it was to be fetched.
    pub offset: i64,
    /// What went wrong.
    pub error: KafkaError,
}

/// A message in librdkafka's memory, which it gives back when it is dropped.
pub struct Fetched<'q> {
    /// Filled by librdkafka, and ours alone until it is destroyed.
    message: NonNull<RDKafkaMessage>,
    /// The client must outlive its messages.
    queue: PhantomData<&'q ()>,
}

impl Fetched<'_> {
    /// The partition.
    pub fn partition(&self) -> Partition {
        Partition(self.raw().partition)
    }

    /// The offset.
    pub fn offset(&self) -> i64 {
        self.raw().offset
    }

    /// The timestamp in milliseconds since the epoch, if there is one.
    pub fn timestamp(&self) -> Option<i64> {
        let mut kind = RDKafkaTimestampType::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, and `kind` is ours.
        let timestamp = unsafe { rd_kafka_message_timestamp(self.message.as_ptr(), &mut kind) };
        // In the oldest message format it is 0 and not available.
        let is_available = kind != RDKafkaTimestampType::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        (is_available && timestamp >= 0).then_some(timestamp)
    }

    /// The payload; `None` in a tombstone.
    pub fn payload(&self) -> Option<&[u8]> {
        // SAFETY: these bytes are the message's.
        unsafe { bytes(self.raw().payload, self.raw().len) }
    }

    /// The headers in their order, one key may come more than once.
    pub fn headers(&self) -> impl Iterator<Item = (&CStr, Option<&[u8]>)> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive; it keeps what it returns.
        let outcome = unsafe { rd_kafka_message_headers(self.message.as_ptr(), &mut headers) };
        let has_headers = outcome == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        (0..).map_while(move |index| {
            if !has_headers {
                return None;
            }
            let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
            // SAFETY: as above; behind the last header the call fails and returns nothing.
            unsafe {
                let outcome =
                    rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut len);
                if outcome != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return None;
                }
                Some((CStr::from_ptr(name), bytes(value, len)))
            }
        })
    }

    /// A copy that is nobody's but the caller's.
    pub fn detach(&self, topic: &str) -> OwnedMessage {
        // SAFETY: these bytes are the message's.
        let key = unsafe { bytes(self.raw().key, self.raw().key_len) };
        let headers = self.headers().fold(None, |headers: Option<OwnedHeaders>, (key, value)| {
            let key = &key.to_string_lossy();
            Some(headers.unwrap_or_default().insert(Header { key, value }))
        });
        let timestamp = self.timestamp().map_or(Timestamp::NotAvailable, Timestamp::CreateTime);
        OwnedMessage::new(
            self.payload().map(<[u8]>::to_vec),
            key.map(<[u8]>::to_vec),
            topic.to_owned(),
            timestamp,
            self.partition().0,
            self.offset(),
            headers,
        )
    }

    /// The error that came in place of a message, if it is one.
    fn or_error(self) -> Result<Self, FetchError> {
        let error = match self.raw().err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => return Ok(self),
            fatal @ RDKafkaRespErr::RD_KAFKA_RESP_ERR__FATAL => {
                KafkaError::MessageConsumptionFatal(fatal.into())
            }
            error => KafkaError::MessageConsumption(error.into()),
        };
        Err(FetchError { partition: self.partition(), offset: self.offset(), error })
    }

    fn raw(&self) -> &RDKafkaMessage {
        // SAFETY: it is alive until we are dropped, and nobody writes to it.
        unsafe { self.message.as_ref() }
    }
}

impl Drop for Fetched<'_> {
    fn drop(&mut self) {
        // SAFETY: it is destroyed once, and nothing that was borrowed of it is left.
        unsafe { rd_kafka_message_destroy(self.message.as_ptr()) };
    }
}

/// # Safety
///
/// Unless it is null, `start` is that of `len` bytes that live as long as `'a` and are not written.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    let start = NonNull::new(start.cast_mut().cast::<u8>())?;
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), len) })
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
