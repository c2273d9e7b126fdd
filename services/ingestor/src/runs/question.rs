//! What the run API asks the dispatcher, and what it gets as an answer.

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{Requested, Run};

/// Questions that wait; whoever asks one more waits for room.
const QUESTIONS_MAX: usize = 64;

/// A question, with the way back for its answer.
#[derive(Debug)]
pub(super) enum Question {
    Begin { requested: Requested, key: Option<String>, answer: Answer<Begun> },
    Show { id: Uuid, answer: Answer<Run> },
    List { limit: usize, answer: Answer<Listing> },
    Cancel { id: Uuid, answer: Answer<Cancelled> },
}

/// The way back. Who asked may be gone by then, which is no failure.
pub(super) type Answer<T> = oneshot::Sender<Result<T, Refusal>>;

/// The run that a request began, or had begun before.
#[derive(Debug)]
pub(crate) struct Begun(pub(crate) Run);

/// The newest runs.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The newest first.
    pub(crate) runs: Vec<Run>,
    /// Why they would be forgotten at a restart, if so.
    pub(crate) history_problem: Option<String>,
}

/// A run that was told to end.
#[derive(Debug)]
pub(crate) enum Cancelled {
    /// It will end soon.
    Soon(Run),
    /// It had ended before.
    Before(Run),
}

/// Why a question gets no answer.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// The history is not read yet; the text says what it waits for.
    Starting(String),
    /// The process is about to end.
    Leaving,
    /// No run has this id.
    NotFound,
    /// This run is active.
    Active(Box<Run>),
    /// The key belongs to a run with other parameters.
    KeyReused(Uuid),
    /// The run can't be recorded, for this reason, and was not begun.
    NotRecorded(String),
    /// The run was not begun: for this reason a restart would forget its key, or has done so.
    KeyNotKept(String),
}

/// Asks the dispatcher. Clones ask the same one.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    questions: mpsc::Sender<Question>,
}

/// An asker, and where its questions arrive.
pub(super) fn questions() -> (Asker, mpsc::Receiver<Question>) {
    let (questions, arriving) = mpsc::channel(QUESTIONS_MAX);
    (Asker { questions }, arriving)
}

impl Asker {
    /// Begins a run, or finds the one that was begun with this key.
    pub(crate) async fn begin(
        &self,
        requested: Requested,
        key: Option<String>,
    ) -> Result<Begun, Refusal> {
        self.ask(|answer| Question::Begin { requested, key, answer }).await
    }

    /// One run.
    pub(crate) async fn show(&self, id: Uuid) -> Result<Run, Refusal> {
        self.ask(|answer| Question::Show { id, answer }).await
    }

    /// The newest runs.
    pub(crate) async fn list(&self, limit: usize) -> Result<Listing, Refusal> {
        self.ask(|answer| Question::List { limit, answer }).await
    }

    /// Tells a run to end.
    pub(crate) async fn cancel(&self, id: Uuid) -> Result<Cancelled, Refusal> {
        self.ask(|answer| Question::Cancel { id, answer }).await
    }

    async fn ask<T>(&self, question: impl FnOnce(Answer<T>) -> Question) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        // The dispatcher ends before the admin server does.
        self.questions.send(question(answer)).await.map_err(|_| Refusal::Leaving)?;
        answered.await.unwrap_or(Err(Refusal::Leaving))
    }
}
