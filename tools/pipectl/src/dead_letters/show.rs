//! `dead-letters show`: one letter with everything that it has.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pipeline_model::dead_letter;
use serde::Serialize;

use super::{Filter, LettersConfig, LettersError};
use crate::coordinates::Coordinates;
use crate::kafka::{Cluster, LetterId, Replayed};
use crate::progress;
use crate::text::{printable, rfc3339};

/// Bytes of a payload or of a header that are printed for people.
const PRINTED_BYTES_MAX: usize = 4 << 10;

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The topic of the original message.
    pub topic: String,
    /// Where the original message lay.
    #[serde(flatten)]
    pub origin: Coordinates,
    /// Where the letter lies in the dead-letter topic: the last one, if it was written repeatedly.
    pub letter: Coordinates,
    /// How often it was written.
    pub copies: u64,
    /// How many other messages have lain at the same place, before the topic was created anew.
    pub others: u64,
    /// When the letter was written, in RFC 3339; null where Kafka has no stamp.
    pub written: Option<String>,
    /// The code of the reason.
    pub reason: String,
    /// The reason in words.
    pub detail: String,
    /// Where it went in the topic; null if it has not been replayed.
    pub replayed_to: Option<Coordinates>,
    /// The original message's headers.
    pub headers: Vec<ShownHeader>,
    /// The original message's key; null for none.
    pub key: Option<Bytes>,
    /// The original message's payload; null for none.
    pub payload: Option<Bytes>,
}

/// A header of the original message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownHeader {
    /// Its name.
    pub name: String,
    /// Its value; null for none.
    pub value: Option<Bytes>,
}

/// Bytes; in JSON `{"text": …}` if they are UTF-8, else `{"base64": …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// Looks for the letter of the message at `origin`; `None` if there is none.
pub async fn show(
    config: LettersConfig,
    origin: Coordinates,
) -> Result<Option<Shown>, LettersError> {
    let found = tokio::task::spawn_blocking(move || {
        let cluster = Cluster::connect(&config.kafka, None)?;
        let replayed = cluster.replayed(&config.topic)?.unwrap_or_default();
        find(&cluster, config.topic, origin, &replayed)
    });
    found.await?
}

fn find(
    cluster: &Cluster,
    topic: String,
    origin: Coordinates,
    replayed: &Replayed,
) -> Result<Option<Shown>, LettersError> {
    let filter = Filter { coordinates: [origin].into(), ..Filter::default() };
    let progress = progress::counter("dead letters read");
    let mut ids: Vec<LetterId> = Vec::new();
    let mut last: Option<Shown> = None;
    cluster.letters(&topic, |letter| {
        progress.advance(1);
        if let Ok(letter) = letter
            && filter.admits(&letter)
        {
            let id = letter.id();
            ids.push(id);
            let header = |(name, value): (String, Option<Vec<u8>>)| ShownHeader {
                name,
                value: value.map(Bytes),
            };
            last = Some(Shown {
                topic: topic.clone(),
                origin,
                letter: letter.place(),
                copies: ids.iter().filter(|other| **other == id).count() as u64,
                others: 0,
                written: rfc3339(letter.written()),
                reason: letter.reason().into_owned(),
                detail: letter.detail().into_owned(),
                replayed_to: replayed.get(&id).copied(),
                headers: letter.headers().into_iter().map(header).collect(),
                key: letter.key().map(|key| Bytes(key.to_vec())),
                payload: letter.payload().map(|payload| Bytes(payload.to_vec())),
            });
        }
        ControlFlow::Continue(())
    })?;
    ids.sort_unstable();
    ids.dedup();
    let others = ids.len().saturating_sub(1) as u64;
    Ok(last.map(|shown| Shown { others, ..shown }))
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, origin, letter, .. } = self;
        writeln!(f, "dead letter {origin} of {topic}")?;
        let written = self.written.as_deref().unwrap_or("-");
        writeln!(f, "written   {written}, at {letter} of {}", dead_letter::topic_of(topic))?;
        writeln!(f, "reason    {}", printable(self.reason.as_bytes(), PRINTED_BYTES_MAX))?;
        writeln!(f, "detail    {}", printable(self.detail.as_bytes(), PRINTED_BYTES_MAX))?;
        match &self.replayed_to {
            Some(to) => writeln!(f, "replayed  to {to}")?,
            None => writeln!(f, "replayed  no")?,
        }
        for ShownHeader { name, value } in &self.headers {
            let name = printable(name.as_bytes(), PRINTED_BYTES_MAX);
            writeln!(f, "header    {name}: {}", or_null(value.as_ref()))?;
        }
        writeln!(f, "key       {}", or_null(self.key.as_ref()))?;
        if self.copies > 1 {
            writeln!(f, "note: it was written {} times, after crashes", self.copies)?;
        }
        if self.others > 0 {
            writeln!(
                f,
                "note: {} other messages have lain at {origin}: the topic was created anew",
                self.others
            )?;
        }
        match &self.payload {
            None => write!(f, "payload   null"),
            Some(payload) => write!(
                f,
                "payload   {} bytes; --raw writes them as they are\n{}",
                payload.0.len(),
                printable(&payload.0, PRINTED_BYTES_MAX)
            ),
        }
    }
}

fn or_null(bytes: Option<&Bytes>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |bytes| printable(&bytes.0, PRINTED_BYTES_MAX))
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, text) = match std::str::from_utf8(&self.0) {
            Ok(text) => ("text", text.to_owned()),
            Err(_) => ("base64", BASE64_STANDARD.encode(&self.0)),
        };
        BTreeMap::from([(name, text)]).serialize(serializer)
    }
}
