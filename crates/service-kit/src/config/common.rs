//! The settings that all services share.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Reader, Setting, parse};
use crate::log;

/// Where the admin server listens; `off` for no admin server.
pub const ADMIN_ADDR: Setting = Setting::new(
    "ADMIN_ADDR",
    "address and port of the admin server (/livez, /readyz, /healthz, /metrics), or `off`",
)
.default("0.0.0.0:8080");

/// The token of routes of the admin server that change state. Not in [`COMMON`]: it is for services
/// that have such routes.
pub const ADMIN_TOKEN: Setting = Setting::new(
    "ADMIN_TOKEN",
    "bearer token that requests to change state must carry; without it they are open to anybody",
)
.secret();

/// How logs look.
pub const LOG_FORMAT: Setting =
    Setting::new("LOG_FORMAT", "`json` for one JSON object a line, `text` for people")
        .default("json");

/// What is logged.
pub const LOG_LEVEL: Setting = Setting::new(
    "LOG_LEVEL",
    "least level that is logged, or a list of target=level such as `info,librdkafka=debug`",
)
.default("info");

/// How long a shutdown may take.
pub const DRAIN_TIMEOUT_SECONDS: Setting = Setting::new(
    "DRAIN_TIMEOUT_SECONDS",
    "time to finish what is in flight after SIGTERM or SIGINT",
)
.default("30");

/// All of them, for a service's table.
pub static COMMON: &[Setting] = &[ADMIN_ADDR, LOG_FORMAT, LOG_LEVEL, DRAIN_TIMEOUT_SECONDS];

/// The values of [`COMMON`].
#[derive(Debug, Clone)]
pub struct Common {
    /// Where the admin server listens; `None` for no admin server.
    pub admin_addr: Option<SocketAddr>,
    /// How logs look.
    pub log_format: log::Format,
    /// What is logged.
    pub log_filter: log::Filter,
    /// How long a shutdown may take.
    pub drain_timeout: Duration,
}

impl Common {
    /// Reads the four settings; `None` if one is a mistake.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let admin_addr = reader.required(ADMIN_ADDR.name, parse::socket_addr_or_off);
        let log_format = reader.required(
            LOG_FORMAT.name,
            parse::one_of(&[("json", log::Format::Json), ("text", log::Format::Text)]),
        );
        let log_filter = reader.required(LOG_LEVEL.name, parse::log_filter);
        let drain_timeout = reader.required(
            DRAIN_TIMEOUT_SECONDS.name,
            parse::duration(Duration::ZERO..=Duration::from_secs(3600)),
        );
        Some(Self {
            admin_addr: admin_addr?,
            log_format: log_format?,
            log_filter: log_filter?,
            drain_timeout: drain_timeout?,
        })
    }
}
