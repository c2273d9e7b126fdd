//! A user as JSON: its shape, and the fields of it that a request wants.

use serde::Serialize;
use serde::ser::SerializeMap as _;

/// A user as the API shows it.
#[derive(Debug, Serialize)]
pub(super) struct User {
    pub(super) gender: &'static str,
    pub(super) name: Name,
    pub(super) location: Location,
    /// Absent in a user that is flawed on purpose.
    pub(super) email: Option<String>,
    pub(super) login: Login,
    pub(super) dob: Moment,
    pub(super) registered: Moment,
    pub(super) phone: String,
    pub(super) cell: String,
    pub(super) id: NationalId,
    pub(super) picture: Picture,
    pub(super) nat: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Name {
    pub(super) title: &'static str,
    pub(super) first: &'static str,
    pub(super) last: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Location {
    pub(super) street: Street,
    pub(super) city: &'static str,
    pub(super) state: &'static str,
    pub(super) country: &'static str,
    pub(super) postcode: PostcodeValue,
    pub(super) coordinates: Coordinates,
    pub(super) timezone: Timezone,
}

#[derive(Debug, Serialize)]
pub(super) struct Street {
    pub(super) number: u32,
    pub(super) name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum PostcodeValue {
    Integer(u32),
    Text(String),
}

/// Degrees as text with four decimals.
#[derive(Debug, Serialize)]
pub(super) struct Coordinates {
    pub(super) latitude: String,
    pub(super) longitude: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Timezone {
    pub(super) offset: &'static str,
    pub(super) description: &'static str,
}

/// The digests have the right length and shape; they are of nothing.
#[derive(Debug, Serialize)]
pub(super) struct Login {
    pub(super) uuid: String,
    pub(super) username: String,
    pub(super) password: &'static str,
    pub(super) salt: String,
    pub(super) md5: String,
    pub(super) sha1: String,
    pub(super) sha256: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Moment {
    pub(super) date: String,
    pub(super) age: u16,
}

#[derive(Debug, Serialize)]
pub(super) struct NationalId {
    pub(super) name: &'static str,
    pub(super) value: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Picture {
    pub(super) large: String,
    pub(super) medium: String,
    pub(super) thumbnail: String,
}

/// The fields of a user that a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields(u16);

/// The names of the fields, in the order in which the API writes them.
const FIELD_NAMES: [&str; 12] = [
    "gender",
    "name",
    "location",
    "email",
    "login",
    "dob",
    "registered",
    "phone",
    "cell",
    "id",
    "picture",
    "nat",
];

impl Fields {
    /// Every field.
    pub(super) const ALL: Self = Self((1 << FIELD_NAMES.len()) - 1);

    /// The fields named in a list with commas; other names are ignored.
    pub(super) fn named(list: &str) -> Self {
        let is_named = |name: &&str| list.split(',').any(|wanted| wanted.trim() == *name);
        let bits = FIELD_NAMES.iter().enumerate().filter(|(_, name)| is_named(name));
        Self(bits.fold(0, |bits, (index, _)| bits | 1 << index))
    }

    /// The fields here that are not in `other`.
    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn has(self, index: usize) -> bool {
        self.0 & 1 << index != 0
    }
}

/// A user with some of its fields.
pub(super) struct Shown(pub(super) User, pub(super) Fields);

impl Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(user, fields) = self;
        let mut map = serializer.serialize_map(None)?;
        for (index, name) in FIELD_NAMES.into_iter().enumerate() {
            if !fields.has(index) || name == "email" && user.email.is_none() {
                continue;
            }
            match name {
                "gender" => map.serialize_entry(name, user.gender)?,
                "name" => map.serialize_entry(name, &user.name)?,
                "location" => map.serialize_entry(name, &user.location)?,
                "email" => map.serialize_entry(name, &user.email)?,
                "login" => map.serialize_entry(name, &user.login)?,
                "dob" => map.serialize_entry(name, &user.dob)?,
                "registered" => map.serialize_entry(name, &user.registered)?,
                "phone" => map.serialize_entry(name, &user.phone)?,
                "cell" => map.serialize_entry(name, &user.cell)?,
                "id" => map.serialize_entry(name, &user.id)?,
                "picture" => map.serialize_entry(name, &user.picture)?,
                _ => map.serialize_entry(name, user.nat)?,
            }
        }
        map.end()
    }
}
