//! The operator's tool, as a library: what the binary does and what end-to-end tests may call.
//!
//! `pipectl topics ensure` is [`topics`], `pipectl audit` is [`audit`]. Both stand on [`kafka`] and
//! [`store`], which only read, except for the creation of topics. [`config`] knows every setting.

pub mod audit;
pub mod config;
pub mod kafka;
mod progress;
pub mod store;
pub mod topics;
