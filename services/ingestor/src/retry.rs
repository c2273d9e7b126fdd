//! How long to wait before a request is repeated: exponential backoff with jitter, and what the
//! server asks for by `Retry-After`.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// A longer `Retry-After` is not honoured in full. The API's rate limit has a window of 300 s.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// The backoff grows no further than this, unless its first delay is longer.
const DELAY_MAX: Duration = Duration::from_secs(30);

/// The delays before the retries of one request.
#[derive(Debug)]
pub(crate) struct Delays {
    backoff: ExponentialBackoff,
}

impl Delays {
    /// At most `retries_max` delays, the first from `first` to twice that, each next one doubled.
    pub(crate) fn new(first: Duration, retries_max: usize) -> Self {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(first)
            .with_max_delay(DELAY_MAX.max(first))
            .with_max_times(retries_max)
            .with_jitter()
            .build();
        Self { backoff }
    }

    /// The next delay, at least as long as the server asked for; `None` when no retry is left.
    pub(crate) fn next(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        self.backoff.next().map(|delay| delay.max(asked))
    }
}

/// The value of a `Retry-After` header, either seconds or an HTTP date; `None` if it is neither.
/// A date that has passed means no wait.
pub(crate) fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits alone fail to parse only when they are too many: an endless wait, capped later.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_seconds_or_as_a_date() {
        // 1994-11-06T08:49:37Z
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let before = date - Duration::from_secs(90);
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(90)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(90)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(parse_retry_after(value, before), expected, "{value:?}");
        }
        let after = date + Duration::from_secs(1);
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", after), Some(Duration::ZERO));
    }

    #[test]
    fn delays_grow_and_end() {
        let first = Duration::from_millis(100);
        let mut delays = Delays::new(first, 3);
        for factor in [1, 2, 4] {
            let delay = delays.next(None);
            let least = first * factor;
            assert!(delay.is_some_and(|delay| delay >= least && delay <= least * 2), "{delay:?}");
        }
        assert_eq!(delays.next(None), None);
    }

    #[test]
    fn the_server_is_heard_within_bounds() {
        let mut delays = Delays::new(Duration::from_millis(1), 2);
        assert_eq!(delays.next(Some(Duration::from_secs(60))), Some(Duration::from_secs(60)));
        assert_eq!(delays.next(Some(Duration::from_secs(9999))), Some(RETRY_AFTER_MAX));
        assert_eq!(Delays::new(Duration::from_secs(1), 0).next(Some(RETRY_AFTER_MAX)), None);
    }
}
