//! What a request asks for, read as leniently as the API reads it: what it doesn't understand is as
//! good as absent.

use std::collections::BTreeMap;

use super::people::{Gender, nation};
use super::user::Fields;
use super::vocabulary::Nation;

/// The most users of one page.
pub(super) const RESULTS_MAX: usize = 5000;

/// A request for users.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// 1 to 5,000.
    pub(super) results: usize,
    /// From 1.
    pub(super) page: u64,
    pub(super) seed: Option<String>,
    /// Empty for all.
    pub(super) nations: Vec<&'static Nation>,
    pub(super) gender: Option<Gender>,
    pub(super) fields: Fields,
    /// Whether `info` is sent too.
    pub(super) info: bool,
}

impl Wanted {
    /// Reads the query's parameters.
    pub(super) fn from_parameters(parameters: &BTreeMap<String, String>) -> Self {
        let get = |name: &str| parameters.get(name).map(String::as_str);
        let number = |name: &str| get(name)?.parse::<u64>().ok();
        let results = number("results")
            .and_then(|results| usize::try_from(results).ok())
            .filter(|results| (1..=RESULTS_MAX).contains(results))
            .unwrap_or(1);
        let included =
            get("inc").filter(|list| !list.is_empty()).map_or(Fields::ALL, Fields::named);
        Self {
            results,
            page: number("page").filter(|page| *page > 0).unwrap_or(1),
            seed: get("seed").filter(|seed| !seed.is_empty()).map(str::to_owned),
            nations: get("nat").unwrap_or_default().split(',').filter_map(nation).collect(),
            gender: match get("gender") {
                Some("female") => Some(Gender::Female),
                Some("male") => Some(Gender::Male),
                _ => None,
            },
            fields: included.without(Fields::named(get("exc").unwrap_or_default())),
            info: get("noinfo").is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(parameters: &[(&str, &str)]) -> Wanted {
        let owned = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Wanted::from_parameters(&owned.collect())
    }

    #[test]
    fn results_out_of_range_are_one() {
        for (text, results) in
            [("1", 1), ("5000", 5000), ("5001", 1), ("0", 1), ("-3", 1), ("many", 1), ("", 1)]
        {
            assert_eq!(wanted(&[("results", text)]).results, results, "{text:?}");
        }
        assert_eq!(wanted(&[]).results, 1);
    }

    #[test]
    fn lists_are_read() {
        let wanted = wanted(&[("nat", "gb,XX,ua"), ("inc", "name,email"), ("exc", "email")]);
        let codes: Vec<&str> = wanted.nations.iter().map(|nation| nation.code).collect();
        assert_eq!(codes, ["GB", "UA"]);
        assert_eq!(wanted.fields, Fields::named("name"));
        assert!(wanted.info);
    }
}
