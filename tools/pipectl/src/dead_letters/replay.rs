//! `dead-letters replay`: sends dead letters back to the topic, each once.
//!
//! A letter and the record of its replay are one transaction, and every replay takes over from the
//! one before it, so a repetition, after a kill at whatever moment, finds exactly what was sent.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use serde::Serialize;
use service_kit::shutdown::Shutdown;

use super::{Filter, LettersConfig, LettersError, write_repeated};
use crate::coordinates::Coordinates;
use crate::kafka::{Cluster, Letter, LetterId, Replay, ReplayError, Replayed, Replayer};
use crate::progress::{self, Progress};
use crate::text::clipped;

/// Header of a replayed message: where it lay when it was refused, `names_topic+3+120`.
pub const HEADER_REPLAYED_FROM: &str = "replayed-from";

/// Bounds of one transaction: readers of committed messages wait until it ends.
const BATCH_LETTERS_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 8 << 20;
const REASON_CHARS_MAX: usize = 60;

/// What to replay, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayConfig {
    /// Whose dead letters.
    pub letters: LettersConfig,
    /// Which of them.
    pub filter: Filter,
    /// How many of them at most; those replayed before don't count.
    pub limit: usize,
    /// Send nothing.
    pub dry_run: bool,
    /// A file whose bytes are sent instead of the payload of the one letter selected.
    pub payload: Option<PathBuf>,
}

/// How a replay went.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Outcome {
    /// The topic.
    pub topic: String,
    /// Whether nothing was to be sent.
    pub dry_run: bool,
    /// Letters sent; of a dry run, those that would be.
    pub sent: u64,
    /// Letters that an earlier replay has sent.
    pub sent_before: u64,
    /// Repetitions of letters, which the sink writes after a crash.
    pub repeated: u64,
    /// Letters that the topic does not accept, such as too large ones.
    pub refused: Vec<RefusedLetter>,
    /// Messages in the dead-letter topic that are no letter of the topic.
    pub unreadable: u64,
    /// Whether a signal ended it before it was done.
    pub interrupted: bool,
    /// Of a dry run, what would be sent.
    pub preview: Vec<Preview>,
}

/// A letter that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedLetter {
    /// Where the original message lay.
    #[serde(flatten)]
    pub origin: Coordinates,
    /// Why it was not accepted.
    pub cause: String,
}

/// A letter that would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// Where the original message lay.
    #[serde(flatten)]
    pub origin: Coordinates,
    /// Why it was refused.
    pub reason: String,
    /// Size of the payload that would be sent; null for a null payload.
    pub payload_bytes: Option<u64>,
}

/// Replays. `shutdown` ends it after the batch under way.
pub async fn replay(config: ReplayConfig, shutdown: Shutdown) -> Result<Outcome, LettersError> {
    tokio::task::spawn_blocking(move || {
        let payload = match &config.payload {
            None => None,
            Some(path) => Some(
                fs::read(path)
                    .map_err(|source| LettersError::Payload { path: path.clone(), source })?,
            ),
        };
        let LettersConfig { kafka, topic } = &config.letters;
        let cluster = Cluster::connect(kafka, None)?;
        let (replayer, replayed) = match config.dry_run {
            true => (None, cluster.replayed(topic)?.unwrap_or_default()),
            false => {
                let replayer = Replayer::take_over(kafka, &cluster, topic)?;
                let replayed = cluster.replayed_before(topic, replayer.session())?;
                (Some(replayer), replayed)
            }
        };
        let mut run = Run::new(&config, payload, replayer, &shutdown);
        run.all(&cluster, &replayed)?;
        Ok(run.outcome)
    })
    .await?
}

/// One replay under way.
struct Run<'a> {
    config: &'a ReplayConfig,
    payload: Option<Vec<u8>>,
    /// `None` for a dry run.
    replayer: Option<Replayer>,
    shutdown: &'a Shutdown,
    seen: HashSet<LetterId>,
    batch: Vec<Replay>,
    batch_bytes: usize,
    taken: usize,
    outcome: Outcome,
}

impl<'a> Run<'a> {
    fn new(
        config: &'a ReplayConfig,
        payload: Option<Vec<u8>>,
        replayer: Option<Replayer>,
        shutdown: &'a Shutdown,
    ) -> Self {
        let outcome = Outcome {
            topic: config.letters.topic.clone(),
            dry_run: config.dry_run,
            ..Outcome::default()
        };
        Self {
            config,
            payload,
            replayer,
            shutdown,
            seen: HashSet::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            taken: 0,
            outcome,
        }
    }

    /// Reads the letters that are there now, and sends those that are meant. Letters that the sink
    /// writes meanwhile, such as those of messages that are refused again, are left alone.
    fn all(&mut self, cluster: &Cluster, replayed: &Replayed) -> Result<(), LettersError> {
        let progress = progress::counter("dead letters read");
        let mut result = Ok(());
        cluster.letters(&self.config.letters.topic, |letter| {
            progress.advance(1);
            match letter {
                Err(_) => self.outcome.unreadable += 1,
                Ok(letter) if self.config.filter.admits(&letter) => {
                    self.take(&letter, replayed);
                    if self.is_full() {
                        result = self.flush(&progress);
                    }
                }
                Ok(_) => {}
            }
            self.outcome.interrupted |= self.shutdown.requested();
            match result.is_err() || self.is_done() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        result?;
        match self.selected() {
            0 if self.payload.is_some() => Err(LettersError::NotOne { selected: "none is" }),
            2.. if self.payload.is_some() => Err(LettersError::NotOne { selected: "several are" }),
            _ => self.flush(&progress),
        }
    }

    fn take(&mut self, letter: &Letter<'_>, replayed: &Replayed) {
        let id = letter.id();
        if !self.seen.insert(id) {
            self.outcome.repeated += 1;
        } else if replayed.contains_key(&id) {
            self.outcome.sent_before += 1;
        } else {
            self.taken += 1;
            let replay = self.to_replay(letter, id);
            if self.config.dry_run {
                self.outcome.preview.push(Preview {
                    origin: letter.origin,
                    reason: letter.reason().into_owned(),
                    payload_bytes: replay.payload.as_ref().map(|payload| payload.len() as u64),
                });
            } else {
                self.batch_bytes += replay.payload.as_ref().map_or(0, Vec::len);
                self.batch.push(replay);
            }
        }
    }

    /// The message as it was, but for the header that says where it has been.
    fn to_replay(&self, letter: &Letter<'_>, id: LetterId) -> Replay {
        let mut headers = letter.headers();
        // Of a message that is replayed again: its letter tells where it was before.
        headers.retain(|(name, _)| name != HEADER_REPLAYED_FROM);
        let from = format!("{}+{}", self.config.letters.topic, letter.origin);
        headers.push((HEADER_REPLAYED_FROM.to_owned(), Some(from.into_bytes())));
        let payload = self.payload.as_deref().or(letter.payload());
        Replay {
            letter: id,
            key: letter.key().map(<[u8]>::to_vec),
            payload: payload.map(<[u8]>::to_vec),
            headers,
        }
    }

    fn is_full(&self) -> bool {
        // A payload from a file is for one letter: that there is no other is known at the end.
        self.payload.is_none()
            && (self.batch.len() >= BATCH_LETTERS_MAX || self.batch_bytes >= BATCH_BYTES_MAX)
    }

    fn is_done(&self) -> bool {
        let is_too_much = self.payload.is_some() && self.selected() > 1;
        self.taken >= self.config.limit || self.outcome.interrupted || is_too_much
    }

    /// Letters that are meant, whether they are to be sent or were sent before.
    const fn selected(&self) -> u64 {
        self.taken as u64 + self.outcome.sent_before
    }

    fn flush(&mut self, progress: &Progress) -> Result<(), LettersError> {
        let mut batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        // Letters lie in the order of their deliveries; messages of one key belong in theirs.
        batch.sort_by_key(|replay| replay.letter.origin);
        if self.config.dry_run {
            self.outcome.sent = self.outcome.preview.len() as u64;
        }
        let Some(replayer) = self.replayer.as_ref().filter(|_| !batch.is_empty()) else {
            return Ok(());
        };
        if self.outcome.interrupted {
            return Ok(());
        }
        progress.say(format!("{} sent, letters read", self.outcome.sent));
        match replayer.send(&batch) {
            Ok(_) => self.outcome.sent += batch.len() as u64,
            Err(ReplayError::Refused { .. }) => self.one_by_one(&batch)?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Finds out which letters of a batch are not accepted, and sends the others.
    fn one_by_one(&mut self, batch: &[Replay]) -> Result<(), LettersError> {
        let Some(replayer) = &self.replayer else { return Ok(()) };
        for replay in batch {
            match replayer.send(std::slice::from_ref(replay)) {
                Ok(_) => self.outcome.sent += 1,
                Err(ReplayError::Refused { origin, cause, .. }) => {
                    self.outcome.refused.push(RefusedLetter { origin, cause: cause.to_string() });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Outcome {
    /// Whether everything that was meant is sent, by now or before.
    pub const fn is_complete(&self) -> bool {
        self.refused.is_empty() && !self.interrupted
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, sent, sent_before, .. } = self;
        for Preview { origin, reason, payload_bytes } in &self.preview {
            let reason = clipped(reason, REASON_CHARS_MAX);
            let size = payload_bytes.map_or("null".to_owned(), |bytes| format!("{bytes} bytes"));
            writeln!(f, "would send {origin} ({reason}, {size})")?;
        }
        for RefusedLetter { origin, cause } in &self.refused {
            writeln!(f, "not accepted: {origin}: {cause}")?;
        }
        write_repeated(f, self.repeated)?;
        if self.unreadable > 0 {
            writeln!(f, "note: {} messages are no dead letters of {topic}", self.unreadable)?;
        }
        if self.interrupted {
            writeln!(f, "note: interrupted; the same command sends the rest")?;
        } else if *sent + *sent_before + self.refused.len() as u64 == 0 {
            writeln!(
                f,
                "note: no dead letter is selected; `dead-letters list` shows what there is"
            )?;
        }
        let verb = if self.dry_run { "would be sent" } else { "sent" };
        write!(
            f,
            "replay: {sent} dead letters {verb} to {topic}, {sent_before} sent before, {} not accepted",
            self.refused.len()
        )
    }
}
