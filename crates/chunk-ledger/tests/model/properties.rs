//! What must hold in every world that can be reached, by the crate's own definitions of the
//! invariants; and what must be reachable, so that the search is no search of an empty room.

use std::time::Duration;

use chunk_ledger::invariants::{self, Break, Invariant};
use chunk_ledger::{Chunk, Offset, PartitionLedger, StoreOutcome};
use stateright::Property;

use crate::rules::Rules;
use crate::runtime::T0;
use crate::world::{Answer, Content, Process, Put, Sink, World};

/// L1 by the objects' content and by the chain's ranges.
pub(crate) const NO_LOSS: &str = "L1 no loss";
/// L2 by the objects' content and by the chain's ranges.
pub(crate) const NO_OVERLAP: &str = "L2 no overlap";
/// L2, but for what the known limit K1 explains.
pub(crate) const NO_OVERLAP_BUT_K1: &str = "L2 no overlap but by K1";
/// L3 by the group's commit and by each writer's knowledge.
pub(crate) const COMMIT_FOLLOWS_STORE: &str = "L3 commit follows store";
/// L4.
pub(crate) const OBJECTS_NEVER_CHANGE: &str = "L4 objects never change";

/// K1 where the first chunk was stored, but not committed yet, when retention came.
pub(crate) const K1_AFTER_THE_STORE: &str = "K1 after the store";
/// K1 where the first chunk was still open or under way when retention came.
pub(crate) const K1_BEFORE_THE_STORE: &str = "K1 before the store";

/// What must always hold.
pub(crate) fn invariants() -> Vec<Property<Rules>> {
    vec![
        Property::always(NO_LOSS, no_loss),
        Property::always(NO_OVERLAP, |_, world| no_overlap(world)),
        Property::always(NO_OVERLAP_BUT_K1, no_overlap_but_k1),
        Property::always(COMMIT_FOLLOWS_STORE, commit_follows_store),
        Property::always(OBJECTS_NEVER_CHANGE, |_, world: &World| {
            world.objects.values().all(|object| invariants::unchanged(&object.created, &object.now))
        }),
        Property::always("L6 a revoked sink is silent", |_, world: &World| {
            world.owners().all(|(_, sink)| is_silent_once_revoked(sink))
        }),
        Property::always("objects hold what they say", |_, world: &World| {
            world.objects.values().all(|object| holds_what_it_says(&object.now))
        }),
        Property::always("no partition is stopped by a fault", |_, world: &World| {
            world.owners().all(|(_, sink)| sink.ledger.fault().is_none())
        }),
        Property::always("no owner is stuck", no_owner_is_stuck),
    ]
}

/// What must be reachable, so that the search is no search of an empty room.
pub(crate) fn examples() -> Vec<Property<Rules>> {
    vec![
        Property::sometimes("another writer's chunk is adopted", |_, world: &World| {
            world.owners().any(|(process, sink)| has_adopted(world, process, sink))
        }),
        Property::sometimes("a writer loses the race", |_, world: &World| {
            refusals(world).any(|(chunk, winner)| winner.writer != chunk.writer)
        }),
        Property::sometimes("a writer meets its own earlier try", |_, world: &World| {
            refusals(world).any(|(chunk, winner)| winner == chunk)
        }),
        Property::sometimes(
            "a process loses the race against its own former self",
            |_, world: &World| {
                refusals(world)
                    .any(|(chunk, winner)| winner.writer == chunk.writer && winner != chunk)
            },
        ),
        Property::sometimes("a late PUT wins", |_, world: &World| {
            world.objects.values().any(|object| object.late)
        }),
        Property::sometimes("a late PUT comes too late", |_, world: &World| {
            world.objects.values().any(|object| object.outran)
        }),
        Property::sometimes("the commit goes back", |_, world: &World| {
            world.owners().any(|(_, sink)| sink.ledger.committed() > world.committed)
        }),
        Property::sometimes(
            "everything is stored and committed",
            |rules: &Rules, world: &World| {
                world.committed == rules.log.last().map(|last| last.offset.next())
            },
        ),
    ]
}

/// What must be reachable where uploads get lost.
pub(crate) fn examples_of_losses() -> Vec<Property<Rules>> {
    vec![
        Property::sometimes("a chunk that was lost is stored after all", |rules, world: &World| {
            world.lost_uploads == rules.lost_uploads_max
                && world.committed == rules.log.last().map(|last| last.offset.next())
        }),
        Property::sometimes("a lost upload wins against its repetition", |_, world: &World| {
            let of_repetition = |(chunk, winner): (Chunk, Chunk)| {
                chunk.writer == winner.writer
                    && world.objects[&(winner.day(), winner.range.start)].late
            };
            world.lost_uploads > 0 && refusals(world).any(of_repetition)
        }),
    ]
}

/// How K1 comes about where there is retention.
pub(crate) fn examples_of_k1() -> Vec<Property<Rules>> {
    vec![
        Property::sometimes(K1_AFTER_THE_STORE, |_, world: &World| {
            forks(world).any(|(earlier, _)| !outlived_first(world, &earlier))
        }),
        Property::sometimes(K1_BEFORE_THE_STORE, |_, world: &World| {
            forks(world).any(|(earlier, _)| outlived_first(world, &earlier))
        }),
    ]
}

/// Every message that is left in the log and lies below what anybody takes for stored is in an
/// object, and no range is missing between two objects.
fn no_loss(rules: &Rules, world: &World) -> bool {
    let ranges = world.ranges();
    let gap = |found: &Break| found.invariant() == Invariant::L1;
    if invariants::chain_breaks(&ranges).iter().any(gap) {
        return false;
    }
    let ends = ranges.iter().map(|range| range.end);
    let adopted = world.owners().map(|(_, sink)| sink.ledger.stored_end());
    let Some(reached) = ends.chain(adopted).chain(world.committed).max() else { return true };
    let below = rules.remaining(world).iter().filter(|message| message.offset < reached);
    let is_stored = |offset: Offset| contents(world).any(|stored| stored == offset);
    below.into_iter().all(|message| is_stored(message.offset))
}

fn no_overlap(world: &World) -> bool {
    let overlap = |found: &Break| found.invariant() == Invariant::L2;
    let mut offsets: Vec<_> = contents(world).collect();
    offsets.sort_unstable();
    !invariants::chain_breaks(&world.ranges()).iter().any(overlap)
        && offsets.windows(2).all(|pair| pair[0] != pair[1])
}

/// The chunks form a tree that grows from one start, each from the end of another; and where two
/// grow from the same place, it is K1. Without a fork a tree is a chain: so every overlap, even
/// one further along two branches, goes back to a K1.
fn no_overlap_but_k1(rules: &Rules, world: &World) -> bool {
    let chunks = world.chunks();
    let is_rooted = |chunk: &Chunk| {
        chunk.range.start == chunks[0].range.start
            || chunks.iter().any(|other| other.range.end == chunk.range.start)
    };
    let removed = &rules.log[..world.removed];
    let is_k1 = |(earlier, later): (Chunk, Chunk)| {
        earlier.day() < later.day() && removed.contains(&earlier.first)
    };
    chunks.iter().all(is_rooted) && forks(world).all(is_k1)
}

fn commit_follows_store(rules: &Rules, world: &World) -> bool {
    let covers = |committed| {
        let log_start = rules.log_start(world);
        invariants::uncovered_commit(&world.ranges(), committed, log_start).is_none()
    };
    world.committed.is_none_or(covers)
        && world.owners().all(|(_, sink)| invariants::commit_follows_store(&sink.ledger))
}

/// If the partition were revoked now, nothing would ever come of any answer that is on its way.
fn is_silent_once_revoked(sink: &Sink) -> bool {
    let long_after = Duration::from_secs(1_000_000);
    let mut revoked = sink.ledger.clone();
    let storing = revoked.storing().copied();
    revoked.revoke();
    let mut silent = |tell: &dyn Fn(&mut PartitionLedger)| {
        tell(&mut revoked);
        invariants::silent(revoked.next_action(long_after))
    };
    silent(&|_| ())
        && silent(&|ledger| ledger.probed(None))
        && silent(&|ledger| ledger.stored(StoreOutcome::Created))
        && silent(&|ledger| ledger.stored(StoreOutcome::Lost))
        && silent(&PartitionLedger::lose_open)
        && storing.is_none_or(|chunk| {
            silent(&|ledger| ledger.stored(StoreOutcome::Exists(chunk)))
                && silent(&|ledger| ledger.probed(Some(chunk)))
        })
        && silent(&|ledger| ledger.commit_done(false, T0))
}

/// Whoever owns the partition has something to do, waits for an answer, or has stored and
/// committed all there is.
fn no_owner_is_stuck(rules: &Rules, world: &World) -> bool {
    let mut steps = Vec::new();
    world.processes.iter().flatten().all(|process| {
        let Some(sink) = &process.sink else { return true };
        steps.clear();
        rules.own_steps(world, 0, process, &mut steps);
        !steps.is_empty() || (sink.ledger.is_settled() && rules.next_message(world, sink).is_none())
    })
}

fn holds_what_it_says(content: &Content) -> bool {
    let Content { chunk, offsets } = content;
    invariants::adds_up(chunk)
        && offsets.is_sorted_by(|a, b| a < b)
        && offsets.len() as u64 == chunk.rows + chunk.rejected
        && offsets.first() == Some(&chunk.first.offset)
        && offsets.last().is_some_and(|last| last.next() == chunk.range.end)
        && chunk.range.start <= chunk.first.offset
}

/// The offsets in all objects, as often as they are there.
fn contents(world: &World) -> impl Iterator<Item = Offset> {
    world.objects.values().flat_map(|object| object.now.offsets.iter().copied())
}

/// Pairs of chunks with the same start, the one with the earlier first message in front.
fn forks(world: &World) -> impl Iterator<Item = (Chunk, Chunk)> {
    let mut chunks = world.chunks();
    chunks.sort_by_key(|chunk| (chunk.range.start, chunk.first.offset));
    let pairs: Vec<_> = chunks.windows(2).map(|pair| (pair[0], pair[1])).collect();
    pairs.into_iter().filter(|(earlier, later)| earlier.range.start == later.range.start)
}

/// Whether the chunk was created when its first message was gone already.
fn outlived_first(world: &World, chunk: &Chunk) -> bool {
    world.objects[&(chunk.day(), chunk.range.start)].outlived_first
}

/// The PUTs that were refused, each with the chunk that lies there.
fn refusals(world: &World) -> impl Iterator<Item = (Chunk, Chunk)> {
    world.owners().filter_map(|(process, _)| match &process.requests.put {
        Some(Put { content, answer: Some(Answer::Exists(winner)) }) => {
            Some((content.chunk, *winner))
        }
        _ => None,
    })
}

/// Whether the sink knows a chunk to be stored that its process did not store, beyond the commit
/// that it began with.
fn has_adopted(world: &World, process: &Process, sink: &Sink) -> bool {
    let ledger = &sink.ledger;
    world.chunks().iter().any(|chunk| {
        chunk.writer != process.writer
            && chunk.range.end == ledger.stored_end()
            && ledger.committed().is_none_or(|committed| committed <= chunk.range.start)
    })
}
