//! The operator's tool, as a library: what the binary does and what end-to-end tests may call.
//!
//! `pipectl topics ensure` is [`topics`], `pipectl bucket ensure` is [`bucket`], `pipectl audit` is
//! [`audit`]. They stand on [`kafka`] and [`store`], which only read, except for the creation of
//! topics and of the bucket. [`config`] knows every setting.

pub mod audit;
pub mod bucket;
pub mod config;
pub mod kafka;
mod progress;
pub mod store;
pub mod topics;
