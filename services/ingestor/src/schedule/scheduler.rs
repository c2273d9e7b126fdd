//! Decides when a run begins. A pure function of time and of what becomes of the runs: it holds no
//! clock and starts nothing.
//!
//! At most one run is active. A tick that finds a run active, or a retry waiting, is skipped. A
//! tick begins at most one run, whatever the clock does; one that is noticed too late begins none.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::Schedule;
use crate::summary::Outcome;

/// A tick that is noticed later than this is missed: the clock was put forward, or the process was
/// stopped for a while.
const LATE_MAX: Duration = Duration::from_secs(60);
/// So many ticks that have been decided are remembered, for a clock that is put back: a day of
/// ticks on every minute.
const SPENT_MAX: usize = 1_440;
/// So many missed ticks are counted one by one. A clock that starts in 1970 misses many more.
const MISSED_MAX: u64 = 10_000;

/// One moment, on two clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// What the clock on the wall says, which may jump. Ticks are of this clock.
    pub(crate) wall: Timestamp,
    /// Time since some fixed moment, which never jumps. Delays are of this clock.
    pub(crate) steady: Duration,
}

/// When to begin runs.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// The ticks.
    pub(crate) schedule: Schedule,
    /// Whether a run begins with the process.
    pub(crate) run_on_start: bool,
    /// How often a run that failed is repeated.
    pub(crate) retries_max: u32,
    /// Wait before that, and before the next run of a continuous schedule.
    pub(crate) retry_delay: Duration,
}

/// Why a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A tick of the schedule.
    Tick(Timestamp),
    /// A request.
    Api,
    /// The process has started.
    Start,
    /// This run has failed.
    Retry(Uuid),
    /// The schedule is continuous.
    Continuous,
}

/// Why a tick begins no run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SkipReason {
    /// A run is active, or waits to be repeated.
    Busy,
    /// The tick was noticed too late.
    Late,
}

impl SkipReason {
    /// Every reason, to start each counter at zero.
    pub(crate) const ALL: [Self; 2] = [Self::Busy, Self::Late];

    /// The stable name in logs and metrics.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Late => "late",
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Begin a run. It counts as active until [`Scheduler::ended`].
    Begin(Cause),
    /// So many ticks, up to `last`, begin no run.
    Skip {
        /// How many, at least one.
        ticks: u64,
        /// The last one of them.
        last: Timestamp,
        /// Why.
        reason: SkipReason,
    },
}

/// A run that begins when no other is active and its time has come.
#[derive(Debug, Clone, Copy)]
struct Pending {
    cause: Cause,
    /// On the steady clock.
    not_before: Duration,
    /// How often the run was repeated, this time included.
    retries: u32,
}

/// The run that is active.
#[derive(Debug, Clone, Copy)]
struct Active {
    cause: Cause,
    retries: u32,
}

/// Decides when runs begin.
#[derive(Debug)]
pub(crate) struct Scheduler {
    policy: Policy,
    /// The first tick that is not decided; `None` without a cron expression.
    next_tick: Option<Timestamp>,
    /// Decided ticks, the last decided at the back.
    spent: VecDeque<Timestamp>,
    /// The wall clock when it was last seen.
    seen: Timestamp,
    active: Option<Active>,
    pending: Option<Pending>,
    leaving: bool,
}

impl Scheduler {
    /// The ticks up to `now` have passed, and are not caught up with.
    pub(crate) fn new(policy: Policy, now: Moment) -> Self {
        let first = match (&policy.schedule, policy.run_on_start) {
            (Schedule::Continuous, _) => Some(Cause::Continuous),
            (_, true) => Some(Cause::Start),
            (_, false) => None,
        };
        let mut scheduler = Self {
            policy,
            next_tick: None,
            spent: VecDeque::new(),
            seen: now.wall,
            active: None,
            pending: first.map(|cause| Pending { cause, not_before: now.steady, retries: 0 }),
            leaving: false,
        };
        scheduler.next_tick = scheduler.tick_after(now.wall);
        scheduler
    }

    /// An earlier process has decided this tick.
    pub(crate) fn remember(&mut self, tick: Timestamp) {
        self.spend(tick);
        if self.next_tick == Some(tick) {
            self.next_tick = self.tick_after(tick);
        }
    }

    /// What is to be done now. At most one of the decisions is to begin a run.
    pub(crate) fn advance(&mut self, now: Moment) -> Vec<Decision> {
        if now.wall < self.seen && !self.leaving {
            // The clock was put back: ticks that were far away may be near, or come again.
            self.next_tick = self.tick_after(now.wall);
        }
        self.seen = now.wall;
        let mut decisions = Vec::new();
        let due = self.pending.filter(|pending| pending.not_before <= now.steady);
        if let (None, Some(pending)) = (self.active, due) {
            self.pending = None;
            decisions.push(self.begin(pending.cause, pending.retries));
        }
        let missed = self.pass_missed_ticks(now.wall);
        decisions.extend(missed);
        if let Some(tick) = self.next_tick.filter(|tick| *tick <= now.wall) {
            self.spend(tick);
            self.next_tick = self.tick_after(tick);
            decisions.push(match (self.active, self.pending) {
                (None, None) => self.begin(Cause::Tick(tick), 0),
                _ => Decision::Skip { ticks: 1, last: tick, reason: SkipReason::Busy },
            });
        }
        decisions
    }

    /// How long nothing will be to decide, if neither runs nor clocks change; `None` for ever.
    pub(crate) fn idle_for(&self, now: Moment) -> Option<Duration> {
        let until_tick = self
            .next_tick
            .map(|tick| Duration::try_from(tick.duration_since(now.wall)).unwrap_or_default());
        let until_pending = self
            .pending
            .filter(|_| self.active.is_none())
            .map(|pending| pending.not_before.saturating_sub(now.steady));
        until_tick.into_iter().chain(until_pending).min()
    }

    /// Whether a run may begin by request. If so, it counts as active.
    pub(crate) fn admit(&mut self) -> bool {
        let is_free = self.active.is_none() && !self.leaving;
        if is_free {
            self.begin(Cause::Api, 0);
        }
        is_free
    }

    /// The active run has ended.
    pub(crate) fn ended(&mut self, run: Uuid, outcome: Outcome, now: Moment) {
        let Some(active) = self.active.take() else { return };
        if self.leaving || self.pending.is_some() {
            return;
        }
        let delay = match outcome {
            // Runs that fail at once must not follow each other at once.
            Outcome::Failed => self.policy.retry_delay,
            Outcome::Succeeded | Outcome::Cancelled => Duration::ZERO,
        };
        // Who asked for a run by request sees that it failed, and may ask again.
        let is_retried = outcome == Outcome::Failed
            && active.cause != Cause::Api
            && active.retries < self.policy.retries_max;
        let (cause, retries) = match self.policy.schedule {
            Schedule::Continuous => (Cause::Continuous, 0),
            _ if is_retried => (Cause::Retry(run), active.retries + 1),
            _ => return,
        };
        self.pending = Some(Pending { cause, not_before: now.steady + delay, retries });
    }

    /// The run that was admitted has not begun after all.
    pub(crate) fn withdrawn(&mut self) {
        self.active = None;
    }

    /// No run begins from now on.
    pub(crate) fn leave(&mut self) {
        self.leaving = true;
        self.pending = None;
        self.next_tick = None;
    }

    /// The tick that comes next.
    pub(crate) fn next_tick(&self) -> Option<Timestamp> {
        self.next_tick
    }

    fn begin(&mut self, cause: Cause, retries: u32) -> Decision {
        self.active = Some(Active { cause, retries });
        Decision::Begin(cause)
    }

    /// Leaves `next_tick` at a tick that is due in time, or in the future. Missed ticks are not
    /// spent: if the clock is put back, they come at their time.
    fn pass_missed_ticks(&mut self, now: Timestamp) -> Option<Decision> {
        let mut missed: Option<(u64, Timestamp)> = None;
        while let Some(tick) = self.next_tick.filter(|tick| *tick <= now) {
            let following = self.tick_after(tick);
            let is_superseded = following.is_some_and(|following| following <= now);
            if !is_superseded && now.duration_since(tick).unsigned_abs() <= LATE_MAX {
                break;
            }
            let ticks = missed.map_or(0, |(ticks, _)| ticks) + 1;
            missed = Some((ticks, tick));
            self.next_tick = match ticks < MISSED_MAX {
                true => following,
                false => self.tick_after(now),
            };
        }
        missed.map(|(ticks, last)| Decision::Skip { ticks, last, reason: SkipReason::Late })
    }

    /// The first tick after `time` that is not decided.
    fn tick_after(&self, time: Timestamp) -> Option<Timestamp> {
        let Schedule::Cron(cron) = &self.policy.schedule else { return None };
        std::iter::successors(cron.next_after(time), |tick| cron.next_after(*tick))
            .find(|tick| !self.spent.contains(tick))
    }

    fn spend(&mut self, tick: Timestamp) {
        self.spent.push_back(tick);
        if self.spent.len() > SPENT_MAX {
            self.spent.pop_front();
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
