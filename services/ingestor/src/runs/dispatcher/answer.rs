//! The dispatcher's answers to the run API.

use uuid::Uuid;

use super::{Active, Dispatcher};
use crate::runs::Requested;
use crate::runs::history::Status;
use crate::runs::question::{Answer, Begun, Cancelled, Listing, Question, Refusal};
use crate::schedule::Cause;
use crate::summary::Progress;

/// Who asked may be gone by now, and then nobody needs the answer.
pub(super) fn reply<T>(answer: Answer<T>, with: Result<T, Refusal>) {
    drop(answer.send(with));
}

fn refuse(question: Question, refusal: Refusal) {
    match question {
        Question::Begin { answer, .. } => reply(answer, Err(refusal)),
        Question::Show { answer, .. } => reply(answer, Err(refusal)),
        Question::List { answer, .. } => reply(answer, Err(refusal)),
        Question::Cancel { answer, .. } => reply(answer, Err(refusal)),
    }
}

impl Dispatcher {
    pub(super) fn answer(&mut self, question: Question) {
        if let Status::Unread(why) = self.history.status() {
            return refuse(question, Refusal::Starting(why.clone()));
        }
        self.take_progress();
        match question {
            Question::Begin { requested, key, answer } => self.admit(requested, key, answer),
            Question::Show { id, answer } => {
                let run = self.book.get(id).map(|record| record.run.clone());
                reply(answer, run.ok_or(Refusal::NotFound));
            }
            Question::List { limit, answer } => {
                let history_problem = self.history.problem().map(str::to_string);
                reply(answer, Ok(Listing { runs: self.book.newest(limit), history_problem }));
            }
            Question::Cancel { id, answer } => reply(answer, self.cancel(id)),
        }
    }

    /// Begins a run by request. The answer waits until the run is recorded. One with a key begins
    /// only so: the key promises that a repeat begins nothing, after a restart too.
    fn admit(&mut self, requested: Requested, key: Option<String>, answer: Answer<Begun>) {
        if let Some(known) = key.as_deref().and_then(|key| self.book.by_key(key)) {
            let id = known.run.id;
            if known.requested != requested {
                return reply(answer, Err(Refusal::KeyReused(id)));
            }
            return match &mut self.active {
                Some(Active::Queued { id: queued, answers }) if *queued == id => {
                    answers.push(answer);
                }
                _ => reply(answer, Ok(Begun(known.run.clone()))),
            };
        }
        if self.leaving.is_some() {
            return reply(answer, Err(Refusal::Leaving));
        }
        if key.is_some()
            && let Status::InMemory(why) = self.history.status()
        {
            return reply(answer, Err(Refusal::KeyNotKept(why.clone())));
        }
        if let Some(Active::Queued { id, .. } | Active::Running { id, .. }) = &self.active
            && let Some(active) = self.book.get(*id)
        {
            return reply(answer, Err(Refusal::Active(Box::new(active.run.clone()))));
        }
        if let Status::Interrupted(why) = self.history.status() {
            return reply(answer, Err(Refusal::NotRecorded(why.clone())));
        }
        if !self.scheduler.admit() {
            return reply(answer, Err(Refusal::Leaving));
        }
        let id = self.enter(Cause::Api, requested, key);
        match self.history.status() {
            Status::Kept => self.active = Some(Active::Queued { id, answers: vec![answer] }),
            _ => {
                self.begin(id);
                self.tell_begun(id, vec![answer]);
            }
        }
    }

    pub(super) fn tell_begun(&self, id: Uuid, answers: Vec<Answer<Begun>>) {
        for answer in answers {
            let run = self.book.get(id).map(|record| Begun(record.run.clone()));
            reply(answer, run.ok_or(Refusal::NotFound));
        }
    }

    fn cancel(&mut self, id: Uuid) -> Result<Cancelled, Refusal> {
        let run = self.book.get(id).ok_or(Refusal::NotFound)?.run.clone();
        if run.state.has_ended() {
            return Ok(Cancelled::Before(run));
        }
        self.stop_active();
        let run = self.book.get(id).ok_or(Refusal::NotFound)?.run.clone();
        Ok(Cancelled::Soon(run))
    }

    /// Brings the book up to what the active run has done so far.
    fn take_progress(&mut self) {
        if let Some(Active::Running { id, progress, .. }) = &self.active
            && let Some(run) = self.book.get_mut(*id)
        {
            let Progress { counts, last_error } = progress.borrow().clone();
            run.counts = counts;
            run.last_error = last_error;
        }
    }
}
