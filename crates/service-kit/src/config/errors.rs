//! What is wrong with the settings: every mistake at once, one a line, secrets redacted.

use std::borrow::Cow;
use std::fmt;

/// What a parser accepts, as a phrase that follows "expected": `an integer from 1 to 5000`.
///
/// It describes what is allowed, never the value that was refused: the value is shown beside it,
/// unless it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected(pub Cow<'static, str>);

impl Expected {
    /// A phrase that follows "expected".
    pub fn new(phrase: impl Into<Cow<'static, str>>) -> Self {
        Self(phrase.into())
    }
}

/// One setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The setting's name, such as `KAFKA_TOPIC`.
    pub name: String,
    /// The refused value as it may be shown (`***` for a secret); `None` if none was given.
    pub shown: Option<String>,
    /// Where the value came from: `environment`, `--kafka-topic` or `default`; `None` without a value.
    pub origin: Option<String>,
    /// What is allowed, as a whole phrase: `expected an integer from 1 to 5000`.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.shown, &self.origin) {
            (Some(shown), Some(origin)) => {
                write!(f, "{}={shown} (from {origin}): ", self.name)?;
            }
            _ => write!(f, "{} is not set: ", self.name)?,
        }
        f.write_str(&self.problem)
    }
}

/// Every mistake found in the settings; displayed one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// The mistakes, in the order in which the service read its settings; never empty.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mistakes.len() {
            1 => write!(f, "1 setting is wrong:")?,
            count => write!(f, "{count} settings are wrong:")?,
        }
        for mistake in &self.mistakes {
            write!(f, "\n  {mistake}")?;
        }
        Ok(())
    }
}
