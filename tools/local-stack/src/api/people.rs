//! Makes users: from a seed and a page number, always the same ones.

use super::spelling::to_ascii;
use super::user::{
    Coordinates, Location, Login, Moment, Name, NationalId, Picture, PostcodeValue, Street,
    Timezone, User,
};
use super::vocabulary::{ANIMALS, COLOURS, NATIONS, Nation, PASSWORDS, Postcode, TIMEZONES};

/// Ages are those of this year, so that a seed gives the same bytes in every year.
const REFERENCE_YEAR: u16 = 2026;

/// Portraits are numbered from 0.
const PORTRAITS: u8 = 100;

/// What can be wrong with a user that is flawed on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    NoEmail,
    LatitudeNoNumber,
    LatitudeOutOfRange,
}

/// The users of one page, without end.
#[derive(Debug)]
pub(super) struct People {
    random: fastrand::Rng,
    /// Its own source, so that flaws leave every other user as it would be without them.
    flaws: fastrand::Rng,
    flawed_ratio: f64,
    nations: Vec<&'static Nation>,
    gender: Option<Gender>,
}

/// What `gender` may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gender {
    Female,
    Male,
}

impl People {
    /// The users of `seed` and `page`, of these nations (all, if none is named). `flawed_ratio` of
    /// them, 0 to 1, are not valid.
    pub(super) fn new(
        seed: &str,
        page: u64,
        nations: Vec<&'static Nation>,
        gender: Option<Gender>,
        flawed_ratio: f64,
    ) -> Self {
        let nations = if nations.is_empty() { NATIONS.to_vec() } else { nations };
        let start = fnv1a(seed.bytes().chain(page.to_le_bytes()));
        Self {
            random: fastrand::Rng::with_seed(start),
            flaws: fastrand::Rng::with_seed(!start),
            flawed_ratio,
            nations,
            gender,
        }
    }

    /// The next user.
    pub(super) fn next_user(&mut self) -> User {
        let gender = match (self.gender, self.random.bool()) {
            (Some(gender), _) => gender,
            (None, true) => Gender::Female,
            (None, false) => Gender::Male,
        };
        let nation = self.nations[self.random.usize(..self.nations.len())];
        let (gender_text, names, titles) = match gender {
            Gender::Female => ("female", nation.women, &["Miss", "Mrs", "Ms"][..]),
            Gender::Male => ("male", nation.men, &["Mr"][..]),
        };
        let first = self.pick(names);
        let last = self.pick(nation.last_names);
        let mut user = User {
            gender: gender_text,
            name: Name { title: self.pick(titles), first, last },
            location: self.location(nation),
            email: Some(format!("{}.{}@example.com", to_ascii(first), to_ascii(last))),
            login: self.login(),
            dob: self.moment(1944..2006),
            registered: self.moment(2002..2024),
            phone: self.fill(nation.phone),
            cell: self.fill(nation.cell),
            id: match nation.id {
                Some((name, pattern)) => NationalId { name, value: Some(self.fill(pattern)) },
                None => NationalId { name: "", value: None },
            },
            picture: self.picture(gender),
            nat: nation.code,
        };
        match self.flaw() {
            None => {}
            Some(Flaw::NoEmail) => user.email = None,
            Some(Flaw::LatitudeNoNumber) => {
                "north".clone_into(&mut user.location.coordinates.latitude)
            }
            Some(Flaw::LatitudeOutOfRange) => {
                "123.4".clone_into(&mut user.location.coordinates.latitude);
            }
        }
        user
    }

    fn location(&mut self, nation: &Nation) -> Location {
        let (offset, description) = TIMEZONES[self.random.usize(..TIMEZONES.len())];
        Location {
            street: Street { number: self.random.u32(1..10_000), name: self.pick(nation.streets) },
            city: self.pick(nation.cities),
            state: self.pick(nation.states),
            country: nation.country,
            postcode: match nation.postcode {
                Postcode::Integer { min, max } => {
                    PostcodeValue::Integer(self.random.u32(min..=max))
                }
                Postcode::Text(patterns) => {
                    let pattern = self.pick(patterns);
                    PostcodeValue::Text(self.fill(pattern))
                }
            },
            coordinates: Coordinates { latitude: self.degrees(90), longitude: self.degrees(180) },
            timezone: Timezone { offset, description },
        }
    }

    fn login(&mut self) -> Login {
        let username =
            format!("{}{}{}", self.pick(COLOURS), self.pick(ANIMALS), self.random.u32(100..1000));
        let uuid = uuid::Builder::from_random_bytes(self.random.u128(..).to_be_bytes());
        Login {
            uuid: uuid.into_uuid().to_string(),
            username,
            password: self.pick(PASSWORDS),
            salt: (0..8).map(|_| self.random.alphanumeric()).collect(),
            md5: self.hex(32),
            sha1: self.hex(40),
            sha256: self.hex(64),
        }
    }

    fn picture(&mut self, gender: Gender) -> Picture {
        let folder = if gender == Gender::Female { "women" } else { "men" };
        let number = self.random.u8(..PORTRAITS);
        let url =
            |size: &str| format!("https://randomuser.me/api/portraits/{size}{folder}/{number}.jpg");
        Picture { large: url(""), medium: url("med/"), thumbnail: url("thumb/") }
    }

    /// A moment in one of these years, with the age that it has now.
    fn moment(&mut self, years: std::ops::Range<u16>) -> Moment {
        let year = self.random.u16(years);
        let mut below = |end: u16| self.random.u16(..end);
        let (month, day) = (below(12) + 1, below(28) + 1);
        let (hour, minute, second, millisecond) = (below(24), below(60), below(60), below(1000));
        Moment {
            date: format!(
                "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"
            ),
            age: REFERENCE_YEAR - year,
        }
    }

    fn degrees(&mut self, bound: i32) -> String {
        let ten_thousandths = self.random.i32(-bound * 10_000..=bound * 10_000);
        format!("{:.4}", f64::from(ten_thousandths) / 10_000.0)
    }

    fn flaw(&mut self) -> Option<Flaw> {
        const FLAWS: [Flaw; 3] = [Flaw::NoEmail, Flaw::LatitudeNoNumber, Flaw::LatitudeOutOfRange];
        let hit = self.flaws.f64() < self.flawed_ratio;
        let which = self.flaws.usize(..FLAWS.len());
        hit.then_some(FLAWS[which])
    }

    /// Fills a pattern of the vocabulary.
    fn fill(&mut self, pattern: &str) -> String {
        pattern
            .chars()
            .map(|character| match character {
                '#' => char::from(self.random.u8(b'0'..=b'9')),
                '@' => char::from(self.random.u8(b'A'..=b'Z')),
                other => other,
            })
            .collect()
    }

    fn hex(&mut self, digits: usize) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        (0..digits).map(|_| char::from(DIGITS[self.random.usize(..16)])).collect()
    }

    fn pick(&mut self, words: &'static [&'static str]) -> &'static str {
        words[self.random.usize(..words.len())]
    }
}

/// The nation with this code, in any case.
pub(super) fn nation(code: &str) -> Option<&'static Nation> {
    NATIONS.into_iter().find(|nation| nation.code.eq_ignore_ascii_case(code))
}

/// The 64-bit FNV-1a hash: small, and the same on every machine and in every version.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::api::user::{Fields, Shown};

    fn users(seed: &str, page: u64, count: usize, flawed_ratio: f64) -> Vec<Value> {
        let mut people = People::new(seed, page, Vec::new(), None, flawed_ratio);
        (0..count)
            .map(|_| serde_json::to_value(Shown(people.next_user(), Fields::ALL)).unwrap())
            .collect()
    }

    #[test]
    fn the_same_seed_and_page_give_the_same_users_and_a_longer_page_only_adds() {
        let ten = users("seed", 1, 10, 0.0);
        assert_eq!(users("seed", 1, 30, 0.0)[..10], ten);
        assert_ne!(users("seed", 2, 10, 0.0), ten);
        assert_ne!(users("seeds", 1, 10, 0.0), ten);
    }

    #[test]
    fn users_are_varied() {
        let users = users("varied", 1, 3000, 0.0);
        let distinct = |pointer: &str| {
            users
                .iter()
                .map(|user| user.pointer(pointer).unwrap().to_string())
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(distinct("/nat").len(), NATIONS.len());
        assert_eq!(distinct("/gender").len(), 2);
        assert_eq!(distinct("/login/uuid").len(), users.len());
        let postcodes = || users.iter().map(|user| &user["location"]["postcode"]);
        assert!(postcodes().any(Value::is_u64));
        assert!(
            postcodes().any(|postcode| postcode.as_str().is_some_and(|text| text.starts_with('0')))
        );
        assert!(users.iter().any(|user| user["id"]["value"].is_null()));
    }

    #[test]
    fn coordinates_are_texts_with_four_decimals_in_range() {
        for user in users("coordinates", 1, 500, 0.0) {
            for (name, bound) in [("latitude", 90.0), ("longitude", 180.0)] {
                let text = user["location"]["coordinates"][name].as_str().unwrap().to_owned();
                assert_eq!(text.split_once('.').unwrap().1.len(), 4, "{text}");
                assert!(text.parse::<f64>().unwrap().abs() <= bound, "{text}");
            }
        }
    }

    #[test]
    fn flaws_come_at_their_ratio_and_leave_the_other_users_alone() {
        let good = users("flaws", 1, 1000, 0.0);
        let mixed = users("flaws", 1, 1000, 0.25);
        let flawed = good.iter().zip(&mixed).filter(|(good, mixed)| good != mixed).count();
        assert!((200..300).contains(&flawed), "{flawed}");
        assert!(mixed.iter().any(|user| user.get("email").is_none()));
        for latitude in ["north", "123.4"] {
            let is_it = |user: &Value| user["location"]["coordinates"]["latitude"] == latitude;
            assert!(mixed.iter().any(is_it), "{latitude}");
        }
    }

    #[test]
    fn fields_can_be_chosen() {
        let mut people = People::new("fields", 1, vec![nation("ir").unwrap()], None, 0.0);
        let fields = Fields::named("nat, email,nonsense,name").without(Fields::named("name"));
        let shown = serde_json::to_string(&Shown(people.next_user(), fields)).unwrap();
        assert!(shown.starts_with(r#"{"email":""#), "{shown}");
        assert!(shown.ends_with(r#"@example.com","nat":"IR"}"#), "{shown}");
    }
}
