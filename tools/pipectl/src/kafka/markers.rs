//! The record of which dead letters have been replayed: one message each in a compacted topic,
//! written in the transaction that sends the letter.

use std::collections::HashMap;
use std::ops::ControlFlow;

use chunk_ledger::{Offset, OffsetRange};
use pipeline_model::dead_letter;
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use serde::{Deserialize, Serialize};

use super::log::{AtEnd, Stop};
use super::{Cluster, ClusterError, LetterId, refused};
use crate::coordinates::Coordinates;

/// No letter's key looks like it.
const SESSION_KEY: &str = "session";

/// What the record of a topic's replays is called: `names_topic.dlq.replayed`.
pub fn replayed_topic_of(topic: &str) -> String {
    format!("{}.replayed", dead_letter::topic_of(topic))
}

/// The dead letters that have been replayed, and where they went.
pub type Replayed = HashMap<LetterId, Coordinates>;

/// What a marker says, as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    /// Where the letter went, in the main topic.
    partition: i32,
    offset: i64,
}

/// Names the replay that has taken over. Its own message in each partition of the record is proof
/// that everything before it has been read, whatever the brokers say of where a log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session(String);

/// What stands in the record.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    /// A letter was replayed, and went there.
    Replayed(LetterId, Coordinates),
    /// Somebody wants the letter's replay forgotten.
    Forgotten(LetterId),
    /// A replay has taken over.
    Session(Session),
}

impl Session {
    /// One that never was.
    pub(super) fn new() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// Key and payload of its message.
    pub(super) fn message(&self) -> (&'static str, &[u8]) {
        (SESSION_KEY, self.0.as_bytes())
    }
}

impl Cluster {
    /// The dead letters of `topic` that have been replayed; `None` if there is no record of them.
    /// Good enough to be shown: to rely on it takes [`replayed_before`](Self::replayed_before).
    /// Blocks.
    pub fn replayed(&self, topic: &str) -> Result<Option<Replayed>, ClusterError> {
        let topic = replayed_topic_of(topic);
        let Some(logs) = self.logs(&topic)? else { return Ok(None) };
        let read = |visit: &mut Visit<'_>| self.read(&topic, logs, AtEnd::Done, visit);
        collect(&topic, read, |_| ControlFlow::Continue(())).map(Some)
    }

    /// Every dead letter of `topic` that was replayed before `session` took over. Blocks.
    pub fn replayed_before(
        &self,
        topic: &str,
        session: &Session,
    ) -> Result<Replayed, ClusterError> {
        let topic = replayed_topic_of(topic);
        let logs = self.logs(&topic)?.ok_or_else(|| ClusterError::NoTopic(topic.clone()))?;
        if let Some((partition, log)) = logs.iter().find(|(_, log)| log.start != Offset(0)) {
            // Compaction keeps the start; only retention moves it.
            let detail = format!(
                "its partition {partition} begins at {}, so Kafka has removed records, where \
                 cleanup.policy must be compact; the messages' own header `replayed-from` still \
                 tells; deleted and made anew by `pipectl topics ensure`, it knows of no replay",
                log.start
            );
            return Err(unreliable(&topic, &detail));
        }
        let whole = |(partition, log): (_, OffsetRange)| {
            (partition, OffsetRange { end: Offset(i64::MAX), ..log })
        };
        let logs = logs.into_iter().map(whole).collect();
        let read = |visit: &mut Visit<'_>| self.read(&topic, logs, AtEnd::Wait, visit);
        collect(&topic, read, |seen| match seen == session {
            true => ControlFlow::Break(Stop::Partition),
            false => ControlFlow::Continue(()),
        })
    }
}

type Visit<'a> = dyn FnMut(&BorrowedMessage<'_>) -> ControlFlow<Stop> + 'a;

/// Makes one of all entries that `read` shows.
fn collect(
    topic: &str,
    read: impl FnOnce(&mut Visit<'_>) -> Result<(), ClusterError>,
    on_session: impl Fn(&Session) -> ControlFlow<Stop>,
) -> Result<Replayed, ClusterError> {
    let mut replayed = Replayed::new();
    let mut strange = None;
    read(&mut |message| {
        match parse(message.key(), message.payload()) {
            Some(Entry::Replayed(letter, to)) => drop(replayed.insert(letter, to)),
            Some(Entry::Forgotten(letter)) => drop(replayed.remove(&letter)),
            Some(Entry::Session(session)) => return on_session(&session),
            None => {
                strange = Some(Coordinates::new(message.partition(), message.offset()));
                return ControlFlow::Break(Stop::All);
            }
        }
        ControlFlow::Continue(())
    })?;
    match strange {
        None => Ok(replayed),
        Some(place) => {
            Err(unreliable(topic, &format!("its message at {place} is none of this tool's")))
        }
    }
}

fn unreliable(topic: &str, detail: &str) -> ClusterError {
    refused(format!("topic {topic:?} can't tell what has been replayed"), &detail)
}

/// Key and payload of the record that `letter` went to `to`.
pub(super) fn marker(letter: &LetterId, to: Coordinates) -> serde_json::Result<(String, Vec<u8>)> {
    let marker = Marker { partition: to.partition.0, offset: to.offset.0 };
    Ok((letter.to_string(), serde_json::to_vec(&marker)?))
}

fn parse(key: Option<&[u8]>, payload: Option<&[u8]>) -> Option<Entry> {
    let key = std::str::from_utf8(key?).ok()?;
    if key == SESSION_KEY {
        let session = std::str::from_utf8(payload?).ok()?;
        return Some(Entry::Session(Session(session.to_owned())));
    }
    let letter = key.parse().ok()?;
    let Some(payload) = payload else { return Some(Entry::Forgotten(letter)) };
    let Marker { partition, offset } = serde_json::from_slice(payload).ok()?;
    Some(Entry::Replayed(letter, Coordinates::new(partition, offset)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_marker_reads_back() {
        let letter = LetterId { origin: Coordinates::new(3, 120), digest: [0xab; 16] };
        let to = Coordinates::new(3, 4711);
        let (key, payload) = marker(&letter, to).unwrap();
        assert_eq!(key, "3+120+abababababababababababababababab");
        assert_eq!(payload, br#"{"partition":3,"offset":4711}"#);
        let replayed = Some(Entry::Replayed(letter, to));
        assert_eq!(parse(Some(key.as_bytes()), Some(&payload)), replayed);
        assert_eq!(parse(Some(key.as_bytes()), None), Some(Entry::Forgotten(letter)));
    }

    #[test]
    fn a_session_reads_back() {
        let session = Session::new();
        assert_ne!(session, Session::new());
        let (key, payload) = session.message();
        let entry = parse(Some(key.as_bytes()), Some(payload));
        assert_eq!(entry, Some(Entry::Session(session.clone())));
    }

    #[test]
    fn nothing_else_is_taken_for_a_marker() {
        let payload = br#"{"partition":3,"offset":4711}"#.as_slice();
        let good = "3+120+abababababababababababababababab";
        let keys = ["", "3+120", "3+120+ab", "3+120+gbababababababababababababababab"];
        for key in keys {
            assert_eq!(parse(Some(key.as_bytes()), Some(payload)), None, "{key}");
        }
        assert_eq!(parse(Some(SESSION_KEY.as_bytes()), None), None);
        assert_eq!(parse(Some(good.as_bytes()), Some(b"{}")), None);
        assert_eq!(parse(None, Some(payload)), None);
        assert!(parse(Some(good.as_bytes()), Some(payload)).is_some());
    }
}
