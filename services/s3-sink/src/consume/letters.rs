//! The dead letters of one chunk on their way: the chunk is stored only when all are acknowledged.

use tokio::task::{JoinError, JoinSet};

/// Dead letters of one chunk. Dropped, those on their way are given up; they may arrive all the
/// same, with the coordinates by which a repetition is known.
#[derive(Debug, Default)]
pub struct Letters {
    tasks: JoinSet<()>,
    count: usize,
    broken: Option<String>,
}

impl Letters {
    /// Sends one more; `letter` ends when it is acknowledged.
    pub fn send(&mut self, letter: impl Future<Output = ()> + Send + 'static) {
        // A task that has ended keeps its memory until it is joined.
        while let Some(joined) = self.tasks.try_join_next() {
            self.note(joined);
        }
        self.tasks.spawn(letter);
        self.count += 1;
    }

    /// How many there are, acknowledged ones included.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Waits until every one is acknowledged; says why not if a task broke.
    pub async fn acknowledged(mut self) -> Result<(), String> {
        while let Some(joined) = self.tasks.join_next().await {
            self.note(joined);
        }
        self.broken.take().map_or(Ok(()), Err)
    }

    fn note(&mut self, joined: Result<(), JoinError>) {
        if let Err(error) = joined {
            self.broken.get_or_insert_with(|| format!("a dead letter's task ended early: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a broken task is what is tested")]

    use super::*;

    #[tokio::test]
    async fn all_are_waited_for_and_none_is_kept() {
        let mut letters = Letters::default();
        for _ in 0..1000 {
            letters.send(async {});
            tokio::task::yield_now().await;
        }
        assert_eq!(letters.count(), 1000);
        assert!(letters.tasks.len() < 1000, "ended tasks are kept");
        assert_eq!(letters.acknowledged().await, Ok(()));
    }

    #[tokio::test]
    async fn a_broken_one_is_not_forgotten() {
        let mut letters = Letters::default();
        letters.send(async { panic!("broken") });
        for _ in 0..100 {
            tokio::task::yield_now().await;
            letters.send(async {});
        }
        assert!(letters.acknowledged().await.is_err());
    }
}
