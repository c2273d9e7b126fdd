//! Counts messages from the moment they are queued until their delivery reports are in: those of one
//! run, or the record of a run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// The tally of one run. Every message carries a reference to it, so that a delivery report that
/// comes in late counts for the run that produced the message.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pending: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
    settled: Notify,
    /// Whether this is about a run's record, which the metrics of messages leave out.
    is_of_record: bool,
}

impl Tally {
    /// The tally of a run's record, which is no message of the run.
    pub(crate) fn of_record() -> Self {
        Self { is_of_record: true, ..Self::default() }
    }

    /// Whether this is about a run's record and not about its messages.
    pub(crate) fn is_of_record(&self) -> bool {
        self.is_of_record
    }

    /// A message is about to be queued: its delivery report is owed from now on.
    pub(crate) fn queued(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// The message was not queued after all; it will be tried again or counted as failed.
    pub(crate) fn not_queued(&self) {
        self.settle_one();
    }

    /// A delivery report says that the message is on the topic.
    pub(crate) fn delivered(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.settle_one();
    }

    /// A delivery report says that the message is lost.
    pub(crate) fn failed(&self, why: &dyn std::fmt::Display) {
        self.count_failure(why);
        self.settle_one();
    }

    /// The client refused to queue the message.
    pub(crate) fn refused(&self, why: &dyn std::fmt::Display) {
        self.count_failure(why);
    }

    /// Waits until no delivery report is owed.
    pub(crate) async fn settled(&self) {
        loop {
            // Registered before the check, so that a report in between isn't missed.
            let settled = self.settled.notified();
            if self.pending() == 0 {
                return;
            }
            settled.await;
        }
    }

    /// Messages whose delivery report is owed.
    pub(crate) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Acquire)
    }

    /// Messages that are on the topic.
    pub(crate) fn delivered_count(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Messages that are lost.
    pub(crate) fn failed_count(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Why the first lost message was lost.
    pub(crate) fn first_failure(&self) -> Option<String> {
        self.first_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count_failure(&self, why: &dyn std::fmt::Display) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut first = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| why.to_string());
    }

    fn settle_one(&self) {
        // Release, so that whoever sees zero pending sees every count.
        if self.pending.fetch_sub(1, Ordering::Release) == 1 {
            self.settled.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn settles_when_the_last_report_is_in() {
        let tally = Arc::new(Tally::default());
        for _ in 0..3 {
            tally.queued();
        }
        let waiter = tokio::spawn({
            let tally = Arc::clone(&tally);
            async move { tally.settled().await }
        });
        tokio::task::yield_now().await;
        tally.delivered();
        tally.failed(&"timed out");
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        tally.failed(&"another reason");
        waiter.await.unwrap();
        assert_eq!((tally.pending(), tally.delivered_count(), tally.failed_count()), (0, 1, 2));
        assert_eq!(tally.first_failure().as_deref(), Some("timed out"));
    }

    #[tokio::test]
    async fn a_run_without_messages_is_settled() {
        Tally::default().settled().await;
    }

    #[test]
    fn a_refused_message_owes_no_report() {
        let tally = Tally::default();
        tally.queued();
        tally.not_queued();
        tally.refused(&"too large");
        assert_eq!((tally.pending(), tally.failed_count()), (0, 1));
    }
}
