//! Kafka → Parquet on S3, each message exactly once.
//!
//! The journey reads in this order: [`consume`] takes messages from the consumer group and runs
//! one ordered lane a partition; [`decode`] turns payloads into columns, [`dead_letter`] takes
//! what can't become a row; `chunk_ledger` decides when a chunk is sealed; [`encode`] writes it as
//! Parquet, [`store`] creates the object, and [`consume`] commits.

pub mod config;
pub mod consume;
pub mod dead_letter;
pub mod decode;
pub mod encode;
pub mod metrics;
pub mod store;
