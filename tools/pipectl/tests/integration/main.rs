//! The binary against real servers: what it prints and how it exits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod audit;
mod bucket;
mod chunks;
mod cluster;
mod common;
mod dead_letters;
mod letters;
mod objects;
