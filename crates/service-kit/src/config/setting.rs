//! One row of a service's table of settings, and the flags made from such a table.

use clap::{Arg, ArgAction};

/// One setting, given by the environment variable `name` or by the flag derived from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Name of the environment variable, such as `KAFKA_TOPIC`; the flag is `--kafka-topic`.
    pub name: &'static str,
    /// Value used when neither flag nor variable gives one.
    pub default: Option<&'static str>,
    /// What it is for, in one sentence without a full stop.
    pub help: &'static str,
    /// Whether the value must never be shown: not in errors, not in logs.
    pub secret: bool,
}

impl Setting {
    /// A setting without a default: required or optional, as the service reads it.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, default: None, help, secret: false }
    }

    /// The same setting with this default.
    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// The same setting, its value never shown.
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The flag's name without its dashes: `KAFKA_TOPIC` gives `kafka-topic`.
    pub fn flag(&self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }

    fn arg(&self) -> Arg {
        let default = match (self.default, self.secret) {
            (Some(""), _) | (None, _) => String::new(),
            (Some(_), true) => " [default: ***]".to_string(),
            (Some(default), false) => format!(" [default: {default}]"),
        };
        Arg::new(self.name)
            .long(self.flag())
            .value_name("VALUE")
            .action(ArgAction::Set)
            .allow_hyphen_values(true)
            .help(format!("{} [env: {}]{default}", self.help, self.name))
    }
}

/// One flag for each setting, to be attached to a [`clap::Command`].
///
/// The help of a flag names its environment variable and its default. Defaults and the environment
/// are applied by [`Reader`](super::Reader), not by clap, so that all mistakes come out together.
pub fn args(settings: impl IntoIterator<Item = &'static Setting>) -> impl Iterator<Item = Arg> {
    settings.into_iter().map(Setting::arg)
}
