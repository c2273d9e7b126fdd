//! Objects that are stored in parts while their chunk fills: how large they get, in how much
//! memory, and what becomes of uploads that are interrupted, removed, or come too late.

use anyhow::{Result, ensure};
use e2e_tests::process::{PATIENCE, Process};
use e2e_tests::rows;
use e2e_tests::scenario::{ASSIGNED, Scenario};
use e2e_tests::wait_for;
use local_stack::s3::{Operation, S3Action, S3Fault};

use crate::all;

const MIB: u64 = 1 << 20;
/// The least that the sink takes: half of it is for chunks.
const MEMORY: (&str, &str) = ("MEMORY_LIMIT", "64MiB");
/// Chunks are sealed by their size, not by their age.
const PATIENT: (&str, &str) = ("CHUNK_AGE_SECONDS_MAX", "600");
/// Dead members are noticed soon.
const HASTY: (&str, &str) = ("KAFKA_CONFIG", "session.timeout.ms=3000,heartbeat.interval.ms=300");
/// Some 13.5 MB of Parquet: two parts are full and a third is not.
const BULK: u64 = 3000;
/// All of it in one chunk, which is sealed with the last message.
const WHOLE: (&str, &str) = ("CHUNK_ROWS_MAX", "3000");

fn on_chunks(operation: Operation, action: S3Action) -> S3Fault {
    S3Fault::new(action).on(operation).key_contains("date=")
}

/// Requests of a kind that the store has answered with this status.
fn answered(scenario: &Scenario, operation: &str, status: &str) -> Result<u64> {
    let counts = scenario.s3()?.request_counts();
    Ok(counts.get(operation).and_then(|by_status| by_status.get(status)).copied().unwrap_or(0))
}

/// The end of most tests: the sink leaves, no upload stays, and each message is one row.
fn leave_nothing(scenario: &Scenario, sink: &mut Process) -> Result<()> {
    sink.leave()?;
    assert_eq!(scenario.uploads()?.len(), 0);
    assert_eq!(scenario.finish(all)?.rows as u64, BULK);
    Ok(())
}

#[test]
fn a_backlog_beyond_the_memory_becomes_objects_of_the_size_asked_for() -> Result<()> {
    const PARTITIONS: i32 = 4;
    const MESSAGES: u64 = 4000;
    let scenario = Scenario::start("bulk", PARTITIONS)?;
    scenario.produce_bulky(PARTITIONS, 0, 4 * MESSAGES)?;
    // Of each partition 18 MB in Parquet, 24 MB before it is compressed; for all, 32 MiB.
    let mut sink = scenario.sink("sink", &[MEMORY, PATIENT, ("CHUNK_BYTES_MAX", "16MiB")])?;
    sink.wait_for_metric("s3_sink_messages_total", 4.0 * MESSAGES as f64)?;
    sink.wait_for_metric("s3_sink_chunks_total{reason=\"bytes\"}", 4.0)?;
    assert_eq!(sink.value("s3_sink_chunks_total{reason=\"memory\"}")?, 0.0);
    ensure!(sink.value("s3_sink_parts_stored_total")? >= 4.0 * 3.0, sink.tail());
    let peak = sink.peak_memory_bytes()?;
    ensure!(peak < (64 + 128) * MIB, "{} MiB were resident", peak / MIB);
    let objects = rows::files(scenario.objects())?;
    assert_eq!(objects.len(), 4, "the rest of each partition is still open");
    for object in objects {
        let bytes = std::fs::metadata(&object)?.len();
        ensure!((15 * MIB..18 * MIB).contains(&bytes), "{}: {bytes} bytes", object.display());
    }
    sink.leave()?;
    assert_eq!(scenario.uploads()?.len(), 0);
    assert_eq!(scenario.finish(all)?.rows as u64, 4 * MESSAGES);
    Ok(())
}

#[test]
fn a_sink_that_is_killed_while_it_uploads_leaves_nothing_behind() -> Result<()> {
    let scenario = Scenario::start("upload-killed", 1)?;
    let s3 = scenario.s3()?;
    s3.faults().push(on_chunks(Operation::UploadPart, S3Action::Hold).skip(1));
    scenario.produce_bulky(1, 0, BULK)?;
    let mut sink = scenario.sink("killed", &[MEMORY, PATIENT, HASTY])?;
    sink.wait_for_metric("s3_sink_parts_stored_total", 1.0)?;
    scenario.wait_held()?;
    sink.kill()?;
    s3.faults().release();
    assert_eq!(rows::files(scenario.objects())?.len(), 0, "parts are for nobody to see");
    assert_eq!(scenario.uploads()?.len(), 1);

    let mut next = scenario.sink("next", &[MEMORY, PATIENT, HASTY])?;
    next.wait_for_metric("s3_sink_uploads_aborted_total{reason=\"stale\"}", 1.0)?;
    next.wait_for_metric("s3_sink_messages_total", BULK as f64)?;
    next.leave()?;
    assert_eq!(scenario.uploads()?.len(), 0);
    assert_eq!(scenario.finish(all)?.rows as u64, BULK);
    Ok(())
}

#[test]
fn a_completion_whose_answer_is_lost_is_recognised_as_ones_own() -> Result<()> {
    let scenario = Scenario::start("completion-lost", 1)?;
    let faults = scenario.s3()?.faults();
    faults.push(on_chunks(Operation::CompleteMultipartUpload, S3Action::ApplyThenDrop));
    scenario.produce_bulky(1, 0, BULK)?;
    let mut sink = scenario.sink("sink", &[MEMORY, PATIENT, WHOLE])?;
    sink.wait_for_metric("s3_sink_rows_stored_total", BULK as f64)?;
    assert_eq!(sink.value("s3_sink_own_retries_total")?, 1.0);
    assert_eq!(sink.value("s3_sink_uploads_lost_total")?, 0.0);
    assert_eq!(sink.value("s3_sink_conflicts_total")?, 0.0);
    sink.leave()?;
    assert_eq!(rows::files(scenario.objects())?.len(), 1);
    assert_eq!(scenario.finish(all)?.rows as u64, BULK);
    Ok(())
}

#[test]
fn a_completion_that_the_store_only_claims_is_not_believed() -> Result<()> {
    // Once, and it is done when it is asked for again; and as often as it is asked for: then the
    // messages are read again, and uploaded again.
    for (name, times, lost) in [("claimed-once", 1, 0.0), ("claimed-always", 6, 1.0)] {
        let scenario = Scenario::start(name, 1)?;
        let claimed = on_chunks(Operation::CompleteMultipartUpload, S3Action::ClaimSuccess);
        scenario.s3()?.faults().push(claimed.times(times));
        scenario.produce_bulky(1, 0, BULK)?;
        let mut sink = scenario.sink("sink", &[MEMORY, PATIENT, WHOLE])?;
        sink.wait_for_metric("s3_sink_rows_stored_total", BULK as f64)?;
        let refused = sink.value("s3_sink_uploads_aborted_total{reason=\"refused\"}")?;
        assert_eq!(refused, lost, "{name}");
        leave_nothing(&scenario, &mut sink)?;
    }
    Ok(())
}

#[test]
fn an_object_in_parts_that_is_not_committed_is_adopted_by_its_footer() -> Result<()> {
    let scenario = Scenario::start("completed-adopted", 1)?;
    let s3 = scenario.s3()?;
    let completion = Operation::CompleteMultipartUpload;
    s3.faults().push(on_chunks(completion, S3Action::ApplyThenDrop));
    scenario.produce_bulky(1, 0, BULK)?;
    let mut sink = scenario.sink("first", &[MEMORY, PATIENT, HASTY, WHOLE])?;
    // It never learns that its object is there: neither from the answer nor by asking.
    wait_for("the object", PATIENCE, || {
        ensure!(sink.is_running()?, sink.tail());
        Ok(s3.faults().list().is_empty().then(|| {
            s3.faults().push(S3Fault::new(S3Action::InternalError).always());
        }))
    })?;
    sink.kill()?;
    s3.faults().clear();

    let mut second = scenario.sink("second", &[MEMORY, HASTY])?;
    second.wait_for_metric("s3_sink_adoptions_total", 1.0)?;
    assert_eq!(second.value("s3_sink_messages_total")?, 0.0, "nothing is read again");
    scenario.produce_valid(1, BULK, 50)?;
    second.wait_for_metric("s3_sink_rows_stored_total", 50.0)?;
    second.leave()?;
    assert_eq!(scenario.finish(all)?.rows as u64, BULK + 50);
    Ok(())
}

#[test]
fn an_upload_that_somebody_removes_is_read_again() -> Result<()> {
    let scenario = Scenario::start("upload-removed", 1)?;
    let s3 = scenario.s3()?;
    s3.faults().push(on_chunks(Operation::UploadPart, S3Action::Hold).skip(1));
    scenario.produce_bulky(1, 0, BULK)?;
    let mut sink = scenario.sink("sink", &[MEMORY, PATIENT, WHOLE])?;
    // As a lifecycle rule does: once while the chunk fills, once when all parts are stored.
    scenario.wait_held()?;
    remove_uploads(&scenario)?;
    scenario.hold(Operation::CompleteMultipartUpload)?;
    s3.faults().release();
    sink.wait_for_metric("s3_sink_uploads_lost_total", 1.0)?;
    scenario.wait_held()?;
    remove_uploads(&scenario)?;
    s3.faults().release();
    sink.wait_for_metric("s3_sink_uploads_lost_total", 2.0)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", BULK as f64)?;
    assert_eq!(sink.value("s3_sink_chunks_total{reason=\"rows\"}")?, 1.0);
    leave_nothing(&scenario, &mut sink)?;
    Ok(())
}

#[test]
fn a_drain_takes_again_what_was_lost_at_its_end() -> Result<()> {
    let scenario = Scenario::start("upload-removed-drain", 1)?;
    let s3 = scenario.s3()?;
    scenario.hold(Operation::CompleteMultipartUpload)?;
    scenario.produce_bulky(1, 0, BULK)?;
    let mut drain = scenario.drain("drain", &[MEMORY, PATIENT])?;
    scenario.wait_held()?;
    remove_uploads(&scenario)?;
    s3.faults().release();
    drain.wait_success()?;
    let stored = rows::read(scenario.objects())?.len() as u64;
    assert_eq!(stored, BULK, "the drain said that everything is stored");
    assert_eq!(scenario.finish(all)?.rows as u64, BULK);
    Ok(())
}

fn remove_uploads(scenario: &Scenario) -> Result<()> {
    let uploads = scenario.uploads()?;
    ensure!(!uploads.is_empty(), "there is no upload");
    Ok(uploads.iter().try_for_each(std::fs::remove_dir_all)?)
}

/// A zombie whose completion stands before the store's door, and the new owner of its partition,
/// which makes larger chunks, so that the two would overlap if both were let in.
fn zombie(scenario: &Scenario) -> Result<(Process, Process)> {
    scenario.hold(Operation::CompleteMultipartUpload)?;
    scenario.produce_bulky(1, 0, BULK)?;
    let settings = [MEMORY, PATIENT, HASTY];
    let zombie =
        scenario.sink("zombie", &[&settings[..], &[("CHUNK_ROWS_MAX", "2000")]].concat())?;
    scenario.wait_held()?;
    zombie.pause()?;
    let larger = [("CHUNK_ROWS_MAX", "2500")];
    let mut owner = scenario.sink("owner", &[&settings[..], &larger].concat())?;
    owner.wait_for_metric("s3_sink_rows_stored_total", 2500.0)?;
    Ok((zombie, owner))
}

/// Lets the zombie's completion in, and then the zombie; the end of the test.
fn wake(scenario: &Scenario, mut zombie: Process, mut owner: Process, status: &str) -> Result<()> {
    let before = answered(scenario, "CompleteMultipartUpload", status)?;
    scenario.s3()?.faults().release();
    wait_for("the zombie's completion to be refused", PATIENCE, || {
        Ok((answered(scenario, "CompleteMultipartUpload", status)? > before).then_some(()))
    })?;
    zombie.resume()?;
    for sink in [&mut owner, &mut zombie] {
        sink.leave()?;
    }
    assert_eq!(scenario.finish(all)?.rows as u64, BULK);
    assert_eq!(scenario.uploads()?.len(), 0);
    Ok(())
}

#[test]
fn the_upload_of_a_paused_sink_is_removed_by_the_new_owner() -> Result<()> {
    let scenario = Scenario::start("upload-zombie-swept", 1)?;
    let (zombie, owner) = zombie(&scenario)?;
    assert_eq!(owner.value("s3_sink_uploads_aborted_total{reason=\"stale\"}")?, 1.0);
    wake(&scenario, zombie, owner, "404")
}

#[test]
fn a_paused_sink_that_completes_its_upload_late_loses_its_race() -> Result<()> {
    let scenario = Scenario::start("upload-zombie", 1)?;
    // A sink without the right to list uploads works all the same.
    let listing = S3Fault::new(S3Action::AccessDenied).on(Operation::ListMultipartUploads).always();
    scenario.s3()?.faults().push(listing);
    let (zombie, owner) = zombie(&scenario)?;
    ensure!(owner.log()?.contains("can't be listed"), owner.tail());
    assert_eq!(owner.value("s3_sink_uploads_aborted_total{reason=\"stale\"}")?, 0.0);
    wake(&scenario, zombie, owner, "412")
}

#[test]
fn a_late_list_of_uploads_spares_those_of_the_next_owner() -> Result<()> {
    let scenario = Scenario::start("upload-late-list", 2)?;
    let s3 = scenario.s3()?;
    // The first owner of both partitions learns of uploads when one of the two is another's.
    s3.faults().push(S3Fault::new(S3Action::Hold).on(Operation::ListMultipartUploads));
    let mut first = scenario.sink("first", &[MEMORY, PATIENT])?;
    first.wait_for_metric(ASSIGNED, 2.0)?;
    scenario.wait_held()?;
    let mut second = scenario.sink("second", &[MEMORY, PATIENT])?;
    second.wait_for_metric(ASSIGNED, 1.0)?;
    scenario.produce_bulky(2, 0, 2 * BULK)?;
    second.wait_for_metric("s3_sink_parts_stored_total", 2.0)?;
    assert_eq!(scenario.uploads()?.len(), 1, "the first sink waits with its own");
    s3.faults().release();
    first.wait_for_metric("s3_sink_parts_stored_total", 2.0)?;
    assert_eq!(scenario.uploads()?.len(), 2);
    for sink in [&mut first, &mut second] {
        assert_eq!(sink.value("s3_sink_uploads_lost_total")?, 0.0);
        assert_eq!(sink.value("s3_sink_uploads_aborted_total{reason=\"stale\"}")?, 0.0);
        sink.leave()?;
    }
    assert_eq!(scenario.finish(all)?.rows as u64, 2 * BULK);
    Ok(())
}

#[test]
fn a_store_that_refuses_and_dawdles_delays_parts_and_loses_nothing() -> Result<()> {
    let scenario = Scenario::start("slow-parts", 1)?;
    let faults = scenario.s3()?.faults();
    for operation in [
        Operation::CreateMultipartUpload,
        Operation::UploadPart,
        Operation::CompleteMultipartUpload,
    ] {
        for action in [
            S3Action::SlowDown,
            S3Action::InternalError,
            S3Action::AccessDenied,
            S3Action::DropBefore,
            S3Action::Delay { milliseconds: 500 },
        ] {
            faults.push(on_chunks(operation, action));
        }
    }
    // A part that is stored twice counts once.
    faults.push(on_chunks(Operation::UploadPart, S3Action::ApplyThenDrop).skip(1));
    scenario.produce_bulky(1, 0, BULK)?;
    let mut sink = scenario.sink("sink", &[MEMORY, PATIENT, WHOLE])?;
    sink.wait_for_metric("s3_sink_rows_stored_total", BULK as f64)?;
    for operation in ["begin_upload", "part", "complete_upload"] {
        let series = format!("s3_sink_store_errors_total{{operation=\"{operation}\"}}");
        ensure!(sink.value(&series)? >= 4.0, "{series}\n{}", sink.tail());
    }
    assert_eq!(sink.value("s3_sink_parts_stored_total")?, 3.0);
    sink.wait_ready()?;
    sink.leave()?;
    assert_eq!(rows::files(scenario.objects())?.len(), 1);
    assert_eq!(scenario.uploads()?.len(), 0);
    assert_eq!(scenario.finish(all)?.rows as u64, BULK);
    Ok(())
}

#[test]
fn an_upload_that_the_store_does_not_complete_is_begun_anew() -> Result<()> {
    let scenario = Scenario::start("completion-conflicts", 1)?;
    // As AWS wants it after such conflicts. The sixth is one that passes.
    let conflicts = on_chunks(Operation::CompleteMultipartUpload, S3Action::Conflict).times(6);
    scenario.s3()?.faults().push(conflicts);
    scenario.produce_bulky(1, 0, BULK)?;
    let mut sink = scenario.sink("sink", &[MEMORY, PATIENT, WHOLE])?;
    sink.wait_for_metric("s3_sink_rows_stored_total", BULK as f64)?;
    sink.wait_for_metric("s3_sink_uploads_aborted_total{reason=\"refused\"}", 1.0)?;
    assert_eq!(sink.value("s3_sink_parts_stored_total")?, 2.0 * 3.0);
    sink.leave()?;
    assert_eq!(rows::files(scenario.objects())?.len(), 1);
    assert_eq!(scenario.uploads()?.len(), 0);
    assert_eq!(scenario.finish(all)?.rows as u64, BULK);
    Ok(())
}

#[test]
fn a_store_that_completes_uploads_unconditionally_gets_objects_in_one_piece() -> Result<()> {
    let scenario = Scenario::start("unconditional-completion", 1)?;
    let unconditional = S3Fault::new(S3Action::IgnoreCondition);
    let completion = Operation::CompleteMultipartUpload;
    scenario.s3()?.faults().push(unconditional.on(completion).always());
    scenario.produce_bulky(1, 0, BULK)?;
    let mut sink = scenario.sink("sink", &[PATIENT, WHOLE])?;
    sink.wait_for_metric("s3_sink_rows_stored_total", BULK as f64)?;
    ensure!(sink.log()?.contains("stored in one piece"), sink.tail());
    assert_eq!(sink.value("s3_sink_parts_stored_total")?, 0.0);
    sink.leave()?;
    let objects = rows::files(scenario.objects())?;
    assert_eq!(objects.len(), 1);
    ensure!(std::fs::metadata(&objects[0])?.len() > 10 * MIB, "one PUT of more than a part");
    assert_eq!(scenario.finish(all)?.rows as u64, BULK);
    Ok(())
}
