//! Chunks whose bytes are lost on their way to the store.

use super::*;

#[test]
fn a_lost_chunk_and_what_is_open_behind_it_are_read_again() {
    let mut ledger = storing();
    append(&mut ledger, 12);
    ledger.stored(StoreOutcome::Lost);
    assert_eq!(actions(&mut ledger, T0), [seek(10)]);
    assert!(ledger.is_stored() && ledger.is_accepting());
    assert_eq!((ledger.position(), ledger.committed()), (Offset(10), Some(Offset(10))));
    append(&mut ledger, 10);
    ledger.seal(SealReason::Shutdown);
    assert_eq!(actions(&mut ledger, T0), [store(chunk(10, 11), SealReason::Shutdown)]);
}

#[test]
fn a_lost_open_chunk_is_read_again_and_the_one_being_stored_is_not() {
    let mut ledger = storing();
    ledger.lose_open();
    assert_eq!(actions(&mut ledger, T0), [], "nothing is open");
    append(&mut ledger, 12);
    assert_eq!(ledger.opening(), Some(chunk(12, 13).opening()));
    ledger.lose_open();
    assert_eq!(actions(&mut ledger, T0), [seek(12)]);
    assert_eq!((ledger.opening(), ledger.storing()), (None, Some(&chunk(10, 12))));
    ledger.stored(StoreOutcome::Created);
    assert_eq!(actions(&mut ledger, T0), [commit(12)]);
}
