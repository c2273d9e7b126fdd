//! The words that generated users are made of: for each nation its names, places and the shapes of
//! its numbers. Some carry on purpose what breaks careless code: apostrophes, quotes, double and
//! trailing spaces, zero-width non-joiners, letters beyond ASCII.
//!
//! In a pattern `#` is a digit, `@` a capital letter, and anything else is itself.

mod anglophone;
mod eastern;
mod northern;
mod western;

/// A nation of the API and its vocabulary.
#[derive(Debug)]
pub(super) struct Nation {
    /// Two capital letters, as in `nat`.
    pub(super) code: &'static str,
    pub(super) country: &'static str,
    pub(super) women: &'static [&'static str],
    pub(super) men: &'static [&'static str],
    pub(super) last_names: &'static [&'static str],
    pub(super) streets: &'static [&'static str],
    pub(super) cities: &'static [&'static str],
    pub(super) states: &'static [&'static str],
    pub(super) postcode: Postcode,
    /// Pattern.
    pub(super) phone: &'static str,
    /// Pattern.
    pub(super) cell: &'static str,
    /// The name of the national identity number and its pattern, where there is one.
    pub(super) id: Option<(&'static str, &'static str)>,
}

/// How a nation's postcodes come in the JSON.
#[derive(Debug)]
pub(super) enum Postcode {
    /// A number, in this range.
    Integer { min: u32, max: u32 },
    /// A string of one of these patterns.
    Text(&'static [&'static str]),
}

/// Every nation, by its code.
pub(super) static NATIONS: [&Nation; 21] = [
    &anglophone::AU,
    &western::BR,
    &anglophone::CA,
    &western::CH,
    &western::DE,
    &northern::DK,
    &western::ES,
    &northern::FI,
    &western::FR,
    &anglophone::GB,
    &anglophone::IE,
    &anglophone::IN,
    &eastern::IR,
    &western::MX,
    &western::NL,
    &northern::NO,
    &anglophone::NZ,
    &eastern::RS,
    &eastern::TR,
    &eastern::UA,
    &anglophone::US,
];

/// Offsets from UTC and the places that keep them.
pub(super) static TIMEZONES: &[(&str, &str)] = &[
    ("-11:00", "Midway, Pago Pago"),
    ("-9:00", "Anchorage"),
    ("-3:30", "St. John's, Newfoundland"),
    ("-2:00", "South Georgia"),
    ("0:00", "Lisbon, London, Reykjavik"),
    ("+1:00", "Berlin, Lagos, Oslo"),
    ("+3:30", "Tehran"),
    ("+4:30", "Kabul"),
    ("+5:45", "Kathmandu"),
    ("+8:00", "Manila, Perth"),
    ("+9:30", "Adelaide, Darwin"),
    ("+12:00", "Auckland, Suva"),
];

/// User names are a colour, one of these, and a number.
pub(super) static COLOURS: &[&str] =
    &["amber", "azure", "coral", "crimson", "indigo", "ivory", "jade", "olive", "sepia", "teal"];

/// User names are a colour, one of these, and a number.
pub(super) static ANIMALS: &[&str] = &[
    "badger", "crane", "dolphin", "gecko", "heron", "lynx", "marmot", "otter", "puffin", "wombat",
];

/// Passwords that nobody should use.
pub(super) static PASSWORDS: &[&str] =
    &["anchor", "bicycle", "cinnamon", "daffodil", "espresso", "firefly", "gravity", "harbour"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nation_is_complete_and_in_order() {
        assert!(NATIONS.is_sorted_by(|a, b| a.code < b.code));
        for nation in NATIONS {
            let lists = [
                nation.women,
                nation.men,
                nation.last_names,
                nation.streets,
                nation.cities,
                nation.states,
            ];
            for list in lists {
                assert!(list.len() >= 4, "{} has a short list: {list:?}", nation.code);
                assert!(list.iter().all(|word| !word.is_empty()), "{}", nation.code);
            }
            match nation.postcode {
                Postcode::Integer { min, max } => assert!(min < max, "{}", nation.code),
                Postcode::Text(patterns) => assert!(!patterns.is_empty(), "{}", nation.code),
            }
        }
    }

    #[test]
    fn the_awkward_texts_are_there() {
        let words: Vec<&str> = NATIONS
            .iter()
            .flat_map(|nation| [nation.women, nation.men, nation.last_names, nation.streets])
            .flatten()
            .copied()
            .collect();
        for awkward in ["'", "\"", "  ", "\u{200c}", "ş", "Ї", "ß", "ø", "ی"] {
            assert!(words.iter().any(|word| word.contains(awkward)), "{awkward:?}");
        }
        assert!(words.iter().any(|word| word.ends_with(' ')));
    }
}
