//! When the group is told.

use super::*;

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
