//! The parts over real sockets, with the clients that the pipeline uses.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail by panicking")]

mod api;
mod api_alone;
mod control;
mod kafka;
mod proxy;
mod s3;
mod s3_faults;
mod s3_multipart;
mod support;
mod up;
