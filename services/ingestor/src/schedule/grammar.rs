//! The cron syntax that is taken: five fields of numbers, names, `*`, `-`, `/` and `,`.
//!
//! The parser behind it knows more (seconds, years, `L`, `W`, `#`, `?`, `+`, nicknames), takes
//! things that are none, such as an empty list, and does not say which field it refuses. What means
//! something else to other crons, or nothing, is refused here.

use std::ops::RangeInclusive;

/// One of the five fields.
struct Field {
    name: &'static str,
    range: RangeInclusive<u32>,
    /// Names of the first values of the range.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", range: 0..=59, names: &[] },
    Field { name: "hour", range: 0..=23, names: &[] },
    Field { name: "day of month", range: 1..=31, names: &[] },
    Field {
        name: "month",
        range: 1..=12,
        names: &[
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ],
    },
    // 7 is Sunday, too.
    Field {
        name: "day of week",
        range: 0..=7,
        names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    },
];

/// Says what is wrong with `expression`, if anything is.
pub(super) fn check(expression: &str) -> Result<(), String> {
    let texts: Vec<&str> = expression.split_whitespace().collect();
    if texts.len() != FIELDS.len() {
        return Err(format!("it has {} fields", texts.len()));
    }
    for (text, field) in texts.into_iter().zip(&FIELDS) {
        if !text.split(',').all(|item| field.takes(item)) {
            let Field { name, range, .. } = field;
            let (first, last) = (range.start(), range.end());
            return Err(format!("the {name} {text:?} is none ({first} to {last})"));
        }
    }
    Ok(())
}

impl Field {
    /// `*`, `5`, `1-5`, and the first and last of them with a step: `*/2`, `1-5/2`.
    fn takes(&self, item: &str) -> bool {
        let (values, step) = match item.split_once('/') {
            Some((values, step)) => (values, Some(step)),
            None => (item, None),
        };
        let is_fine = match values.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (self.value(first), self.value(last));
                first.is_some() && first <= last
            }
            None => values == "*" || (self.value(values).is_some() && step.is_none()),
        };
        let is_step =
            |step| number(step).is_some_and(|step| (1..=*self.range.end()).contains(&step));
        is_fine && step.is_none_or(is_step)
    }

    fn value(&self, text: &str) -> Option<u32> {
        let mut names = self.range.clone().zip(self.names);
        let named = names.find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(value, _)| value);
        named.or_else(|| number(text).filter(|value| self.range.contains(value)))
    }
}

fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}
