//! The search itself: which steps are possible in a world, and where each of them leads.

use std::sync::Arc;

use chunk_ledger::StoreOutcome;
use stateright::{Model, Property};

use crate::properties;
use crate::rules::{Rules, Runtime, Step};
use crate::runtime::{AGE_MAX, COMMIT_RETRY, T0};
use crate::world::{Probe, Process, Put, World};

impl Model for Rules {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for (index, slot) in world.processes.iter().enumerate() {
            let owns = slot.as_ref().is_some_and(|process| process.sink.is_some());
            // Of two empty slots the first is taken: they are the same but for their number.
            let is_twin = slot.is_none() && world.processes[..index].contains(&None);
            let may_assign = !owns && !is_twin && world.assignments < self.assignments_max;
            if may_assign {
                steps.push(Step::Assign(index));
            }
            let Some(process) = slot else { continue };
            if may_assign {
                steps.push(Step::AssignRestarted(index));
            }
            if owns {
                steps.push(Step::Leave(index));
            }
            self.own_steps(world, index, process, steps);
            if process.requests.put.is_some() && world.lost_answers < self.lost_answers_max {
                steps.push(Step::LosePut(index));
            }
            if world.lost_uploads < self.lost_uploads_max {
                self.losses(world, index, process, steps);
            }
            if process.requests.commit.is_some() && world.lost_commits < self.lost_commits_max {
                steps.extend([Step::LoseCommit(index), Step::LoseCommitAnswer(index)]);
            }
        }
        steps.extend((0..world.late_puts.len()).map(Step::ApplyLatePut));
        steps.extend(world.late_commits.iter().copied().map(Step::ApplyLateCommit));
        if world.removed < self.removed_max {
            steps.push(Step::Retain);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut world = world.clone();
        self.take(&mut world, step)?;
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = properties::invariants();
        if self.with_examples {
            properties.extend(properties::examples());
        }
        if self.lost_uploads_max > 0 {
            properties.extend(properties::examples_of_losses());
        }
        if self.removed_max > 0 {
            properties.extend(properties::examples_of_k1());
        }
        properties
    }
}

impl Rules {
    /// The steps by which a process gets on when nothing goes wrong.
    pub(crate) fn own_steps(
        &self,
        world: &World,
        index: usize,
        process: &Process,
        steps: &mut Vec<Step>,
    ) {
        if let Some(sink) = &process.sink {
            if sink.ledger.is_accepting() && self.next_message(world, sink).is_some() {
                steps.push(Step::Deliver(index));
            }
            let deadline = sink.ledger.next_deadline();
            if deadline.is_some_and(|deadline| deadline <= COMMIT_RETRY) {
                steps.push(Step::RetryCommit(index));
            }
            if deadline.is_some() && sink.ledger.open_since().is_some() {
                steps.push(Step::Age(index));
            }
        }
        match &process.requests.probe {
            Some(Probe { answer: None, .. }) => steps.push(Step::ReadProbe(index)),
            Some(Probe { answer: Some(_), .. }) => steps.push(Step::AnswerProbe(index)),
            None => {}
        }
        match &process.requests.put {
            Some(Put { answer: None, .. }) => steps.push(Step::ApplyPut(index)),
            Some(Put { answer: Some(_), .. }) => steps.push(Step::AnswerPut(index)),
            None => {}
        }
        if process.requests.commit.is_some() {
            steps.push(Step::Commit(index));
        }
    }

    /// How a process may lose what it has sent of a chunk.
    fn losses(&self, world: &World, index: usize, process: &Process, steps: &mut Vec<Step>) {
        if process.sink.as_ref().is_some_and(|sink| sink.ledger.opening().is_some()) {
            steps.push(Step::LoseOpen(index));
        }
        // A sink that finds an object takes its word, and not that of the missing upload.
        if let Some(Put { content, answer: None }) = &process.requests.put
            && !world.objects.contains_key(&content.key())
        {
            steps.extend([Step::LoseUpload(index), Step::LoseUploadToItself(index)]);
        }
    }

    /// Does a step that is possible; `None` if it is not.
    fn take(&self, world: &mut World, step: Step) -> Option<()> {
        match step {
            Step::Assign(index) => self.assign(world, index),
            Step::AssignRestarted(index) => {
                world.processes[index] = None;
                self.assign(world, index);
            }
            Step::Leave(index) => {
                let process = world.processes[index].as_mut()?;
                process.sink = None;
                let requests = std::mem::take(&mut process.requests);
                self.abandon(world, index, requests);
            }
            Step::Deliver(index) => {
                let sink = world.processes[index].as_ref()?.sink.as_ref()?;
                let message = self.next_message(world, sink)?;
                self.report(world, index, T0, |sink| sink.offer(message));
            }
            Step::Age(index) => self.report(world, index, AGE_MAX, |_| ()),
            Step::RetryCommit(index) => self.report(world, index, COMMIT_RETRY, |_| ()),
            Step::ReadProbe(index) => {
                let probe = world.processes[index].as_mut()?.requests.probe.as_mut()?;
                let object = world.objects.get(&probe.key);
                probe.answer = Some(object.map(|object| object.now.chunk));
            }
            Step::AnswerProbe(index) => {
                let probe = world.processes[index].as_mut()?.requests.probe.take()?;
                let found = probe.answer?;
                self.report(world, index, T0, |sink| sink.ledger.probed(found));
            }
            Step::ApplyPut(_) | Step::AnswerPut(_) | Step::LosePut(_) => {
                self.take_put(world, step)?
            }
            Step::LoseOpen(_) | Step::LoseUpload(_) | Step::LoseUploadToItself(_) => {
                self.take_loss(world, step)?
            }
            Step::Commit(_) | Step::LoseCommit(_) | Step::LoseCommitAnswer(_) => {
                self.take_commit(world, step)?
            }
            Step::ApplyLatePut(place) => {
                let content = world.late_puts.remove(place);
                self.store(world, &content, true);
            }
            Step::ApplyLateCommit(offset) => {
                world.late_commits.remove(&offset);
                world.committed = Some(offset);
            }
            Step::Retain => world.removed += 1,
        }
        Some(())
    }

    fn take_put(&self, world: &mut World, step: Step) -> Option<()> {
        match step {
            Step::ApplyPut(index) => {
                let requests = &world.processes[index].as_ref()?.requests;
                let content = Arc::clone(&requests.put.as_ref()?.content);
                let answer = self.store(world, &content, false);
                world.processes[index].as_mut()?.requests.put.as_mut()?.answer = Some(answer);
            }
            Step::AnswerPut(index) => {
                let put = world.processes[index].as_mut()?.requests.put.take()?;
                let outcome = self.outcome(put.answer?);
                self.report(world, index, T0, |sink| sink.ledger.stored(outcome));
            }
            Step::LosePut(index) => {
                world.lost_answers += 1;
                let put = world.processes[index].as_mut()?.requests.put.as_mut()?;
                // Sent again; if the store did not see it yet, the first try travels on, too.
                if put.answer.take().is_none() {
                    let content = Arc::clone(&put.content);
                    self.abandon_put(world, content);
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn take_loss(&self, world: &mut World, step: Step) -> Option<()> {
        world.lost_uploads += 1;
        match step {
            Step::LoseOpen(index) => self.report(world, index, T0, |sink| sink.ledger.lose_open()),
            Step::LoseUpload(index) | Step::LoseUploadToItself(index) => {
                let put = world.processes[index].as_mut()?.requests.put.take()?;
                if step == Step::LoseUploadToItself(index) {
                    self.abandon_put(world, put.content);
                }
                let outcome = match self.runtime {
                    Runtime::IgnoresLosses => StoreOutcome::Created,
                    _ => StoreOutcome::Lost,
                };
                self.report(world, index, T0, |sink| sink.ledger.stored(outcome));
            }
            _ => return None,
        }
        Some(())
    }

    fn take_commit(&self, world: &mut World, step: Step) -> Option<()> {
        let (Step::Commit(index) | Step::LoseCommit(index) | Step::LoseCommitAnswer(index)) = step
        else {
            return None;
        };
        let offset = world.processes[index].as_mut()?.requests.commit.take()?;
        let arrives = !matches!(step, Step::LoseCommit(_));
        let is_taken = arrives && self.takes_commits_of(world, index);
        if is_taken {
            world.committed = Some(offset);
        }
        let is_answered = matches!(step, Step::Commit(_));
        if !is_answered {
            world.lost_commits += 1;
        }
        let succeeded = is_taken && is_answered;
        self.report(world, index, T0, |sink| sink.ledger.commit_done(succeeded, T0));
        Some(())
    }
}
