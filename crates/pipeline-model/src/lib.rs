//! The record that flows from the API through Kafka into Parquet: one definition of its fields,
//! of its JSON message and of its Arrow schema, shared by every service and tool.
//!
//! The journey reads in this order: [`api`] turns an API page into people and rejects,
//! [`message`] writes and reads the Kafka payload, [`schema`] names the Parquet columns.
//! No I/O, no async, no clock.

pub mod api;
pub mod dead_letter;
pub mod message;
mod person;
#[cfg(feature = "schema")]
pub mod schema;

pub use person::{Person, zip_of_postcode};
