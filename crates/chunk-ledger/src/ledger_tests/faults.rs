//! What stops a partition, and that nothing is skipped then.

use super::*;

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

#[test]
fn the_caller_may_stop_a_partition_that_is_not_stopped_yet() {
    let fault = Fault::BeyondLogEnd { partition: P, position: Offset(10), log_end: Offset(7) };
    let another = Fault::UnreadableChunk { partition: P, start: Offset(10) };
    let mut open = appending();
    append(&mut open, 10);
    for mut ledger in [resuming(), appending(), open, storing()] {
        ledger.fail(fault);
        ledger.fail(another);
        assert_eq!(ledger.fault(), Some(fault));
        assert_stopped(&mut ledger);
    }
    let mut revoked = resuming();
    revoked.revoke();
    revoked.fail(fault);
    assert_eq!(revoked.fault(), None);
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
