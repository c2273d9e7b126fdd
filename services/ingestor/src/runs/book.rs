//! The newest runs, in memory: by id, by key, and the newest first.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use super::{Record, Run, State};

/// So many runs are kept, and with them their idempotency keys: about a megabyte.
pub(crate) const RUNS_MAX: usize = 1_000;

/// The newest runs. Ids ascend with time, so their order is that of the runs.
#[derive(Debug, Default)]
pub(super) struct Book {
    records: BTreeMap<Uuid, Record>,
    by_key: HashMap<String, Uuid>,
}

impl Book {
    /// Adds or replaces a run. Returns the runs that had to make room.
    pub(super) fn insert(&mut self, record: Record) -> Vec<Uuid> {
        if let Some(key) = &record.run.idempotency_key {
            let newest = self.by_key.entry(key.clone()).or_insert(record.run.id);
            *newest = record.run.id.max(*newest);
        }
        self.records.insert(record.run.id, record);
        let mut evicted = Vec::new();
        while self.records.len() > RUNS_MAX
            && let Some(id) = self.dispensable()
        {
            self.remove(id);
            evicted.push(id);
        }
        evicted
    }

    /// Takes a run out.
    pub(super) fn remove(&mut self, id: Uuid) {
        let removed = self.records.remove(&id);
        if let Some(key) = removed.and_then(|record| record.run.idempotency_key)
            && self.by_key.get(&key) == Some(&id)
        {
            self.by_key.remove(&key);
        }
    }

    pub(super) fn get(&self, id: Uuid) -> Option<&Record> {
        self.records.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: Uuid) -> Option<&mut Run> {
        self.records.get_mut(&id).map(|record| &mut record.run)
    }

    /// The run that was begun with this key.
    pub(super) fn by_key(&self, key: &str) -> Option<&Record> {
        self.by_key.get(key).and_then(|id| self.get(*id))
    }

    /// At most `limit` runs, the newest first.
    pub(super) fn newest(&self, limit: usize) -> Vec<Run> {
        self.records.values().rev().take(limit).map(|record| record.run.clone()).collect()
    }

    /// The id of every run, the oldest first.
    pub(super) fn ids(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.records.keys().copied()
    }

    /// Every run, the oldest first.
    pub(super) fn into_records(self) -> impl Iterator<Item = Record> {
        self.records.into_values()
    }

    /// When the last run that succeeded ended.
    pub(super) fn last_success(&self) -> Option<Timestamp> {
        self.get(self.newest_success()?)?.run.ended_at
    }

    fn newest_success(&self) -> Option<Uuid> {
        let mut newest_first = self.records.values().rev();
        newest_first.find(|record| record.run.state == State::Succeeded).map(|record| record.run.id)
    }

    /// The oldest run, but for one that is active and for the last success, which a restart must
    /// still find.
    fn dispensable(&self) -> Option<Uuid> {
        let newest_success = self.newest_success();
        self.records
            .values()
            .find(|record| record.run.state.has_ended() && Some(record.run.id) != newest_success)
            .map(|record| record.run.id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

    use std::time::Duration;

    use super::*;
    use crate::runs::{Parameters, Requested};
    use crate::schedule::Cause;

    fn record(id: usize, state: State, key: Option<&str>) -> Record {
        let defaults =
            Parameters { results: 1, pause: Duration::ZERO, streaming: Duration::ZERO, seed: None };
        let key = key.map(str::to_string);
        let mut record = Record::queued(Cause::Api, Requested::default(), key, &defaults);
        record.run.id = Uuid::from_u128(id as u128);
        record.run.state = state;
        record.run.ended_at = state.has_ended().then_some(record.run.created_at);
        record
    }

    fn id(id: usize) -> Uuid {
        Uuid::from_u128(id as u128)
    }

    #[test]
    fn the_newest_come_first() {
        let mut book = Book::default();
        for number in [2, 3, 1] {
            assert!(book.insert(record(number, State::Failed, None)).is_empty());
        }
        let ids = |limit| book.newest(limit).iter().map(|run| run.id).collect::<Vec<_>>();
        assert_eq!(ids(2), [id(3), id(2)]);
        assert_eq!(ids(99), [id(3), id(2), id(1)]);
    }

    #[test]
    fn the_oldest_make_room_but_for_the_active_one_and_the_last_success() {
        let mut book = Book::default();
        book.insert(record(1, State::Succeeded, Some("first")));
        book.insert(record(2, State::Succeeded, Some("second")));
        book.insert(record(3, State::Running, None));
        for number in 4..=RUNS_MAX {
            assert!(book.insert(record(number, State::Failed, None)).is_empty());
        }
        assert_eq!(book.insert(record(2_000, State::Failed, None)), [id(1)]);
        assert_eq!(book.insert(record(2_001, State::Failed, None)), [id(4)]);
        assert!(book.by_key("first").is_none());
        assert_eq!(book.by_key("second").unwrap().run.id, id(2));
        assert_eq!(book.last_success(), book.get(id(2)).unwrap().run.ended_at);
        assert_eq!(book.insert(record(2_002, State::Succeeded, None)), [id(2)]);
    }

    #[test]
    fn the_newest_run_has_the_key() {
        let mut book = Book::default();
        book.insert(record(5, State::Failed, Some("key")));
        book.insert(record(4, State::Failed, Some("key")));
        assert_eq!(book.by_key("key").unwrap().run.id, id(5));
        book.remove(id(4));
        assert_eq!(book.by_key("key").unwrap().run.id, id(5));
        book.remove(id(5));
        assert!(book.by_key("key").is_none());
    }
}
