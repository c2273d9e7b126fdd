//! One test a transition of the state machine, through its public methods alone.

#[path = "ledger_tests/committing.rs"]
mod committing;
#[path = "ledger_tests/faults.rs"]
mod faults;
#[path = "ledger_tests/lost.rs"]
mod lost;
#[path = "ledger_tests/waiting.rs"]
mod waiting;

use super::*;
use crate::{OffsetRange, Timestamp};

const P: Partition = Partition(3);
const ME: WriterId = WriterId(1);
const RIVAL: WriterId = WriterId(2);
const DAY: i64 = 86_400_000;
const T0: Duration = Duration::ZERO;
const AGE_MAX: Duration = Duration::from_secs(60);
const LIMITS: Limits = Limits { bytes_max: 1_000, rows_max: 100, age_max: AGE_MAX };

/// Assigned where the group's commit stands, at offset 10.
fn resuming() -> PartitionLedger {
    resuming_within(LIMITS)
}

fn resuming_within(limits: Limits) -> PartitionLedger {
    PartitionLedger::new(P, ME, limits, Offset(10), Some(Offset(10)))
}

/// Has asked the store about `10` and learned that nothing is there; the message that it was asked
/// for is still to be offered again.
fn appending() -> PartitionLedger {
    appending_within(LIMITS)
}

fn appending_within(limits: Limits) -> PartitionLedger {
    let mut ledger = resuming_within(limits);
    assert_eq!(ledger.offer(mark(10), T0), Verdict::Hold);
    assert_eq!(actions(&mut ledger, T0), [probe(10)]);
    ledger.probed(None);
    ledger
}

/// Stores 10..12 while nothing is open.
fn storing() -> PartitionLedger {
    let mut ledger = appending();
    append(&mut ledger, 10);
    append(&mut ledger, 11);
    ledger.seal(SealReason::Shutdown);
    assert_eq!(actions(&mut ledger, T0), [store(chunk(10, 12), SealReason::Shutdown)]);
    ledger
}

/// The message at `offset`, on the first day.
fn mark(offset: i64) -> Mark {
    Mark { offset: Offset(offset), timestamp: Timestamp(offset) }
}

/// The message at `offset`, some days later.
fn mark_on(day: i64, offset: i64) -> Mark {
    Mark { offset: Offset(offset), timestamp: Timestamp(day * DAY + offset) }
}

/// What this writer seals of the messages `start..end`, all of which became rows.
fn chunk(start: i64, end: i64) -> Chunk {
    Chunk {
        partition: P,
        range: OffsetRange { start: Offset(start), end: Offset(end) },
        first: mark(start),
        last_timestamp: mark(end - 1).timestamp,
        rows: start.abs_diff(end),
        rejected: 0,
        gaps: 0,
        writer: ME,
    }
}

fn of_rival(chunk: Chunk) -> Chunk {
    Chunk { writer: RIVAL, ..chunk }
}

fn append(ledger: &mut PartitionLedger, offset: i64) {
    append_mark(ledger, mark(offset), T0);
}

fn append_mark(ledger: &mut PartitionLedger, message: Mark, now: Duration) {
    assert_eq!(ledger.offer(message, now), Verdict::Append, "{message:?}");
    ledger.appended(Appended::Row, 1);
}

fn actions(ledger: &mut PartitionLedger, now: Duration) -> Vec<Action> {
    std::iter::from_fn(|| ledger.next_action(now)).collect()
}

fn probe(start: i64) -> Action {
    Action::Probe { day: mark(start).timestamp.day(), start: Offset(start) }
}

fn store(chunk: Chunk, reason: SealReason) -> Action {
    Action::Store { chunk, reason }
}

fn commit(offset: i64) -> Action {
    Action::Commit { offset: Offset(offset) }
}

fn seek(offset: i64) -> Action {
    Action::Seek { offset: Offset(offset) }
}

// Resuming.

#[test]
fn the_first_message_asks_the_store_once() {
    let mut ledger = resuming();
    assert_eq!(actions(&mut ledger, T0), []);
    assert!(ledger.is_accepting());
    // The key's start is the position, its day that of the first message behind it.
    let first = mark_on(2, 14);
    assert_eq!(ledger.offer(first, T0), Verdict::Hold);
    let asked = Action::Probe { day: first.timestamp.day(), start: Offset(10) };
    assert_eq!(actions(&mut ledger, T0), [asked]);
    assert!(!ledger.is_accepting());
    assert_eq!(ledger.offer(first, T0), Verdict::Hold);
    assert_eq!(actions(&mut ledger, AGE_MAX), []);
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let mut ledger = resuming();
    let before = ledger.clone();
    ledger.probed(Some(of_rival(chunk(10, 20))));
    ledger.stored(StoreOutcome::Created);
    ledger.commit_done(true, T0);
    ledger.appended(Appended::Row, 1);
    ledger.seal(SealReason::Memory);
    assert_eq!(ledger, before);
    // Nor does an answer that is faster than its question.
    assert_eq!(ledger.offer(mark(10), T0), Verdict::Hold);
    ledger.probed(None);
    assert_eq!(actions(&mut ledger, T0), [probe(10)]);
}

#[test]
fn with_nothing_stored_the_message_is_appended() {
    let mut ledger = appending();
    assert!(ledger.is_accepting());
    append(&mut ledger, 10);
    assert_eq!((ledger.position(), ledger.stored_end()), (Offset(11), Offset(10)));
    assert_eq!(actions(&mut ledger, T0), []);
}

#[test]
fn a_stored_chunk_is_adopted_and_the_next_one_is_asked_for() {
    let mut ledger = resuming();
    assert_eq!(ledger.offer(mark(10), T0), Verdict::Hold);
    assert_eq!(actions(&mut ledger, T0), [probe(10)]);
    ledger.probed(Some(of_rival(chunk(10, 15))));
    assert_eq!(actions(&mut ledger, T0), [seek(15), commit(15)]);
    assert_eq!((ledger.position(), ledger.stored_end()), (Offset(15), Offset(15)));
    assert_eq!(ledger.offer(mark(15), T0), Verdict::Hold);
    assert_eq!(actions(&mut ledger, T0), [probe(15)]);
}

#[test]
fn a_chunk_of_ones_own_that_lies_there_already_is_adopted() {
    // The process was paused, lost the partition and got it back; its late PUT came in between.
    let mut ledger = resuming();
    assert_eq!(ledger.offer(mark(10), T0), Verdict::Hold);
    assert_eq!(actions(&mut ledger, T0), [probe(10)]);
    ledger.probed(Some(chunk(10, 15)));
    assert_eq!(actions(&mut ledger, T0), [seek(15), commit(15)]);
}

#[test]
fn without_a_commit_the_position_is_committed_before_anything_is_stored() {
    let mut ledger = PartitionLedger::new(P, ME, LIMITS, Offset(10), None);
    assert_eq!(actions(&mut ledger, T0), [commit(10)]);
    assert_eq!(ledger.offer(mark(10), T0), Verdict::Hold);
    assert_eq!(actions(&mut ledger, T0), [probe(10)]);
    ledger.probed(None);
    append(&mut ledger, 10);
    ledger.seal(SealReason::Shutdown);
    assert_eq!(actions(&mut ledger, T0), [], "the commit is not answered yet");
    ledger.commit_done(true, T0);
    assert_eq!(actions(&mut ledger, T0), [store(chunk(10, 11), SealReason::Shutdown)]);
}

// Appending.

#[test]
fn missing_offsets_are_counted_and_belong_to_the_chunk() {
    let mut ledger = appending();
    append(&mut ledger, 13); // 10, 11 and 12 are missing: the chunk starts at the position
    append(&mut ledger, 14);
    assert_eq!(ledger.offer(mark(17), T0), Verdict::Append); // 15 and 16 are missing
    ledger.appended(Appended::Rejected, 1);
    ledger.seal(SealReason::Shutdown);
    let sealed = Chunk {
        first: mark(13),
        rows: 2,
        rejected: 1,
        gaps: 5,
        last_timestamp: mark(17).timestamp,
        ..chunk(10, 18)
    };
    assert!(crate::invariants::adds_up(&sealed));
    assert_eq!(actions(&mut ledger, T0), [store(sealed, SealReason::Shutdown)]);
}

#[test]
fn a_full_chunk_is_sealed_by_the_message_that_fills_it() {
    let mut by_bytes = appending();
    assert_eq!(by_bytes.offer(mark(10), T0), Verdict::Append);
    by_bytes.appended(Appended::Row, LIMITS.bytes_max - 1);
    assert_eq!(actions(&mut by_bytes, T0), []);
    assert_eq!(by_bytes.offer(mark(11), T0), Verdict::Append);
    by_bytes.appended(Appended::Row, LIMITS.bytes_max);
    assert_eq!(actions(&mut by_bytes, T0), [store(chunk(10, 12), SealReason::Bytes)]);

    let mut by_rows = appending_within(Limits { rows_max: 2, ..LIMITS });
    append(&mut by_rows, 10);
    assert_eq!(actions(&mut by_rows, T0), []);
    assert_eq!(by_rows.offer(mark(11), T0), Verdict::Append);
    by_rows.appended(Appended::Rejected, 1); // a dead letter counts, too
    let sealed = Chunk { rows: 1, rejected: 1, ..chunk(10, 12) };
    assert_eq!(actions(&mut by_rows, T0), [store(sealed, SealReason::Rows)]);
}

#[test]
fn age_counts_from_the_first_message() {
    let mut ledger = appending();
    let opened_at = Duration::from_secs(5);
    append_mark(&mut ledger, mark(10), opened_at);
    append_mark(&mut ledger, mark(11), opened_at + AGE_MAX / 2);
    assert_eq!(ledger.open_since(), Some(opened_at));
    assert_eq!(actions(&mut ledger, opened_at + AGE_MAX - Duration::from_nanos(1)), []);
    let aged = store(chunk(10, 12), SealReason::Age);
    assert_eq!(actions(&mut ledger, opened_at + AGE_MAX), [aged]);
}

#[test]
fn a_message_of_a_later_day_seals_and_opens_the_next_chunk() {
    let mut ledger = appending();
    append(&mut ledger, 10);
    assert_eq!(ledger.offer(mark_on(1, 11), T0), Verdict::Hold);
    assert!(!ledger.is_accepting());
    assert_eq!(actions(&mut ledger, T0), [store(chunk(10, 11), SealReason::Day)]);
    assert!(ledger.is_accepting(), "one chunk fills while another is stored");
    append_mark(&mut ledger, mark_on(1, 11), T0);
    assert_eq!(ledger.position(), Offset(12));
}

#[test]
fn a_late_message_stays_in_the_open_chunk() {
    let mut ledger = appending();
    let first = mark_on(5, 10);
    for message in [first, mark_on(3, 11), mark_on(5, 12)] {
        append_mark(&mut ledger, message, T0);
    }
    ledger.seal(SealReason::Shutdown);
    let last_timestamp = mark_on(5, 12).timestamp;
    let sealed = Chunk { first, last_timestamp, ..chunk(10, 13) };
    assert_eq!(actions(&mut ledger, T0), [store(sealed, SealReason::Shutdown)]);
}

#[test]
fn the_caller_may_seal_for_its_own_reasons_and_the_first_reason_stays() {
    for reason in [SealReason::Memory, SealReason::Revoked, SealReason::Shutdown] {
        let mut ledger = appending();
        ledger.seal(reason);
        assert_eq!(actions(&mut ledger, T0), [], "nothing is open");
        append(&mut ledger, 10);
        ledger.seal(reason);
        ledger.seal(SealReason::Rows);
        assert_eq!(ledger.offer(mark(11), T0), Verdict::Hold);
        assert_eq!(actions(&mut ledger, AGE_MAX), [store(chunk(10, 11), reason)]);
    }
}

#[test]
fn a_due_chunk_waits_for_the_one_being_stored_and_holds_the_messages() {
    let mut ledger = storing();
    append(&mut ledger, 12);
    ledger.seal(SealReason::Memory);
    assert!(!ledger.is_accepting());
    assert_eq!(ledger.offer(mark(13), T0), Verdict::Hold);
    assert_eq!(actions(&mut ledger, AGE_MAX), []);
    assert_eq!(ledger.storing(), Some(&chunk(10, 12)));
    ledger.stored(StoreOutcome::Created);
    let next = store(chunk(12, 13), SealReason::Memory);
    assert_eq!(actions(&mut ledger, T0), [commit(12), next]);
    append(&mut ledger, 13);
}

// Stored.

#[test]
fn a_created_chunk_is_committed() {
    let mut ledger = storing();
    assert_eq!(ledger.stored_end(), Offset(10));
    ledger.stored(StoreOutcome::Created);
    assert_eq!(actions(&mut ledger, T0), [commit(12)]);
    assert_eq!((ledger.stored_end(), ledger.committed()), (Offset(12), Some(Offset(10))));
    ledger.commit_done(true, T0);
    assert_eq!(ledger.committed(), Some(Offset(12)));
    append(&mut ledger, 12);
}

#[test]
fn ones_own_earlier_try_is_a_success() {
    let mut ledger = storing();
    append(&mut ledger, 12);
    ledger.stored(StoreOutcome::Exists(chunk(10, 12)));
    assert_eq!(actions(&mut ledger, T0), [commit(12)]);
    assert_eq!(ledger.position(), Offset(13), "the open chunk goes on");
}

#[test]
fn a_conflict_adopts_the_winners_end_and_drops_the_open_chunk() {
    for end in [11, 12, 40] {
        let mut ledger = storing();
        append(&mut ledger, 12);
        ledger.stored(StoreOutcome::Exists(of_rival(chunk(10, end))));
        assert_eq!(actions(&mut ledger, T0), [seek(end), commit(end)]);
        assert_eq!((ledger.storing(), ledger.open_since()), (None, None));
        assert_eq!(ledger.position(), Offset(end));
        assert_eq!(ledger.offer(mark(end), T0), Verdict::Hold);
        assert_eq!(actions(&mut ledger, T0), [probe(end)]);
    }
}

#[test]
fn a_chunk_of_the_same_writer_with_another_end_is_adopted() {
    // The process was paused while storing 10..15, lost the partition, got it back, found nothing
    // at 10, and stores 10..12; then the first PUT arrives late and wins.
    let mut ledger = storing();
    append(&mut ledger, 12);
    ledger.stored(StoreOutcome::Exists(chunk(10, 15)));
    assert_eq!(actions(&mut ledger, T0), [seek(15), commit(15)]);
    assert_eq!(ledger.position(), Offset(15));
}

// Revoked.

#[test]
fn a_revoked_partition_is_silent_whatever_is_answered_late() {
    let late_answers: [fn(&mut PartitionLedger); 8] = [
        |ledger| ledger.stored(StoreOutcome::Created),
        |ledger| ledger.stored(StoreOutcome::Exists(of_rival(chunk(10, 15)))),
        |ledger| ledger.probed(None),
        |ledger| ledger.probed(Some(of_rival(chunk(10, 15)))),
        |ledger| ledger.commit_done(false, T0),
        |ledger| ledger.stored(StoreOutcome::Lost),
        PartitionLedger::lose_open,
        |ledger| ledger.seal(SealReason::Revoked),
    ];
    let committing = {
        let mut ledger = storing();
        append(&mut ledger, 12);
        ledger.stored(StoreOutcome::Created);
        assert_eq!(actions(&mut ledger, T0), [commit(12)]);
        ledger
    };
    let seeking = {
        let mut ledger = storing();
        ledger.stored(StoreOutcome::Exists(of_rival(chunk(10, 15))));
        ledger
    };
    let probing = {
        let mut ledger = resuming();
        assert_eq!(ledger.offer(mark(10), T0), Verdict::Hold);
        assert_eq!(actions(&mut ledger, T0), [probe(10)]);
        ledger
    };
    let uncommitted = PartitionLedger::new(P, ME, LIMITS, Offset(10), None);
    for before in [uncommitted, probing, appending(), storing(), committing, seeking] {
        for answer in late_answers {
            let mut ledger = before.clone();
            ledger.revoke();
            answer(&mut ledger);
            assert_eq!(actions(&mut ledger, 2 * AGE_MAX), [], "revoked in {before:?}");
            assert_eq!(ledger.offer(mark(13), T0), Verdict::Hold);
            assert!(!ledger.is_accepting());
            assert_eq!(ledger.next_deadline(), None);
            assert_eq!(actions(&mut ledger, 2 * AGE_MAX), []);
        }
    }
}
