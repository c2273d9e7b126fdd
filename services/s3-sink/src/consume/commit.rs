//! Commits, one request for all partitions that wait, on a thread of their own: the loop must not
//! wait for the coordinator.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use chunk_ledger::{Offset, Partition};
use tracing::debug;

use super::{Event, Group};

/// A commit of one partition.
#[derive(Debug, Clone, Copy)]
pub struct Commit {
    /// The partition.
    pub partition: Partition,
    /// The assignment during which it was asked for.
    pub epoch: u64,
    /// The next offset to consume.
    pub offset: Offset,
}

/// The thread that commits.
pub struct Committer {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

enum Order {
    Commit(Commit),
    /// Forget what waits for the partition: it is no longer ours, and would go out in the name of
    /// a later membership.
    Withdraw(Partition),
}

impl Committer {
    /// Starts the thread. Each commit that is sent ends as an [`Event::CommitDone`].
    pub fn start(group: Group, events: Sender<Event>) -> std::io::Result<Self> {
        let (orders, waiting) = channel();
        let thread = std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || work(&group, &waiting, &events))?;
        Ok(Self { orders, thread })
    }

    /// Queues a commit; false if the thread is gone.
    pub fn commit(&self, commit: Commit) -> bool {
        self.orders.send(Order::Commit(commit)).is_ok()
    }

    /// Takes back a commit of the partition that is still queued.
    pub fn withdraw(&self, partition: Partition) {
        // With the thread gone nothing is sent any more.
        let _ = self.orders.send(Order::Withdraw(partition));
    }

    /// Ends the thread after what is queued.
    pub fn finish(self) {
        drop(self.orders);
        // A panic there was reported when it happened.
        let _ = self.thread.join();
    }
}

fn work(group: &Group, waiting: &Receiver<Order>, events: &Sender<Event>) {
    while let Ok(first) = waiting.recv() {
        let mut commits = BTreeMap::new();
        for order in std::iter::once(first).chain(waiting.try_iter()) {
            match order {
                // One of a later assignment replaces an earlier one.
                Order::Commit(commit) => commits.insert(commit.partition, commit),
                Order::Withdraw(partition) => commits.remove(&partition),
            };
        }
        if commits.is_empty() {
            continue;
        }
        let offsets: Vec<_> =
            commits.values().map(|commit| (commit.partition, commit.offset)).collect();
        debug!(?offsets, "committing");
        let mut outcomes = group.commit(&offsets);
        for (partition, commit) in commits {
            let outcome = outcomes.remove(&partition).unwrap_or(Ok(()));
            if events.send(Event::CommitDone { commit, outcome }).is_err() {
                return;
            }
        }
    }
}
