//! Settings from the environment and flags, with every mistake reported at once.
//!
//! A service declares one static table of [`Setting`]s. [`args`] turns it into flags with help,
//! [`Reader`] turns flags and environment into typed values:
//!
//! ```
//! use service_kit::config::{self, parse, Reader, Setting};
//! use std::time::Duration;
//!
//! static SETTINGS: &[Setting] = &[
//!     Setting::new("KAFKA_TOPIC", "topic to write to"),
//!     Setting::new("PAUSE_SECONDS", "time between two requests").default("10"),
//! ];
//!
//! struct Config { topic: String, pause: Duration }
//!
//! let matches = clap::Command::new("demo")
//!     .args(config::args(SETTINGS))
//!     .get_matches_from(["demo", "--kafka-topic", "names_topic"]);
//! let mut reader = Reader::new(SETTINGS, &matches, |_name| None);
//! let topic = reader.required("KAFKA_TOPIC", parse::text);
//! let pause = reader.required("PAUSE_SECONDS", parse::duration(Duration::ZERO..=Duration::from_secs(3600)));
//! let config = reader.finish(|| Some(Config { topic: topic?, pause: pause? }));
//! assert_eq!(config.map(|c| (c.topic, c.pause.as_secs())).ok(), Some(("names_topic".to_string(), 10)));
//! ```

mod common;
mod errors;
pub mod parse;
mod reader;
mod setting;

pub use common::{
    ADMIN_ADDR, ADMIN_TOKEN, COMMON, Common, DRAIN_TIMEOUT_SECONDS, LOG_FORMAT, LOG_LEVEL,
};
pub use errors::{ConfigErrors, Expected, Mistake};
pub use reader::{Reader, environment};
pub use setting::{Setting, args};
