//! The record of which dead letters have been replayed: one message each in a compacted topic,
//! written in the transaction that sends the letter.

use std::collections::HashMap;
use std::ops::ControlFlow;

use chunk_ledger::Offset;
use pipeline_model::dead_letter;
use rdkafka::Message;
use serde::{Deserialize, Serialize};

use super::log::Stop;
use super::{Cluster, ClusterError, LetterId, refused};
use crate::coordinates::Coordinates;

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

impl Cluster {
    /// The dead letters of `topic` that have been replayed; `None` if there is no record of them.
    /// Blocks.
    pub fn replayed(&self, topic: &str) -> Result<Option<Replayed>, ClusterError> {
        let markers = replayed_topic_of(topic);
        let Some(logs) = self.logs(&markers)? else { return Ok(None) };
        let what = || format!("can't tell what has been replayed by topic {markers:?}");
        if let Some((partition, log)) = logs.iter().find(|(_, log)| log.start != Offset(0)) {
            // Compaction keeps the start; only retention moves it.
            let detail = format!(
                "its partition {partition} begins at {}, so Kafka has removed records: its \
                 cleanup.policy must be compact",
                log.start
            );
            return Err(refused(what(), &detail));
        }
        let mut replayed = Replayed::new();
        let mut strange = None;
        self.read(&markers, logs, |message| match parse(message.key(), message.payload()) {
            Some((letter, to)) => {
                replayed.insert(letter, to);
                ControlFlow::Continue(())
            }
            None => {
                strange = Some(Coordinates::new(message.partition(), message.offset()));
                ControlFlow::Break(Stop::All)
            }
        })?;
        match strange {
            None => Ok(Some(replayed)),
            Some(place) => {
                let detail = format!("its message at {place} is no such record");
                Err(refused(what(), &detail))
            }
        }
    }
}

/// Key and payload of the record that `letter` went to `to`.
pub(super) fn marker(letter: &LetterId, to: Coordinates) -> serde_json::Result<(String, Vec<u8>)> {
    let marker = Marker { partition: to.partition.0, offset: to.offset.0 };
    Ok((letter.to_string(), serde_json::to_vec(&marker)?))
}

fn parse(key: Option<&[u8]>, payload: Option<&[u8]>) -> Option<(LetterId, Coordinates)> {
    let letter = std::str::from_utf8(key?).ok()?.parse().ok()?;
    let Marker { partition, offset } = serde_json::from_slice(payload?).ok()?;
    Some((letter, Coordinates::new(partition, offset)))
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
        assert_eq!(parse(Some(key.as_bytes()), Some(&payload)), Some((letter, to)));
    }

    #[test]
    fn nothing_else_is_taken_for_a_marker() {
        let payload = br#"{"partition":3,"offset":4711}"#.as_slice();
        let good = "3+120+abababababababababababababababab";
        let keys = ["", "3+120", "3+120+ab", "3+120+gbababababababababababababababab"];
        for key in keys {
            assert_eq!(parse(Some(key.as_bytes()), Some(payload)), None, "{key}");
        }
        assert_eq!(parse(Some(good.as_bytes()), None), None);
        assert_eq!(parse(Some(good.as_bytes()), Some(b"{}")), None);
        assert_eq!(parse(None, Some(payload)), None);
        assert!(parse(Some(good.as_bytes()), Some(payload)).is_some());
    }
}
