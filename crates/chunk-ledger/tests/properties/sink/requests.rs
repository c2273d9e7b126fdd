//! How what a sink has sent ends, and what others do to its store meanwhile.

use chunk_ledger::{Chunk, OffsetRange, StoreOutcome};

use super::{Content, End, Lane, RIVAL, World};

impl World {
    /// The store answers a probe, if one waits.
    pub(crate) fn answer_probe(&mut self, index: usize) {
        let Some(owned) = &mut self.lanes[index].owned else { return };
        let Some(key) = owned.probe.take() else { return };
        let found = self.objects.get(&key).map(|content| content.chunk);
        self.met.extend(found.map(|_| "adopted by a probe"));
        owned.ledger.probed(found);
        self.obey(index);
    }

    /// A PUT ends, if one waits. Whatever is not answered is sent again.
    pub(crate) fn end_put(&mut self, index: usize, end: End) {
        let Some(owned) = &mut self.lanes[index].owned else { return };
        let Some(content) = owned.put.clone() else { return };
        match end {
            End::Answered => {
                let chunk = content.chunk;
                let outcome = self.create(content);
                self.met.insert(match outcome {
                    StoreOutcome::Created => "created",
                    StoreOutcome::Exists(winner) if winner == chunk => "own earlier try",
                    StoreOutcome::Exists(winner) if winner.writer == chunk.writer => {
                        "conflict with oneself"
                    }
                    StoreOutcome::Exists(_) => "conflict",
                    StoreOutcome::Lost => "upload lost",
                });
                self.end_storing(index, outcome);
            }
            End::AnswerLost => {
                self.create(content);
            }
            End::Failed => self.late_puts.push(content),
            End::Lost => self.lose_put(index, content),
        }
    }

    /// The upload is gone when it is to be completed; the sink looks for the object before it
    /// believes that. A completion that was given up may still arrive.
    fn lose_put(&mut self, index: usize, content: Content) {
        let chunk = content.chunk;
        let key = self.layout.key(chunk.partition, chunk.day(), chunk.range.start);
        let outcome = match self.objects.get(&key) {
            Some(found) => StoreOutcome::Exists(found.chunk),
            None => StoreOutcome::Lost,
        };
        if outcome == StoreOutcome::Lost {
            self.met.insert("upload lost");
            self.late_puts.push(content);
        }
        self.end_storing(index, outcome);
    }

    fn end_storing(&mut self, index: usize, outcome: StoreOutcome) {
        let lane = &mut self.lanes[index];
        self.budget.release_storing(lane.partition);
        if let Some(owned) = &mut lane.owned {
            owned.put = None;
            owned.ledger.stored(outcome);
        }
        self.obey(index);
    }

    /// Up to `bytes` of the open chunk set off for the store.
    pub(crate) fn send_part(&mut self, index: usize, bytes: u64) {
        let Lane { owned: Some(owned), partition, .. } = &mut self.lanes[index] else { return };
        let part = bytes.min(owned.held_bytes);
        owned.held_bytes -= part;
        owned.part_bytes += part;
        self.budget.send_part(*partition, part, owned.held_bytes);
    }

    /// Everything that is on its way has reached the store; it lies there for nobody to see.
    pub(crate) fn store_parts(&mut self, index: usize) {
        let Lane { owned: Some(owned), partition, .. } = &mut self.lanes[index] else { return };
        self.budget.release_part(*partition, std::mem::take(&mut owned.part_bytes));
        self.budget.release_storing_part(*partition, u64::MAX);
    }

    /// Somebody removed the parts of the open chunk.
    pub(crate) fn lose_open(&mut self, index: usize) {
        let Some(owned) = &mut self.lanes[index].owned else { return };
        self.met.extend(owned.ledger.opening().map(|_| "open chunk lost"));
        owned.ledger.lose_open();
        self.obey(index);
    }

    /// A commit ends, if one waits.
    pub(crate) fn end_commit(&mut self, index: usize, end: End) {
        let Lane { owned: Some(owned), committed, .. } = &mut self.lanes[index] else { return };
        let Some(offset) = owned.commit.take() else { return };
        if matches!(end, End::Answered | End::AnswerLost) {
            *committed = Some(offset);
        }
        owned.ledger.commit_done(matches!(end, End::Answered), self.now);
        self.obey(index);
    }

    /// A PUT that nobody waits for reaches the store.
    pub(crate) fn late_put(&mut self) {
        if let Some(content) = self.late_puts.pop() {
            let outcome = self.create(content);
            self.met.extend((outcome == StoreOutcome::Created).then_some("late PUT"));
        }
    }

    /// Another process prolongs the chain by up to `messages` messages of one day.
    pub(crate) fn rival(&mut self, index: usize, messages: usize) {
        let lane = &self.lanes[index];
        let start = self.ranges(lane).iter().map(|range| range.end).max();
        let start = start.unwrap_or(lane.log_start);
        let mut taken = lane.log.iter().filter(|message| message.mark.offset >= start).peekable();
        let Some(first) = taken.peek().map(|message| message.mark) else { return };
        let day = first.timestamp.day();
        let taken: Vec<_> = taken
            .take_while(|message| message.mark.timestamp.day() <= day)
            .take(messages.max(1))
            .collect();
        let last = taken[taken.len() - 1].mark;
        let range = OffsetRange { start, end: last.offset.next() };
        let rejected = taken.iter().filter(|message| message.is_rejected).count() as u64;
        let chunk = Chunk {
            partition: lane.partition,
            range,
            first,
            last_timestamp: last.timestamp,
            rows: taken.len() as u64 - rejected,
            rejected,
            gaps: range.len() - taken.len() as u64,
            writer: RIVAL,
        };
        let offsets = taken.iter().map(|message| message.mark.offset).collect();
        self.create(Content { chunk, offsets });
    }
}
