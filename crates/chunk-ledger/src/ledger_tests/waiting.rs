//! When the caller is to come back, and whether it has to.

use super::*;

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
