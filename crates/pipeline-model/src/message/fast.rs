//! The fast path of [`decode`](super::decode): a message exactly as this project's producers write
//! it, read in one pass without a parser's bookkeeping.
//!
//! The nine fields in their order, at most one blank behind each `,` and `:`, text without escapes,
//! and numbers without exponents. `None` says nothing about a message but that serde has to read
//! it: what is wrong with it, too, is serde's to say. The tests and the fuzz target hold that
//! whatever is read here is what serde reads.

use std::borrow::Cow;

use super::{PersonRef, zip_digits};

/// With so many digits a decimal number is the quotient of two integers that floats hold exactly,
/// so that one division rounds it correctly.
const EXACT_DIGITS_MAX: usize = 15;
const POWERS_OF_TEN: [f64; EXACT_DIGITS_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

pub(super) fn read(payload: &[u8]) -> Option<PersonRef<'_>> {
    let mut json = Json { rest: simdutf8::basic::from_utf8(payload).ok()? };
    let person = PersonRef {
        name: json.key('{', "\"name\":")?.text()?,
        gender: json.key(',', "\"gender\":")?.text()?,
        address: json.key(',', "\"address\":")?.text()?,
        city: json.key(',', "\"city\":")?.text()?,
        nation: json.key(',', "\"nation\":")?.text()?,
        zip: json.key(',', "\"zip\":")?.zip()?,
        latitude: json.key(',', "\"latitude\":")?.number()?,
        longitude: json.key(',', "\"longitude\":")?.number()?,
        email: json.key(',', "\"email\":")?.text()?,
    };
    (json.rest == "}").then_some(person)
}

/// What was not read yet.
struct Json<'a> {
    rest: &'a str,
}

impl<'a> Json<'a> {
    // Inlined, so that keys are compared as words and not by a call.
    #[inline(always)]
    fn key(&mut self, before: char, key: &str) -> Option<&mut Self> {
        self.rest = without_blank(self.rest.strip_prefix(before)?).strip_prefix(key)?;
        self.rest = without_blank(self.rest);
        Some(self)
    }

    /// Ends at the first character that needs a closer look; that has to be the closing quote.
    #[inline]
    fn text(&mut self) -> Option<Cow<'a, str>> {
        let text = self.rest.strip_prefix('"')?;
        let (text, rest) = text.split_at_checked(special(text.as_bytes())?)?;
        self.rest = rest.strip_prefix('"')?;
        Some(Cow::Borrowed(text))
    }

    #[inline]
    fn zip(&mut self) -> Option<&'a str> {
        zip_digits(self.integer()?)
    }

    #[inline]
    fn number(&mut self) -> Option<f64> {
        let magnitude = self.rest.strip_prefix('-');
        let is_negative = magnitude.is_some();
        self.rest = magnitude.unwrap_or(self.rest);
        let whole = self.integer()?;
        let fraction = match self.rest.strip_prefix('.') {
            Some(rest) => {
                self.rest = rest;
                self.digits()?
            }
            None => "",
        };
        if whole.len() + fraction.len() > EXACT_DIGITS_MAX {
            return None;
        }
        let append = |number: u64, digit| number * 10 + u64::from(digit - b'0');
        let digits = fraction.bytes().fold(whole.bytes().fold(0, append), append);
        let magnitude = digits as f64 / POWERS_OF_TEN[fraction.len()];
        Some(if is_negative { -magnitude } else { magnitude })
    }

    /// Digits that JSON takes for an integer: without a leading zero.
    #[inline]
    fn integer(&mut self) -> Option<&'a str> {
        let digits = self.digits()?;
        (digits.len() == 1 || !digits.starts_with('0')).then_some(digits)
    }

    /// One digit or more.
    #[inline]
    fn digits(&mut self) -> Option<&'a str> {
        let end = self.rest.bytes().position(|byte| !byte.is_ascii_digit())?;
        let (digits, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!digits.is_empty()).then_some(digits)
    }
}

fn without_blank(text: &str) -> &str {
    text.strip_prefix(' ').unwrap_or(text)
}

/// The index of the first quote, backslash or control character.
#[inline]
fn special(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = specials(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    Some(words.len() * 8 + rest.iter().position(is_special)?)
}

/// The highest bit of each byte that is special. Of these, only the lowest is certain: a borrow
/// from it may set those above.
#[inline]
fn specials(word: u64) -> u64 {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let quotes = word ^ (EACH * b'"' as u64);
    let backslashes = word ^ (EACH * b'\\' as u64);
    let is_zero = |bytes: u64| bytes.wrapping_sub(EACH) & !bytes;
    let controls = word.wrapping_sub(EACH * 0x20) & !word;
    (is_zero(quotes) | is_zero(backslashes) | controls) & (EACH << 7)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::tests::people;
    use super::super::{encode, read_any};
    use super::*;
    use proptest::prelude::*;

    /// What is read here is what serde reads.
    fn agrees(payload: &[u8]) -> Result<bool, TestCaseError> {
        let Some(person) = read(payload) else { return Ok(false) };
        let general = read_any(payload);
        prop_assert_eq!(general.as_ref(), Ok(&person));
        let bits = |person: &PersonRef<'_>| (person.latitude.to_bits(), person.longitude.to_bits());
        prop_assert_eq!(bits(&general.unwrap()), bits(&person));
        Ok(true)
    }

    const COMPACT: &str = r#"{"name":"Ms. Zoé K","gender":"female","address":"1, Rue","city":"Lyon","nation":"France","zip":215102520294325371701120351969351396188,"latitude":45.75,"longitude":-4.8533,"email":"z@example.com"}"#;

    #[test]
    fn the_messages_of_both_producers_are_taken() {
        let python = COMPACT.replace("\":", "\": ").replace(",\"", ", \"");
        for payload in [COMPACT, &python] {
            assert!(agrees(payload.as_bytes()).unwrap(), "{payload}");
        }
    }

    #[test]
    fn numbers_at_the_edges_are_read_as_serde_does() {
        let numbers = [
            ("0", true),
            ("-0", true),
            ("-0.0", true),
            ("5", true),
            ("999999999999999", true),
            ("0.00000000000001", true),
            ("123456.789012345", true),
            ("1234567890123456", false),
            ("0.1234567890123456", false),
            ("1e5", false),
            ("1.", false),
            (".5", false),
            ("01", false),
            ("+1", false),
            ("-", false),
            ("--1", false),
            ("1.5.5", false),
            ("", false),
        ];
        for (number, is_taken) in numbers {
            let payload = COMPACT.replace("45.75", number);
            assert_eq!(agrees(payload.as_bytes()).unwrap(), is_taken, "{number}");
        }
        let max = u128::MAX.to_string();
        let zips = [
            ("0", true),
            ("7", true),
            (max.as_str(), true),
            ("00", false),
            ("07", false),
            ("-1", false),
            ("340282366920938463463374607431768211456", false),
            ("", false),
            ("\"7\"", false),
            ("1000000000000000000000000000000000000000", false),
            ("7.0", false),
            ("7e0", false),
        ];
        for (zip, is_taken) in zips {
            let payload = COMPACT.replace("215102520294325371701120351969351396188", zip);
            assert_eq!(agrees(payload.as_bytes()).unwrap(), is_taken, "{zip}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn whatever_is_encoded_is_read_alike(person in people()) {
            let mut payload = Vec::new();
            encode(&person, &mut payload).unwrap();
            agrees(&payload)?;
        }

        #[test]
        fn a_changed_message_is_read_alike(
            place in any::<prop::sample::Index>(),
            removed in 0..4_usize,
            inserted in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(&b"\"\\,:{}[]-.0123456789eE \n\t\x00\x1f\x7f\xc3"[..])],
                0..4,
            ),
        ) {
            let mut payload = COMPACT.as_bytes().to_vec();
            let start = place.index(payload.len());
            let end = (start + removed).min(payload.len());
            payload.splice(start..end, inserted);
            agrees(&payload)?;
        }

        #[test]
        fn special_characters_are_found_wherever_they_are(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(special(&bytes), expected);
        }
    }
}
