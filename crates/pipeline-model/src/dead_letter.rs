//! The headers that a dead letter adds to the original message's own: where it came from and why.
//! Key, payload and the other headers are the original's, byte for byte.

/// What the dead-letter topic of a topic is called: `names_topic.dlq`.
pub fn topic_of(topic: &str) -> String {
    format!("{topic}.dlq")
}

/// Header: the topic of the original message.
pub const HEADER_TOPIC: &str = "dead-letter-topic";
/// Header: its partition, as decimal text.
pub const HEADER_PARTITION: &str = "dead-letter-partition";
/// Header: its offset, as decimal text.
pub const HEADER_OFFSET: &str = "dead-letter-offset";
/// Header: the code of the reason, see [`MalformedReason`](crate::message::MalformedReason).
pub const HEADER_REASON: &str = "dead-letter-reason";
/// Header: the reason in words.
pub const HEADER_DETAIL: &str = "dead-letter-detail";
