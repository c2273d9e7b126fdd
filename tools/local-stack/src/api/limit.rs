//! The API's rate limit: so many users in a window of fixed length.

use std::time::{Duration, Instant};

/// A limit on users, as randomuser.me keeps it for each address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Users that are served in one window.
    pub users: u64,
    /// The window's length; it begins with the first request after the last one ended.
    pub window: Duration,
}

impl Default for RateLimit {
    /// What randomuser.me does: 20,000 users in 300 seconds.
    fn default() -> Self {
        Self { users: 20_000, window: Duration::from_secs(300) }
    }
}

/// Counts the users of the running window.
#[derive(Debug)]
pub(super) struct Limiter {
    limit: RateLimit,
    window_start: Instant,
    users: u64,
}

impl Limiter {
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        Self { limit, window_start: now, users: 0 }
    }

    /// Counts `users` more. An error is the number asked for in this window, which is too many.
    pub(super) fn admit(&mut self, users: u64, now: Instant) -> Result<(), u64> {
        if now.duration_since(self.window_start) >= self.limit.window {
            self.window_start = now;
            self.users = 0;
        }
        self.users = self.users.saturating_add(users);
        if self.users > self.limit.users { Err(self.users) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_past_the_limit_until_the_window_ends() {
        let start = Instant::now();
        let limit = RateLimit { users: 10, window: Duration::from_secs(300) };
        let mut limiter = Limiter::new(limit, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(limiter.admit(6, at(0)), Ok(()));
        assert_eq!(limiter.admit(4, at(1)), Ok(()));
        assert_eq!(limiter.admit(1, at(299)), Err(11));
        assert_eq!(limiter.admit(10, at(300)), Ok(()));
        assert_eq!(limiter.admit(1, at(301)), Err(11));
    }
}
