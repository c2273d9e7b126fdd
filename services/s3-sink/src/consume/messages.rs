//! What the loop does with a message, and with an error in its place.

use std::ffi::CStr;
use std::time::Duration;

use chunk_ledger::{Mark, Offset, OffsetRange, Partition, SealReason, Timestamp, Verdict};
use pipeline_model::message::{self, HEADER_SCHEMA_VERSION, PersonRef, SCHEMA_VERSION};
use rdkafka::error::KafkaError;
use tracing::warn;

use super::batch::{FetchError, Fetched};
use super::{Sink, SinkError};
use crate::dead_letter::{NO_TIMESTAMP, Refusal, UNSUPPORTED_VERSION};
use crate::decode::row_memory_bytes_max;

/// How long a partition waits to be fetched again after an error.
const FETCH_RETRY_DELAY: Duration = Duration::from_millis(500);
/// How long the same error of the Kafka client is not logged again.
const KAFKA_ERROR_LOG_PERIOD: Duration = Duration::from_secs(30);
/// Dead letters of one chunk that are logged one by one; the rest is counted.
const LETTERS_LOGGED_PER_CHUNK: usize = 10;

impl Sink {
    /// Takes a message into its lane. Where that is not possible now the partition is paused and
    /// the message dropped: it is fetched again from the lane's position.
    pub(super) fn on_message(&mut self, message: &Fetched<'_>) -> Result<(), SinkError> {
        let partition = message.partition();
        // Without a lane the partition was revoked meanwhile: the message is its new owner's.
        let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(()) };
        if lane.paused || lane.is_stale(self.batches) {
            return Ok(());
        }
        let timestamp = message.timestamp().unwrap_or(-1);
        let mark = Mark { offset: Offset(message.offset()), timestamp: Timestamp(timestamp) };
        let decoded = decode(message, mark);
        if decoded.is_err() && !self.dead_letters.has_room() {
            self.letters_blocked = true;
            return self.hold(partition);
        }
        if !self
            .reserve(partition, row_memory_bytes_max(message.payload().map_or(0, <[u8]>::len)))?
        {
            return self.hold(partition);
        }
        loop {
            let now = self.batch_taken_at;
            let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(()) };
            let gap = OffsetRange { start: lane.ledger.position(), end: mark.offset };
            if lane.offer(mark, now) == Verdict::Append {
                self.note_gap(partition, gap);
                break;
            }
            // Sealing at the day's change needs no waiting when the store is free.
            self.pump(partition)?;
            if !self.lanes.get(&partition).is_some_and(|lane| lane.is_accepting() && !lane.paused) {
                return self.hold(partition);
            }
        }
        self.append(partition, mark, message, decoded)
    }

    fn append(
        &mut self,
        partition: Partition,
        mark: Mark,
        message: &Fetched<'_>,
        decoded: Result<PersonRef<'_>, Refusal>,
    ) -> Result<(), SinkError> {
        let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(()) };
        self.metrics.messages.inc();
        match decoded {
            Ok(person) => {
                if lane.append_row(&person, mark)? {
                    self.send_parts(partition)?;
                }
            }
            Err(refusal) => {
                let Refusal { reason, detail } = &refusal;
                if lane.dead_letters() < LETTERS_LOGGED_PER_CHUNK {
                    warn!(%partition, offset = %mark.offset, reason, detail, "malformed message becomes a dead letter");
                }
                let original = message.detach(&self.lane_config.topic);
                lane.append_dead_letter(self.dead_letters.send(original, refusal));
            }
        }
        let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(()) };
        if lane.drain_until.is_some_and(|end| lane.ledger.position() >= end) {
            return self.leave(partition, SealReason::Shutdown);
        }
        if !lane.ledger.is_accepting() {
            self.pump(partition)?;
        }
        Ok(())
    }

    /// Handles an error that came in place of a message: the partition is fetched again from the
    /// lane's position, a little later.
    pub(super) fn on_fetch_error(&mut self, failed: &FetchError) -> Result<(), SinkError> {
        if self.is_new_error(&failed.error)? {
            let FetchError { partition, offset, error } = failed;
            warn!(%partition, offset, %error, "a message could not be fetched; its partition tries again from there");
        }
        let now = self.now();
        if let Some(lane) = self.lanes.get_mut(&failed.partition) {
            lane.resume_not_before = now + FETCH_RETRY_DELAY;
        }
        self.hold(failed.partition)
    }

    /// Handles an error of the Kafka client.
    pub(super) fn on_kafka_error(&mut self, error: &KafkaError) -> Result<(), SinkError> {
        if self.is_new_error(error)? {
            warn!(%error, "kafka client reports an error; it goes on trying");
        }
        Ok(())
    }

    /// Whether an error that is not fatal was not logged lately: without brokers the client says the
    /// same many times a second.
    fn is_new_error(&mut self, error: &KafkaError) -> Result<bool, SinkError> {
        if let KafkaError::MessageConsumptionFatal(_) = error {
            let text = self.group.fatal_error().unwrap_or_else(|| error.to_string());
            return Err(SinkError::Fatal(text));
        }
        let (now, code) = (self.now(), error.rdkafka_error_code().map(|code| code as i32));
        let logged_at = self.kafka_errors_logged.get(&code);
        let is_new = logged_at.is_none_or(|logged_at| now >= *logged_at + KAFKA_ERROR_LOG_PERIOD);
        if is_new {
            self.kafka_errors_logged.insert(code, now);
        }
        Ok(is_new)
    }
}

/// Reads a message, or says why it can't become a row.
fn decode<'a>(message: &'a Fetched<'_>, mark: Mark) -> Result<PersonRef<'a>, Refusal> {
    if mark.timestamp.0 < 0 {
        return Err(Refusal {
            reason: NO_TIMESTAMP,
            detail: "the message has no timestamp".to_owned(),
        });
    }
    if let Some(version) = schema_version(message)
        && version != SCHEMA_VERSION.as_bytes()
    {
        let detail = format!(
            "the header {HEADER_SCHEMA_VERSION} is {:?}, this build reads {SCHEMA_VERSION}",
            String::from_utf8_lossy(version)
        );
        return Err(Refusal { reason: UNSUPPORTED_VERSION, detail });
    }
    message::decode(message.payload().unwrap_or_default())
        .map_err(|malformed| Refusal { reason: malformed.reason.code(), detail: malformed.detail })
}

fn schema_version<'a>(message: &'a Fetched<'_>) -> Option<&'a [u8]> {
    let is_version = |name: &CStr| name.to_bytes() == HEADER_SCHEMA_VERSION.as_bytes();
    message.headers().find(|(name, _)| is_version(name))?.1
}
