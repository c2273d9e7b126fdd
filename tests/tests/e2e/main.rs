//! End-to-end tests: the real binaries against the embedded stack. Each ends with the oracle, which
//! knows every message, and with the deep audit.

#![allow(clippy::panic_in_result_fn, reason = "a test fails by panicking or by an error")]

mod attacks;
mod crashes;
mod dead_letters;
mod journey;
mod refusals;
mod store_faults;
mod uploads;

use e2e_tests::oracle::Sent;

/// Every message is valid.
fn all(_: &Sent) -> bool {
    true
}
