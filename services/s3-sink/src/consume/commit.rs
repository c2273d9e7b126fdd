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
    commits: Sender<Commit>,
    thread: JoinHandle<()>,
}

impl Committer {
    /// Starts the thread. Each commit ends as an [`Event::CommitDone`].
    pub fn start(group: Group, events: Sender<Event>) -> std::io::Result<Self> {
        let (commits, waiting) = channel();
        let thread = std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || work(&group, &waiting, &events))?;
        Ok(Self { commits, thread })
    }

    /// Queues a commit; false if the thread is gone.
    pub fn commit(&self, commit: Commit) -> bool {
        self.commits.send(commit).is_ok()
    }

    /// Ends the thread after what is queued.
    pub fn finish(self) {
        drop(self.commits);
        // A panic there was reported when it happened.
        let _ = self.thread.join();
    }
}

fn work(group: &Group, waiting: &Receiver<Commit>, events: &Sender<Event>) {
    while let Ok(first) = waiting.recv() {
        // The ledger of a partition asks for one commit at a time; a later one replaces an
        // earlier one of a previous assignment.
        let mut commits = BTreeMap::from([(first.partition, first)]);
        commits.extend(waiting.try_iter().map(|commit| (commit.partition, commit)));
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
