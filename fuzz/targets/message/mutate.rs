//! Changes a message where readers differ: in its numbers, its text, and the order, the number and the spacing of its
//! fields. Random bytes seldom leave a message whole enough to get there.

use std::fmt::{self, Write};

use fastrand::Rng;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

const NAMES: [&str; 9] =
    ["name", "gender", "address", "city", "nation", "zip", "latitude", "longitude", "email"];

/// A change of `payload`; `None` if it is no JSON object.
pub(crate) fn message(payload: &[u8], random: &mut Rng) -> Option<String> {
    let Members(mut members) = serde_json::from_slice(payload).ok()?;
    if random.bool() {
        mend(&mut members, random);
    }
    for _ in 0..random.usize(1..4) {
        let index = random.usize(..=members.len());
        match members.get_mut(index) {
            Some((name, value)) if random.u8(..16) > 0 => *value = value_of(name, random),
            _ => disorder(&mut members, random),
        }
    }
    Some(written(&members, random))
}

/// The members of an object in their order, with their values as they are written.
struct Members(Vec<(String, String)>);

/// The nine fields in the order in which the ingestor writes them: readers may be quick where that is so.
fn mend(members: &mut Vec<(String, String)>, random: &mut Rng) {
    *members = NAMES
        .iter()
        .map(|name| {
            let found = members.iter().find(|(other, _)| other == name);
            found.cloned().unwrap_or_else(|| (name.to_string(), value_of(name, random)))
        })
        .collect();
}

fn disorder(members: &mut Vec<(String, String)>, random: &mut Rng) {
    let index = random.usize(..members.len().max(1));
    match random.u8(..4) {
        0 if !members.is_empty() => drop(members.remove(index)),
        1 if !members.is_empty() => members.push(members[index].clone()),
        2 if !members.is_empty() => members.swap(index, 0),
        _ => members.insert(index, ("x".to_owned(), value_of("x", random))),
    }
}

fn value_of(name: &str, random: &mut Rng) -> String {
    let kind = match name {
        _ if random.u8(..16) == 0 => random.u8(..4),
        "zip" => 0,
        "latitude" | "longitude" => 1,
        "x" => random.u8(..4),
        _ => 2,
    };
    match kind {
        0 => integer(random),
        1 => decimal(random),
        2 => text(random),
        _ => random
            .choice(["null", "true", "[]", "{}", "[{\"x\":[0]}]", "\"7\"", "\"07\"", "\"\""])
            .unwrap_or("0")
            .to_owned(),
    }
}

/// Integers around powers of two and of ten, where types and tables end, and any other.
fn integer(random: &mut Rng) -> String {
    let near = |base: u128, random: &mut Rng| base.wrapping_add(random.u128(..3)).wrapping_sub(1);
    let integer = match random.u8(..8) {
        0 => near(1 << [53, 63, 64, 127][random.usize(..4)], random).to_string(),
        1 => near(1 << random.u32(..128), random).to_string(),
        2 => near(10_u128.pow(random.u32(..39)), random).to_string(),
        3 => (u128::MAX - random.u128(..2)).to_string(),
        4 => "340282366920938463463374607431768211456".to_owned(),
        5 => {
            let mut digits = String::new();
            push_digits(random.usize(37..42), &mut digits, random);
            digits
        }
        _ => (random.u128(..) >> random.u32(..128)).to_string(),
    };
    match random.u8(..16) {
        0 => format!("-{integer}"),
        1 => format!("0{integer}"),
        2 => format!("\"{integer}\""),
        3 => format!("{integer}.0"),
        4 => ["0", "-0", "1e2", "\"+1\"", "\"\""][random.usize(..5)].to_owned(),
        _ => integer,
    }
}

/// Numbers as they come, the doubles' own texts, and digits that lie close to the middle between two doubles.
fn decimal(random: &mut Rng) -> String {
    match random.u8(..8) {
        0 => integer(random),
        1 => format!("{}", f64::from_bits(random.u64(..))),
        2 => format!("{:e}", f64::from_bits(random.u64(..))),
        3 => {
            // 54 bits, the last one set: in the middle.
            let middle = (1_u128 << 53 | u128::from(random.u64(..1 << 53)) | 1) << random.u32(..70);
            format!("{}", middle.wrapping_add(random.u128(..3)).wrapping_sub(1))
        }
        4 => [
            "0", "-0", "0.0", "-0.0", "0e0", "-0e9", "1e400", "5e-324", "2e-324", "01", "1.", ".5",
            "-", "1e", "1e+",
        ][random.usize(..15)]
        .to_owned(),
        _ => {
            let mut number = String::from(if random.bool() { "-" } else { "" });
            push_digits(random.usize(1..4), &mut number, random);
            if random.u8(..8) > 0 {
                number.push('.');
                push_digits(random.usize(1..20), &mut number, random);
            }
            if random.u8(..8) == 0 {
                let _ = write!(number, "e{}", random.i32(-345..345));
            }
            number
        }
    }
}

fn push_digits(count: usize, number: &mut String, random: &mut Rng) {
    let digits = std::iter::repeat_with(|| random.digit(10));
    number.extend(digits.take(count));
}

/// A string with what has to be looked at twice: escapes, whole and broken, control characters, and long characters.
/// Its length is around the widths at which readers go from one way of reading to another.
fn text(random: &mut Rng) -> String {
    const ODD: [&str; 20] = [
        r"\n",
        r#"\""#,
        r"\\",
        r"\/",
        r"\u0000",
        r"\u001f",
        r"\u00e9",
        r"\ud83d\ude00",
        r"\ud800",
        r"\ude00\ud83d",
        r"\ud800\u0041",
        r"\x",
        r"\u12",
        "\u{0}",
        "\u{1f}",
        "\u{7f}",
        "é",
        "\u{2028}",
        "😀",
        "\"",
    ];
    let mut text = String::from('"');
    let length = match random.u8(..8) {
        0 => 0,
        1 => random.usize(..200),
        _ => random.usize(..40),
    };
    let odd_at = if random.u8(..4) == 0 { random.usize(..=length) } else { usize::MAX };
    for at in 0..=length {
        if at == odd_at {
            text.push_str(ODD[random.usize(..ODD.len())]);
        } else if at < length {
            text.push(random.alphanumeric());
        }
    }
    text.push('"');
    text
}

/// Compact, or as Python writes it, or with blanks where they may be, and sometimes with something behind.
fn written(members: &[(String, String)], random: &mut Rng) -> String {
    const BLANKS: [&str; 5] = ["", "", " ", "\t", "\r\n  "];
    let style = random.u8(..8);
    let blank = |usual: &'static str, random: &mut Rng| match style {
        0..3 => "",
        3..6 => usual,
        _ => BLANKS[random.usize(..BLANKS.len())],
    };
    let mut text = format!("{{{}", blank("", random));
    for (index, (name, value)) in members.iter().enumerate() {
        let name =
            if random.u8(..=255) == 0 { name.replacen('a', r"\u0061", 1) } else { name.clone() };
        if index > 0 {
            let _ = write!(text, "{},{}", blank("", random), blank(" ", random));
        }
        let _ = write!(text, "\"{name}\"{}:{}{value}", blank("", random), blank(" ", random));
    }
    let _ = write!(text, "{}}}", blank("", random));
    if random.u8(..32) == 0 {
        text.push_str(["}", " ", "x", "\0", ",", "{}"][random.usize(..6)]);
    }
    text
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name, value.get().to_owned()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}
