//! When a run makes its requests: on a fixed grid from its start, as a pure function of time.

use std::time::Duration;

/// The grid of one run: slots at 0, `pause`, 2 × `pause`, … before `streaming`.
///
/// A slow request does not shift the later slots. Slots that went by meanwhile are made up for by
/// one request at once, never by a burst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cadence {
    /// Time between two slots; zero means back to back.
    pub(crate) pause: Duration,
    /// No slot lies at or after this time, except the first.
    pub(crate) streaming: Duration,
}

impl Cadence {
    /// The slot to use next, as time since the run's start; `None` when the run is over.
    ///
    /// `last` is the slot used last, `elapsed` the time since the run's start. A slot that lies
    /// before `elapsed` is due at once.
    pub(crate) fn next(&self, last: Option<Duration>, elapsed: Duration) -> Option<Duration> {
        let Some(last) = last else {
            return Some(Duration::ZERO);
        };
        let slot = match self.pause.is_zero() {
            true => elapsed.max(last),
            false => (last + self.pause).max(self.current_slot(elapsed)),
        };
        (slot < self.streaming).then_some(slot)
    }

    /// The last slot that is not after `elapsed`.
    fn current_slot(&self, elapsed: Duration) -> Duration {
        let into_slot = elapsed.as_nanos() % self.pause.as_nanos();
        // The remainder of a division by `pause` is shorter than `pause`, so it fits.
        elapsed.saturating_sub(Duration::from_nanos(u64::try_from(into_slot).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The slots of a run whose k-th request takes `durations[k]`; later ones take no time.
    fn slots(cadence: Cadence, durations: &[u64]) -> Vec<(u64, u64)> {
        let mut durations = durations.iter().copied().chain(std::iter::repeat(0));
        let mut now = Duration::ZERO;
        let mut last = None;
        let mut used = Vec::new();
        while let Some(slot) = cadence.next(last, now) {
            now = now.max(slot);
            used.push((slot.as_secs(), now.as_secs()));
            now += seconds(durations.next().unwrap_or(0));
            last = Some(slot);
        }
        used
    }

    const TUTORIAL: Cadence = Cadence { pause: seconds(10), streaming: seconds(120) };

    #[test]
    fn twelve_requests_at_the_defaults() {
        let expected: Vec<_> = (0..12).map(|k| (k * 10, k * 10)).collect();
        assert_eq!(slots(TUTORIAL, &[]), expected);
    }

    #[test]
    fn a_slow_request_shifts_nothing() {
        let expected: Vec<_> = (0..12).map(|k| (k * 10, k * 10)).collect();
        assert_eq!(slots(TUTORIAL, &[9, 9, 9]), expected);
    }

    #[test]
    fn missed_slots_are_made_up_for_once() {
        // The first request ends at 35: slots 10 and 20 are lost, 30 is used at once, then 40.
        assert_eq!(slots(TUTORIAL, &[35])[..3], [(0, 0), (30, 35), (40, 40)]);
    }

    #[test]
    fn a_request_that_outlasts_the_run_ends_it() {
        assert_eq!(slots(TUTORIAL, &[500]), [(0, 0)]);
    }

    #[test]
    fn the_first_request_is_always_made() {
        let cadence = Cadence { pause: seconds(10), streaming: Duration::ZERO };
        assert_eq!(slots(cadence, &[]), [(0, 0)]);
    }

    #[test]
    fn no_pause_means_back_to_back() {
        let cadence = Cadence { pause: Duration::ZERO, streaming: seconds(6) };
        assert_eq!(slots(cadence, &[2, 3, 1]), [(0, 0), (2, 2), (5, 5)]);
    }
}
