//! `dead-letters list`: a line for each letter, and how many there are for each reason.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::ControlFlow;

use chunk_ledger::Timestamp;
use pipeline_model::dead_letter;
use serde::Serialize;

use super::{Filter, LettersConfig, LettersError, write_repeated};
use crate::columns::{self, Column};
use crate::coordinates::Coordinates;
use crate::kafka::{Cluster, Letter};
use crate::progress;
use crate::text::{clipped, rfc3339};

/// Characters of a detail in the table.
const DETAIL_CHARS_MAX: usize = 60;

const COLUMNS: [Column<Listed>; 6] = [
    Column { name: "coordinates", right: false, value: |one| one.origin.to_string() },
    Column { name: "written", right: false, value: |one| or_dash(one.written.as_ref()) },
    Column { name: "reason", right: false, value: |one| clipped(&one.reason, DETAIL_CHARS_MAX) },
    Column {
        name: "bytes",
        right: true,
        value: |one| one.payload_bytes.map_or_else(|| "null".to_owned(), |bytes| bytes.to_string()),
    },
    Column { name: "replayed to", right: false, value: |one| or_dash(one.replayed_to.as_ref()) },
    Column { name: "detail", right: false, value: |one| clipped(&one.detail, DETAIL_CHARS_MAX) },
];

/// The dead letters that a filter admits, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The topic of the original messages.
    pub topic: String,
    /// The letters, as many as were asked for.
    pub letters: Vec<Listed>,
    /// By reason, over all letters admitted.
    pub reasons: BTreeMap<String, ReasonCounts>,
    /// Over all letters admitted.
    pub totals: Totals,
}

/// One dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Where the original message lay.
    #[serde(flatten)]
    pub origin: Coordinates,
    /// When the letter was written, in RFC 3339; null where Kafka has no stamp.
    pub written: Option<String>,
    /// The code of the reason.
    pub reason: String,
    /// The reason in words.
    pub detail: String,
    /// Size of the payload; null for a null payload.
    pub payload_bytes: Option<u64>,
    /// Where it went in the topic; null if it has not been replayed.
    pub replayed_to: Option<Coordinates>,
    /// Where it lies in the dead-letter topic.
    pub letter: Coordinates,
}

/// Letters of one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ReasonCounts {
    /// How many there are.
    pub letters: u64,
    /// How many of them have been replayed.
    pub replayed: u64,
}

/// Counts over all letters admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Letters, each counted once.
    pub letters: u64,
    /// How many of them have been replayed.
    pub replayed: u64,
    /// Repetitions of letters, which the sink writes after a crash.
    pub repeated: u64,
    /// Messages in the dead-letter topic that are no letter of the topic; not filtered.
    pub unreadable: u64,
}

/// Lists the letters that `filter` admits, up to `limit` of them.
pub async fn list(
    config: LettersConfig,
    filter: Filter,
    limit: usize,
) -> Result<Listing, LettersError> {
    tokio::task::spawn_blocking(move || {
        let LettersConfig { kafka, topic } = config;
        let cluster = Cluster::connect(&kafka, None)?;
        let replayed = cluster.replayed(&topic)?.unwrap_or_default();
        let progress = progress::counter("dead letters read");
        let (mut seen, mut collector) = (HashSet::new(), Collector::new(limit));
        cluster.letters(&topic, |letter| {
            progress.advance(1);
            match letter {
                Err(_) => collector.totals.unreadable += 1,
                Ok(letter) if !filter.admits(&letter) => {}
                Ok(letter) => {
                    let id = letter.id();
                    match seen.insert(id) {
                        true => collector.add(&letter, replayed.get(&id).copied()),
                        false => collector.totals.repeated += 1,
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        drop(progress);
        Ok(collector.finish(topic))
    })
    .await?
}

/// Keeps the first letters, by the time at which they were written: partitions of the dead-letter
/// topic come in any order.
struct Collector {
    limit: usize,
    letters: BTreeMap<(Timestamp, Coordinates, Coordinates), Listed>,
    reasons: BTreeMap<String, ReasonCounts>,
    totals: Totals,
}

impl Collector {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            letters: BTreeMap::new(),
            reasons: BTreeMap::new(),
            totals: Totals::default(),
        }
    }

    fn add(&mut self, letter: &Letter<'_>, replayed_to: Option<Coordinates>) {
        let replayed = u64::from(replayed_to.is_some());
        self.totals.letters += 1;
        self.totals.replayed += replayed;
        let counts = self.reasons.entry(letter.reason().into_owned()).or_default();
        counts.letters += 1;
        counts.replayed += replayed;
        let listed = Listed {
            origin: letter.origin,
            written: rfc3339(letter.written()),
            reason: letter.reason().into_owned(),
            detail: letter.detail().into_owned(),
            payload_bytes: letter.payload().map(|payload| payload.len() as u64),
            replayed_to,
            letter: letter.place(),
        };
        self.letters.insert((letter.written(), letter.origin, letter.place()), listed);
        if self.letters.len() > self.limit {
            self.letters.pop_last();
        }
    }

    fn finish(self, topic: String) -> Listing {
        let Self { letters, reasons, totals, .. } = self;
        Listing { topic, letters: letters.into_values().collect(), reasons, totals }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, letters, reasons, totals } = self;
        if !letters.is_empty() {
            columns::write(f, &COLUMNS, letters)?;
            writeln!(f)?;
        }
        if (letters.len() as u64) < totals.letters {
            writeln!(f, "the first {} of {} letters are shown", letters.len(), totals.letters)?;
        }
        for (reason, ReasonCounts { letters, replayed }) in reasons {
            let reason = match reason.as_str() {
                "" => "without a reason".to_owned(),
                reason => clipped(reason, DETAIL_CHARS_MAX),
            };
            writeln!(f, "{reason}: {letters} letters, {replayed} replayed")?;
        }
        write_repeated(f, totals.repeated)?;
        if totals.unreadable > 0 {
            let dlq = dead_letter::topic_of(topic);
            writeln!(
                f,
                "note: {} messages of {dlq} are no dead letters of {topic}",
                totals.unreadable
            )?;
        }
        write!(f, "dead-letters: {} of {topic}, {} replayed", totals.letters, totals.replayed)
    }
}

fn or_dash(value: Option<&impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}
