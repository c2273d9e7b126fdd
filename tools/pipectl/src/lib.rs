//! The operator's tool, as a library: what the binary does and what end-to-end tests may call.
//!
//! `pipectl topics ensure` is [`topics`], `pipectl bucket ensure` is [`bucket`], `pipectl audit` is
//! [`audit`], `pipectl chunks` is [`chunks`], `pipectl dead-letters` is [`dead_letters`]. They stand on
//! [`kafka`] and [`store`], which only read, except for the creation of topics and of the bucket, and
//! for the replay of dead letters. [`config`] knows every setting.

pub mod audit;
pub mod bucket;
pub mod chunks;
mod columns;
pub mod config;
pub mod coordinates;
pub mod dead_letters;
pub mod kafka;
mod progress;
pub mod store;
mod text;
pub mod topics;
