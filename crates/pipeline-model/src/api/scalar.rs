//! The fields of a user whose JSON type differs between countries and API versions.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// A string, or an integer by its decimal text: postcodes are one or the other by country.
pub(super) struct Label<'a>(pub(super) Cow<'a, str>);

/// A coordinate: a string in the API, a number in some of its clones.
pub(super) enum Degrees<'a> {
    Text(Cow<'a, str>),
    Number(f64),
}

/// The street: an object since version 1.3, one string before.
pub(super) enum Street<'a> {
    Parts { number: Label<'a>, name: Cow<'a, str> },
    Whole(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Label<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LabelVisitor;
        impl<'de> Visitor<'de> for LabelVisitor {
            type Value = Label<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Label(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Label(Cow::Owned(text.to_owned())))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Label(Cow::Owned(number.to_string())))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Label(Cow::Owned(number.to_string())))
            }
        }
        deserializer.deserialize_any(LabelVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Degrees<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DegreesVisitor;
        impl<'de> Visitor<'de> for DegreesVisitor {
            type Value = Degrees<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a number")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Degrees::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Degrees::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Degrees::Number(number))
            }
            // Integers beyond 2^53 lose digits here, but are out of range anyway.
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Degrees::Number(number as f64))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Degrees::Number(number as f64))
            }
        }
        deserializer.deserialize_any(DegreesVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Street<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StreetVisitor;
        impl<'de> Visitor<'de> for StreetVisitor {
            type Value = Street<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with number and name, or a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Street::Whole(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Street::Whole(Cow::Owned(text.to_owned())))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                #[derive(serde::Deserialize)]
                struct Parts<'a> {
                    #[serde(borrow)]
                    number: Label<'a>,
                    #[serde(borrow)]
                    name: Cow<'a, str>,
                }
                let Parts { number, name } =
                    Deserialize::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Street::Parts { number, name })
            }
        }
        deserializer.deserialize_any(StreetVisitor)
    }
}
