//! One test a transition of the state machine, through its public methods alone.

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
    PartitionLedger::new(P, ME, LIMITS, Offset(10), Some(Offset(10)))
}

/// Has asked the store about `10` and learned that nothing is there; the message that it was asked
/// for is still to be offered again.
fn appending() -> PartitionLedger {
    let mut ledger = resuming();
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

    let limits = Limits { rows_max: 2, ..LIMITS };
    let mut by_rows = PartitionLedger { limits, ..appending() };
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

// Committing.

#[test]
fn a_failed_commit_is_repeated_after_a_second_with_the_newest_end() {
    let mut ledger = storing();
    ledger.stored(StoreOutcome::Created);
    assert_eq!(actions(&mut ledger, T0), [commit(12)]);
    let failed_at = Duration::from_secs(7);
    ledger.commit_done(false, failed_at);
    let again_at = failed_at + Duration::from_secs(1);
    assert_eq!(ledger.next_deadline(), Some(again_at));
    assert_eq!(actions(&mut ledger, again_at - Duration::from_nanos(1)), []);
    append_mark(&mut ledger, mark(12), failed_at);
    ledger.seal(SealReason::Shutdown);
    let next = store(chunk(12, 13), SealReason::Shutdown);
    assert_eq!(actions(&mut ledger, failed_at), [next], "storing does not wait for a commit");
    ledger.stored(StoreOutcome::Created);
    assert_eq!(actions(&mut ledger, again_at), [commit(13)]);
}

#[test]
fn one_commit_is_in_flight_at_a_time() {
    let mut ledger = storing();
    ledger.stored(StoreOutcome::Created);
    assert_eq!(actions(&mut ledger, T0), [commit(12)]);
    append(&mut ledger, 12);
    ledger.seal(SealReason::Shutdown);
    assert_eq!(actions(&mut ledger, T0).len(), 1);
    ledger.stored(StoreOutcome::Created);
    assert_eq!(actions(&mut ledger, AGE_MAX), []);
    ledger.commit_done(true, T0);
    assert_eq!(ledger.committed(), Some(Offset(12)));
    assert_eq!(actions(&mut ledger, T0), [commit(13)]);
}

// Revoked.

#[test]
fn a_revoked_partition_is_silent_whatever_is_answered_late() {
    let late_answers: [fn(&mut PartitionLedger); 6] = [
        |ledger| ledger.stored(StoreOutcome::Created),
        |ledger| ledger.stored(StoreOutcome::Exists(of_rival(chunk(10, 15)))),
        |ledger| ledger.probed(None),
        |ledger| ledger.probed(Some(of_rival(chunk(10, 15)))),
        |ledger| ledger.commit_done(false, T0),
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

// Faults.

#[test]
fn another_message_at_a_stored_chunks_first_offset_is_another_topic() {
    let old = |first| of_rival(Chunk { first, ..chunk(10, 15) });
    let fault = |stored: Mark| Fault::TopicRecreated {
        partition: P,
        start: Offset(10),
        end: Offset(15),
        offset: Offset(10),
        stored: stored.timestamp.0,
        found: mark(10).timestamp.0,
    };
    let stored = mark_on(-9, 10);
    assert_faults(StoreOutcome::Exists(old(stored)), fault(stored));
    // Where retention or compaction removed the first message, nothing can be compared.
    let mut ledger = storing();
    ledger.stored(StoreOutcome::Exists(Chunk { gaps: 1, rows: 4, ..old(mark_on(-9, 11)) }));
    assert_eq!(ledger.fault(), None);
    assert_eq!(actions(&mut ledger, T0), [seek(15), commit(15)]);
}

#[test]
fn an_object_that_describes_another_chunk_stops_the_partition() {
    let wrong_partition = Chunk { partition: Partition(4), ..chunk(10, 15) };
    for found in [wrong_partition, chunk(9, 15), chunk(11, 15), chunk(10, 10), chunk(10, 9)] {
        let fault = Fault::ForeignChunk {
            partition: P,
            start: Offset(10),
            found: found.range,
            found_partition: found.partition,
        };
        assert_faults(StoreOutcome::Exists(found), fault);
    }
}

/// Both ways to meet an object, by probing and by storing, end in the same fault.
fn assert_faults(outcome: StoreOutcome, fault: Fault) {
    let StoreOutcome::Exists(found) = outcome else { panic!("nothing to meet") };
    let mut by_probe = resuming();
    assert_eq!(by_probe.offer(mark(10), T0), Verdict::Hold);
    assert_eq!(actions(&mut by_probe, T0), [probe(10)]);
    by_probe.probed(Some(found));
    let mut by_store = storing();
    by_store.stored(outcome);
    for mut ledger in [by_probe, by_store] {
        assert_eq!(ledger.fault(), Some(fault));
        assert_stopped(&mut ledger);
        assert_eq!(ledger.stored_end(), Offset(10), "nothing is skipped");
    }
}

#[test]
fn an_offset_below_the_position_stops_the_partition() {
    let mut open = appending();
    append(&mut open, 10);
    let mut sealed = storing();
    let mut resuming = resuming();
    for (ledger, position) in [(&mut resuming, 10), (&mut open, 11), (&mut sealed, 12)] {
        let offset = Offset(position - 1);
        assert_eq!(ledger.offer(mark(position - 1), T0), Verdict::Hold);
        let fault = Fault::OffsetWentBack { partition: P, position: Offset(position), offset };
        assert_eq!(ledger.fault(), Some(fault));
        assert_stopped(ledger);
    }
}

fn assert_stopped(ledger: &mut PartitionLedger) {
    assert_eq!(actions(ledger, 2 * AGE_MAX), []);
    assert!(!ledger.is_accepting());
    assert_eq!(ledger.offer(mark(40), T0), Verdict::Hold);
    assert_eq!(ledger.next_deadline(), None);
    assert!(ledger.is_settled());
}

#[test]
fn a_fault_still_lets_the_last_end_be_committed() {
    let mut ledger = storing();
    ledger.stored(StoreOutcome::Created);
    assert_eq!(ledger.offer(mark(3), T0), Verdict::Hold);
    assert!(ledger.fault().is_some());
    assert!(!ledger.is_settled());
    assert_eq!(actions(&mut ledger, T0), [commit(12)]);
    ledger.commit_done(true, T0);
    assert!(ledger.is_settled());
}

// What the caller waits for.

#[test]
fn the_next_deadline_is_the_first_that_there_is_something_to_do_at() {
    let mut ledger = appending();
    assert_eq!(ledger.next_deadline(), None);
    let opened_at = Duration::from_secs(5);
    append_mark(&mut ledger, mark(10), opened_at);
    assert_eq!(ledger.next_deadline(), Some(opened_at + AGE_MAX));
    assert_eq!(actions(&mut ledger, opened_at + AGE_MAX).len(), 1);
    append_mark(&mut ledger, mark(11), opened_at);
    assert_eq!(ledger.next_deadline(), None, "it waits for the store, not for time");
    ledger.stored(StoreOutcome::Created);
    assert_eq!(actions(&mut ledger, opened_at), [commit(11)]);
    assert_eq!(ledger.next_deadline(), Some(opened_at + AGE_MAX));
    ledger.commit_done(false, opened_at);
    assert_eq!(ledger.next_deadline(), Some(opened_at + Duration::from_secs(1)));
}

#[test]
fn a_due_chunk_that_waits_for_the_first_commit_sets_no_deadline() {
    // Else the caller, woken at once and given nothing to do, would turn in circles.
    let mut ledger = PartitionLedger::new(P, ME, LIMITS, Offset(10), None);
    assert_eq!(ledger.offer(mark(10), T0), Verdict::Hold);
    assert_eq!(actions(&mut ledger, T0), [commit(10), probe(10)]);
    ledger.probed(None);
    append(&mut ledger, 10);
    assert_eq!(actions(&mut ledger, AGE_MAX), []);
    assert_eq!(ledger.next_deadline(), None);
    ledger.commit_done(false, AGE_MAX);
    assert_eq!(ledger.next_deadline(), Some(AGE_MAX + Duration::from_secs(1)));
}

#[test]
fn settled_means_nothing_open_stored_or_to_be_committed() {
    assert!(resuming().is_settled());
    assert!(!PartitionLedger::new(P, ME, LIMITS, Offset(10), None).is_settled());
    let mut ledger = appending();
    assert!(ledger.is_settled());
    append(&mut ledger, 10);
    assert!(!ledger.is_settled(), "open");
    ledger.seal(SealReason::Shutdown);
    assert_eq!(actions(&mut ledger, T0).len(), 1);
    assert!(!ledger.is_settled(), "being stored");
    ledger.stored(StoreOutcome::Created);
    assert!(!ledger.is_settled(), "to be committed");
    assert_eq!(actions(&mut ledger, T0), [commit(11)]);
    assert!(!ledger.is_settled(), "being committed");
    ledger.commit_done(false, T0);
    assert!(!ledger.is_settled(), "to be committed again");
    assert_eq!(actions(&mut ledger, AGE_MAX), [commit(11)]);
    ledger.commit_done(true, T0);
    assert!(ledger.is_settled());
}
