//! What every service shares: configuration, logs, metrics, health, the admin server and shutdown.
//!
//! Nothing here knows about Kafka, S3 or the message. A service reads its settings with [`config`],
//! starts [`log`], registers its [`metrics`], tells [`health`] what works, shows both through
//! [`admin`], and leaves when [`shutdown`] says so.

pub mod admin;
pub mod config;
pub mod error;
pub mod health;
pub mod healthcheck;
pub mod log;
pub mod metrics;
pub mod shutdown;
