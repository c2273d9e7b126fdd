//! The dead-letter topic, read from its start to its current end.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use chunk_ledger::{Offset, OffsetRange, Partition, Timestamp};
use md5::{Digest, Md5};
use pipeline_model::dead_letter::{
    HEADER_DETAIL, HEADER_OFFSET, HEADER_PARTITION, HEADER_REASON, HEADER_TOPIC, topic_of,
};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

use super::log::{AtEnd, Stop};
use super::{Cluster, ClusterError};
use crate::coordinates::{Coordinates, NoCoordinates};

/// What the sink adds to the headers of the original message, behind them.
const ADDED: [&str; 5] =
    [HEADER_TOPIC, HEADER_PARTITION, HEADER_OFFSET, HEADER_REASON, HEADER_DETAIL];

/// A header; its value may be null.
pub type Header = (String, Option<Vec<u8>>);

/// A dead letter where it lies.
#[derive(Debug)]
pub struct Letter<'a> {
    message: &'a BorrowedMessage<'a>,
    /// Where the original message lay, in its own topic.
    pub origin: Coordinates,
}

/// Tells dead letters apart: the same message, written twice after a crash of the sink, is one.
///
/// The bytes belong to it, since a topic that is created anew begins at offset 0 again: then one
/// place has had several messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId {
    /// Where the original message lay.
    pub origin: Coordinates,
    /// MD5 of its key and payload.
    pub digest: [u8; 16],
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

/// The dead letters of a topic, as an audit needs them.
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

impl<'a> Letter<'a> {
    fn new(topic: &str, message: &'a BorrowedMessage<'a>) -> Result<Self, Unreadable> {
        origin(topic, message).map(|origin| Self { message, origin }).map_err(|problem| {
            let (partition, offset) = (Partition(message.partition()), Offset(message.offset()));
            Unreadable { partition, offset, problem }
        })
    }

    /// What tells it apart.
    pub fn id(&self) -> LetterId {
        let mut digest = Md5::new();
        // The length, so that no key runs into the payload; a null differs from an empty one.
        for bytes in [self.key(), self.payload()] {
            digest.update(bytes.map_or(-1, |bytes| bytes.len() as i64).to_le_bytes());
            digest.update(bytes.unwrap_or_default());
        }
        LetterId { origin: self.origin, digest: digest.finalize().into() }
    }

    /// Where it lies in the dead-letter topic.
    pub fn place(&self) -> Coordinates {
        Coordinates::new(self.message.partition(), self.message.offset())
    }

    /// When it was written; -1 where Kafka has no stamp.
    pub fn written(&self) -> Timestamp {
        Timestamp(self.message.timestamp().to_millis().unwrap_or(-1))
    }

    /// The code of the reason; empty if it says none.
    pub fn reason(&self) -> Cow<'a, str> {
        self.added(HEADER_REASON)
    }

    /// The reason in words; empty if it says none.
    pub fn detail(&self) -> Cow<'a, str> {
        self.added(HEADER_DETAIL)
    }

    /// The original message's key.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.message.key()
    }

    /// The original message's payload.
    pub fn payload(&self) -> Option<&'a [u8]> {
        self.message.payload()
    }

    /// The original message's headers.
    pub fn headers(&self) -> Vec<Header> {
        let all = self.message.headers().into_iter().flat_map(Headers::iter);
        let mut headers: Vec<Header> =
            all.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect();
        for name in ADDED {
            // Only what was added: the original may have had one of the same name.
            if let Some(last) = headers.iter().rposition(|(key, _)| key == name) {
                headers.remove(last);
            }
        }
        headers
    }

    fn added(&self, name: &str) -> Cow<'a, str> {
        String::from_utf8_lossy(last_header(self.message, name).unwrap_or_default())
    }
}

impl fmt::Display for LetterId {
    /// `3+120+` and the digest in 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:032x}", self.origin, u128::from_be_bytes(self.digest))
    }
}

impl FromStr for LetterId {
    type Err = NoCoordinates;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (origin, digest) = text.rsplit_once('+').ok_or(NoCoordinates)?;
        let number = u128::from_str_radix(digest, 16).map_err(|_| NoCoordinates)?;
        let id = Self { origin: origin.parse()?, digest: number.to_be_bytes() };
        if digest.len() == 32 { Ok(id) } else { Err(NoCoordinates) }
    }
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
    /// Shows `visit` every message of the dead-letter topic of `topic` that is there now, each
    /// partition in order, until it breaks off; an error if there is no such topic. Blocks.
    pub fn letters(
        &self,
        topic: &str,
        visit: impl FnMut(Result<Letter<'_>, Unreadable>) -> ControlFlow<()>,
    ) -> Result<(), ClusterError> {
        let complete = self.letters_if_any(topic, visit)?;
        complete.map(drop).ok_or_else(|| ClusterError::NoTopic(topic_of(topic)))
    }

    /// Whether Kafka still holds every letter that was ever written; `None` if there is no topic.
    fn letters_if_any(
        &self,
        topic: &str,
        mut visit: impl FnMut(Result<Letter<'_>, Unreadable>) -> ControlFlow<()>,
    ) -> Result<Option<bool>, ClusterError> {
        let letters = topic_of(topic);
        let Some(logs) = self.logs(&letters)? else { return Ok(None) };
        let complete = logs.values().all(|log| log.start == Offset(0));
        self.read(&letters, logs, AtEnd::Done, |message| {
            visit(Letter::new(topic, message)).map_break(|()| Stop::All)
        })?;
        Ok(Some(complete))
    }

    /// What the dead letters of `topic` are about; that there may be no topic of them is a part of
    /// the answer. `on_message` hears of each message. Blocks.
    pub fn dead_letters(
        &self,
        topic: &str,
        on_message: impl Fn(),
    ) -> Result<DeadLetterLog, ClusterError> {
        let mut log = DeadLetterLog::default();
        let complete = self.letters_if_any(topic, |letter| {
            on_message();
            log.messages += 1;
            match letter {
                Ok(Letter { origin: Coordinates { partition, offset }, .. }) => {
                    log.offsets.entry(partition).or_default().insert(offset);
                }
                Err(unreadable) => log.unreadable.push(unreadable),
            }
            ControlFlow::Continue(())
        })?;
        let exists = complete.is_some();
        Ok(DeadLetterLog { exists, complete: complete.unwrap_or_default(), ..log })
    }
}

/// Where a dead letter comes from, or what its headers lack.
fn origin(topic: &str, message: &BorrowedMessage<'_>) -> Result<Coordinates, String> {
    let need = |name: &str| {
        let text = last_header(message, name).and_then(|value| std::str::from_utf8(value).ok());
        text.ok_or_else(|| format!("it has no header {name:?}"))
    };
    let found = need(HEADER_TOPIC)?;
    if found != topic {
        return Err(format!("its header {HEADER_TOPIC:?} is {found:?}"));
    }
    let partition = need(HEADER_PARTITION)?;
    let offset = need(HEADER_OFFSET)?;
    match (partition.parse(), offset.parse()) {
        (Ok(partition), Ok(offset)) => Ok(Coordinates::new(partition, offset)),
        (Err(_), _) => Err(format!("its header {HEADER_PARTITION:?} is {partition:?}")),
        (_, Err(_)) => Err(format!("its header {HEADER_OFFSET:?} is {offset:?}")),
    }
}

/// The value of the last header of this name: the sink's stand behind the original's.
fn last_header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a [u8]> {
    message.headers()?.iter().filter(|header| header.key == name).last()?.value
}
