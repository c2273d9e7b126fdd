//! Messages as the ingestor makes them of the API's users: made up, all different, always the same
//! ones for the same numbers.

use pipeline_model::message::EncodeError;
use pipeline_model::{Person, message, zip_of_postcode};

/// Of these the words of a script are made: 32 for each, so that five bits choose one.
type Syllables = [&'static str; 32];

const LATIN: Syllables = [
    "al", "an", "ber", "bo", "ca", "da", "del", "di", "el", "en", "fa", "ger", "ha", "il", "ja",
    "ka", "la", "lo", "ma", "mi", "na", "ni", "or", "pe", "ra", "ri", "sa", "son", "ta", "tor",
    "va", "wil",
];
const ACCENTED: Syllables = [
    "al", "an", "bér", "bo", "ça", "da", "del", "dí", "el", "en", "fa", "gör", "ha", "il", "jä",
    "ka", "la", "ló", "ma", "mi", "ña", "ni", "ør", "pe", "ra", "rí", "sa", "són", "ta", "tür",
    "va", "wil",
];
const CYRILLIC: Syllables = [
    "ал", "ан", "бе", "бо", "ва", "да", "де", "ди", "ел", "ен", "за", "ге", "га", "ил", "ја", "ка",
    "ла", "ло", "ма", "ми", "на", "ни", "ор", "пе", "ра", "ри", "са", "со", "та", "то", "ву", "ви",
];
const PERSIAN: Syllables = [
    "ال", "ان", "بر", "بو", "کا", "دا", "دل", "دی", "ای", "این", "فا", "گر", "ها", "یل", "جا",
    "کی", "لا", "لو", "ما", "می", "نا", "نی", "ور", "پر", "را", "ری", "سا", "سن", "تا", "تر", "وا",
    "ول",
];
/// Those of the API.
const NATIONS: [(&str, &Syllables); 21] = [
    ("Australia", &LATIN),
    ("Brazil", &ACCENTED),
    ("Canada", &LATIN),
    ("Switzerland", &ACCENTED),
    ("Germany", &ACCENTED),
    ("Denmark", &ACCENTED),
    ("Spain", &ACCENTED),
    ("Finland", &ACCENTED),
    ("France", &ACCENTED),
    ("United Kingdom", &LATIN),
    ("Ireland", &LATIN),
    ("India", &LATIN),
    ("Iran", &PERSIAN),
    ("Mexico", &ACCENTED),
    ("Netherlands", &LATIN),
    ("Norway", &ACCENTED),
    ("New Zealand", &LATIN),
    ("Serbia", &CYRILLIC),
    ("Turkey", &ACCENTED),
    ("Ukraine", &CYRILLIC),
    ("United States", &LATIN),
];
/// Different first names, last names, streets and cities of a script, each.
const WORDS: usize = 1 << 12;

/// Replaces the contents of `payload` by message `number`: some 245 bytes of JSON, or as close to
/// `bytes` as the nine fields allow.
pub fn payload(
    number: u64,
    bytes: Option<usize>,
    payload: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let mut person = person(number);
    message::encode(&person, payload)?;
    match bytes {
        Some(bytes) if bytes > payload.len() => pad(&mut person, bytes - payload.len(), number),
        Some(bytes) => cut(&mut person, payload.len() - bytes),
        None => return Ok(()),
    }
    message::encode(&person, payload)
}

fn person(number: u64) -> Person {
    let mut random = fastrand::Rng::with_seed(number);
    let (nation, syllables) = NATIONS[random.usize(..NATIONS.len())];
    let (first, last) = (random.usize(..WORDS), random.usize(..WORDS));
    let (title, gender) = [("Ms", "female"), ("Mr", "male")][first % 2];
    let street = word(syllables, random.usize(..WORDS));
    let mut degrees = |most: i32| f64::from(random.i32(-most * 10_000..=most * 10_000)) / 10_000.0;
    let (latitude, longitude) = (degrees(90), degrees(180));
    Person {
        name: format!("{title}. {} {}", word(syllables, first), word(syllables, last)),
        gender: gender.to_owned(),
        address: format!("{}, {street} Street", random.u32(1..10_000)),
        city: word(syllables, random.usize(..WORDS)),
        nation: nation.to_owned(),
        zip: zip_of_postcode(&format!("{:05}", random.u32(..100_000))),
        latitude,
        longitude,
        email: format!(
            "{}.{}{number}@example.com",
            word(&LATIN, first).to_lowercase(),
            word(&LATIN, last).to_lowercase()
        ),
    }
}

/// Two or three syllables, the first letter a capital.
fn word(syllables: &Syllables, index: usize) -> String {
    let mut letters = syllables[index % 32].chars();
    let mut word: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    word.extend(letters);
    word.push_str(syllables[index / 32 % 32]);
    if index >= 1024 {
        word.push_str(syllables[index / 1024]);
    }
    word
}

/// Makes the address longer by words.
fn pad(person: &mut Person, bytes: usize, number: u64) {
    let mut random = fastrand::Rng::with_seed(!number);
    let whole = person.address.len() + bytes;
    while person.address.len() < whole {
        person.address.push(' ');
        person.address.push_str(&word(&LATIN, random.usize(..WORDS)));
    }
    person.address.truncate(whole);
}

/// Makes texts shorter, down to a letter each, until `bytes` are gone; the email comes last, for it
/// is what makes a message different from all others. Then `zip` loses digits, of which four stay.
fn cut(person: &mut Person, mut bytes: usize) {
    const ZIP_DIGITS_MAX: u32 = 34;
    let Person { name, address, city, nation, gender, email, .. } = &mut *person;
    for text in [address, name, city, nation, gender, email] {
        let before = text.len();
        while bytes > before - text.len() && text.chars().nth(1).is_some() {
            text.pop();
        }
        bytes = bytes.saturating_sub(before - text.len());
    }
    let digits = u32::try_from(bytes).map_or(ZIP_DIGITS_MAX, |bytes| bytes.min(ZIP_DIGITS_MAX));
    person.zip /= 10_u128.pow(digits);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;

    use super::*;

    fn payloads(bytes: Option<usize>) -> Vec<Vec<u8>> {
        let made = |number| {
            let mut made = Vec::new();
            payload(number, bytes, &mut made).unwrap();
            made
        };
        (0..5000).map(made).collect()
    }

    fn mean_bytes(payloads: &[Vec<u8>]) -> usize {
        payloads.iter().map(Vec::len).sum::<usize>() / payloads.len()
    }

    #[test]
    fn messages_are_valid_and_different_and_as_long_as_the_ingestors() {
        let payloads = payloads(None);
        assert!((240..=250).contains(&mean_bytes(&payloads)), "{}", mean_bytes(&payloads));
        assert_eq!(payloads.iter().collect::<BTreeSet<_>>().len(), payloads.len());
        let people: Vec<_> = payloads.iter().map(|one| message::decode(one).unwrap()).collect();
        let cities: BTreeSet<_> = people.iter().map(|person| &person.city).collect();
        assert!(cities.len() > 2000, "{}", cities.len());
        assert!(people.iter().any(|person| !person.name.is_ascii()));
    }

    #[test]
    fn messages_have_the_length_that_was_asked_for() {
        for bytes in [150, 200, 1000, 10_000] {
            let payloads = payloads(Some(bytes));
            let mean = mean_bytes(&payloads);
            assert!(mean.abs_diff(bytes) <= bytes / 100, "{mean} of {bytes}");
            assert!(payloads.iter().all(|one| message::decode(one).is_ok()));
        }
        // No message is as short as that: every field is there.
        let shortest = mean_bytes(&payloads(Some(100)));
        assert!((110..130).contains(&shortest), "{shortest}");
    }
}
