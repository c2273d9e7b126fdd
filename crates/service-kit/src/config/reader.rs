//! Reads settings from flags and environment; collects mistakes instead of stopping at the first.

use std::ffi::OsString;

use clap::ArgMatches;

use super::errors::{ConfigErrors, Expected, Mistake};
use super::setting::Setting;

/// The process's environment, for [`Reader::new`].
pub fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Typed access to the settings of one table.
///
/// The flag wins over the variable, the variable over the default. An empty variable counts as not
/// set, and an empty flag takes a variable away: both leave the default. The getters return `None`
/// for a mistake and remember it; [`finish`](Self::finish) reports all of them.
#[derive(Debug)]
pub struct Reader {
    values: Vec<Value>,
    mistakes: Vec<Mistake>,
}

#[derive(Debug)]
struct Value {
    setting: &'static Setting,
    given: Option<Given>,
}

#[derive(Debug, Clone)]
struct Given {
    text: String,
    origin: String,
}

impl Reader {
    /// Takes the value of each setting out of `matches` and `environment`.
    ///
    /// `environment` is [`environment`] in a service and a closure over a map in tests. A value
    /// that is not valid UTF-8 is a mistake.
    pub fn new(
        settings: impl IntoIterator<Item = &'static Setting>,
        matches: &ArgMatches,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let mut reader = Self { values: Vec::new(), mistakes: Vec::new() };
        for setting in settings {
            let given = reader.look_up(setting, matches, &environment);
            reader.values.push(Value { setting, given });
        }
        reader
    }

    /// The value of a setting that must be given or have a default.
    pub fn required<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Option<T> {
        let value = self.get(name, parse);
        if value.is_none() && self.given(name).is_none() && !self.is_mistaken(name) {
            let help = self.setting(name).map_or("a required setting", |s| s.help);
            self.mistakes.push(Mistake {
                name: name.to_string(),
                shown: None,
                origin: None,
                problem: format!("it is required ({help})"),
            });
        }
        value
    }

    /// The value of a setting that may be left out. The outer `None` is a mistake, the inner one
    /// a setting that isn't given.
    pub fn optional<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Option<Option<T>> {
        match self.get(name, parse) {
            Some(value) => Some(Some(value)),
            None if self.is_mistaken(name) => None,
            None => Some(None),
        }
    }

    /// The value of a setting; `None` if it isn't given or is a mistake.
    pub fn get<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> Option<T> {
        let Some(text) = self.given(name).map(|given| given.text.clone()) else {
            if self.setting(name).is_none() {
                self.refuse(name, "the service reads a setting that is not in its table");
            }
            return None;
        };
        match parse(&text) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.refuse(name, &format!("expected {}", expected.0));
                None
            }
        }
    }

    /// Refuses a value for a reason that no parser of a single setting can see, such as two
    /// settings that contradict each other. `problem` is a whole phrase.
    pub fn refuse(&mut self, name: &str, problem: &str) {
        let secret = self.setting(name).is_some_and(|setting| setting.secret);
        let given = self.given(name).cloned();
        let leaks = secret && given.as_ref().is_some_and(|given| problem.contains(&given.text));
        self.mistakes.push(Mistake {
            name: name.to_string(),
            shown: given.as_ref().map(|given| match secret {
                true => "***".to_string(),
                false => format!("{:?}", given.text),
            }),
            origin: given.map(|given| given.origin),
            problem: match leaks {
                true => {
                    "it is not acceptable (details withheld: the value is a secret)".to_string()
                }
                false => problem.to_string(),
            },
        });
    }

    /// The finished configuration, or every mistake.
    ///
    /// `build` runs only if there is none, so each value that a getter returned is then `Some`;
    /// if it returns `None` all the same, the service forgot to read something, and that is
    /// reported as a mistake too.
    pub fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, ConfigErrors> {
        if !self.mistakes.is_empty() {
            return Err(ConfigErrors { mistakes: self.mistakes });
        }
        build().ok_or_else(|| ConfigErrors {
            mistakes: vec![Mistake {
                name: "configuration".to_string(),
                shown: None,
                origin: None,
                problem: "a value that the service needs was never read".to_string(),
            }],
        })
    }

    fn look_up(
        &mut self,
        setting: &'static Setting,
        matches: &ArgMatches,
        environment: &impl Fn(&str) -> Option<OsString>,
    ) -> Option<Given> {
        // A subcommand may offer only some of a table's flags; those it lacks are simply not given.
        let flag = matches.try_get_one::<String>(setting.name).ok().flatten().cloned();
        let given = match flag {
            Some(text) => Some(Given { text, origin: format!("--{}", setting.flag()) }),
            None => match environment(setting.name).map(OsString::into_string) {
                None => None,
                Some(Ok(text)) => Some(Given { text, origin: "environment".to_string() }),
                Some(Err(raw)) => {
                    self.mistakes.push(Mistake {
                        name: setting.name.to_string(),
                        shown: Some(match setting.secret {
                            true => "***".to_string(),
                            false => format!("{raw:?}"),
                        }),
                        origin: Some("environment".to_string()),
                        problem: "expected valid UTF-8".to_string(),
                    });
                    return None;
                }
            },
        };
        given.filter(|given| !given.text.is_empty()).or_else(|| {
            setting
                .default
                .filter(|text| !text.is_empty())
                .map(|text| Given { text: text.to_string(), origin: "default".to_string() })
        })
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|value| value.setting.name == name)
    }

    fn setting(&self, name: &str) -> Option<&'static Setting> {
        self.value(name).map(|value| value.setting)
    }

    fn given(&self, name: &str) -> Option<&Given> {
        self.value(name).and_then(|value| value.given.as_ref())
    }

    fn is_mistaken(&self, name: &str) -> bool {
        self.mistakes.iter().any(|mistake| mistake.name == name)
    }
}

#[cfg(test)]
mod tests;
