//! Faults on demand: a plan of what goes wrong next, shared by a server and by the test that drives it.
//!
//! A fault fires a number of times on the requests that it matches; the first one in the plan that
//! matches wins. Requests can also be held until they are released, so that a test can do something
//! at a known moment without sleeping.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// How often a fault fires unless it says otherwise.
pub(crate) fn once() -> Option<u64> {
    Some(1)
}

/// A kind of fault: which requests it matches and what it does to them.
pub trait Fault: Clone {
    /// What the server knows about a request when it asks for a fault.
    type Request<'a>;
    /// What happens to the request.
    type Action: Clone;

    /// Whether this fault is meant for `request`.
    fn matches(&self, request: &Self::Request<'_>) -> bool;
    /// How many matching requests still pass before it fires.
    fn skips_left(&mut self) -> &mut u64;
    /// How often it still fires; `None`: until the plan is cleared.
    fn times_left(&mut self) -> &mut Option<u64>;
    /// What it does.
    fn action(&self) -> &Self::Action;
}

/// The faults that are still to come, in order, and the requests held by them.
#[derive(Debug)]
pub struct FaultPlan<F> {
    pending: Mutex<Vec<F>>,
    /// Counts the releases; a held request waits for the next one.
    releases: watch::Sender<u64>,
    held: watch::Sender<usize>,
}

/// An action taken from the plan, with the release count of that moment: a release that comes
/// between the taking and the holding is not missed.
pub(crate) struct Taken<A> {
    pub(crate) action: A,
    releases_seen: u64,
}

impl<F> Default for FaultPlan<F> {
    fn default() -> Self {
        Self {
            pending: Mutex::default(),
            releases: watch::Sender::default(),
            held: watch::Sender::default(),
        }
    }
}

impl<F: Fault> FaultPlan<F> {
    /// Adds a fault behind those already planned.
    pub fn push(&self, fault: F) {
        self.pending().push(fault);
    }

    /// What is still to come.
    pub fn list(&self) -> Vec<F> {
        self.pending().clone()
    }

    /// Forgets every planned fault and releases the held requests.
    pub fn clear(&self) {
        self.pending().clear();
        self.release();
    }

    /// Lets the requests held now go on.
    pub fn release(&self) {
        self.releases.send_modify(|count| *count += 1);
    }

    /// The number of requests held now.
    pub fn held(&self) -> usize {
        *self.held.borrow()
    }

    /// Waits until at least `count` requests are held. Put your own timeout around it.
    pub async fn wait_held(&self, count: usize) {
        // The sender lives in `self`, so the wait can't end with an error.
        let _ = self.held.subscribe().wait_for(|held| *held >= count).await;
    }

    /// The action of the first fault that fires for `request`, counted down.
    pub(crate) fn take(&self, request: &F::Request<'_>) -> Option<Taken<F::Action>> {
        let mut pending = self.pending();
        let releases_seen = *self.releases.borrow();
        for index in 0..pending.len() {
            let fault = &mut pending[index];
            if !fault.matches(request) {
                continue;
            }
            let skips = fault.skips_left();
            if *skips > 0 {
                *skips -= 1;
                continue;
            }
            let spent = match fault.times_left() {
                None => false,
                Some(times) => {
                    *times = times.saturating_sub(1);
                    *times == 0
                }
            };
            let action = fault.action().clone();
            if spent {
                pending.remove(index);
            }
            return Some(Taken { action, releases_seen });
        }
        None
    }

    /// Waits for the first release after `taken` was taken.
    pub(crate) async fn hold(&self, taken: &Taken<F::Action>) {
        let _count = HeldGuard::enter(&self.held);
        let _ =
            self.releases.subscribe().wait_for(|releases| *releases != taken.releases_seen).await;
    }

    fn pending(&self) -> MutexGuard<'_, Vec<F>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a held request for as long as it is held, also when its client goes away.
struct HeldGuard<'a>(&'a watch::Sender<usize>);

impl<'a> HeldGuard<'a> {
    fn enter(held: &'a watch::Sender<usize>) -> Self {
        held.send_modify(|count| *count += 1);
        Self(held)
    }
}

impl Drop for HeldGuard<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Named(&'static str, u64, Option<u64>);

    impl Fault for Named {
        type Request<'a> = &'a str;
        type Action = &'static str;
        fn matches(&self, request: &&str) -> bool {
            request.starts_with(self.0)
        }
        fn skips_left(&mut self) -> &mut u64 {
            &mut self.1
        }
        fn times_left(&mut self) -> &mut Option<u64> {
            &mut self.2
        }
        fn action(&self) -> &&'static str {
            &self.0
        }
    }

    fn fired(plan: &FaultPlan<Named>, request: &str) -> Option<&'static str> {
        plan.take(&request).map(|taken| taken.action)
    }

    #[test]
    fn the_first_match_fires_after_its_skips_and_only_so_many_times() {
        let plan = FaultPlan::default();
        plan.push(Named("b", 0, None));
        plan.push(Named("a", 1, Some(2)));
        plan.push(Named("", 0, once()));

        assert_eq!(
            fired(&plan, "a1"),
            Some(""),
            "the skipped fault leaves the request to the next"
        );
        assert_eq!(fired(&plan, "a2"), Some("a"));
        assert_eq!(fired(&plan, "b1"), Some("b"));
        assert_eq!(fired(&plan, "a3"), Some("a"));
        assert_eq!(fired(&plan, "a4"), None);
        assert_eq!(fired(&plan, "b2"), Some("b"));
        plan.clear();
        assert_eq!(fired(&plan, "b3"), None);
    }

    #[tokio::test]
    async fn a_release_between_taking_and_holding_is_not_missed() {
        let plan = FaultPlan::default();
        plan.push(Named("a", 0, once()));
        let taken = plan.take(&"a").unwrap();
        plan.release();
        plan.hold(&taken).await;
        assert_eq!(plan.held(), 0);
    }

    #[tokio::test]
    async fn holds_until_released_and_counts_the_held() {
        let plan = FaultPlan::default();
        plan.push(Named("a", 0, once()));
        let taken = plan.take(&"a").unwrap();
        let driver = async {
            plan.wait_held(1).await;
            assert_eq!(plan.held(), 1);
            plan.release();
        };
        tokio::join!(plan.hold(&taken), driver);
        assert_eq!(plan.held(), 0);
    }
}
