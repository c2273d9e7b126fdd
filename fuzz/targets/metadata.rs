//! The key and the metadata of an object that may be anybody's: refused, or spelled exactly as the sink spells them.
//! The input is a key and pairs of `name=value`, a line each.

#![no_main]

use std::collections::HashMap;

use chunk_ledger::{Chunk, FOOTER_PREFIX, Opening};
use chunk_ledger::{Described, Layout, describe, from_footer, opening_to_metadata, to_metadata};
use libfuzzer_sys::fuzz_target;

const TOPIC: &str = "names_topic";

fuzz_target!(|input: &str| {
    let (key, pairs) = input.split_once('\n').unwrap_or((input, ""));
    let layout = Layout::new("lake", TOPIC);
    if let Some(name) = layout.parse(key) {
        assert_eq!(layout.key(name.partition, name.day, name.start), key);
    }
    let pairs: HashMap<&str, &str> =
        pairs.lines().filter_map(|pair| pair.split_once('=')).collect();
    let get = |name: &str| pairs.get(name).copied();
    match describe(TOPIC, get) {
        Ok(Described::Whole(chunk)) => assert_is_spelled(&layout, &chunk, get),
        Ok(Described::InFooter(opening)) => {
            assert_are_spelled(opening_to_metadata(TOPIC, &opening), get);
            assert_has_key(&layout, &opening);
            if let Ok(chunk) = from_footer(TOPIC, &opening, get) {
                assert_eq!(chunk.opening(), opening);
                assert_is_spelled(&layout, &chunk, |name| get(&format!("{FOOTER_PREFIX}{name}")));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn assert_is_spelled<'a>(layout: &Layout, chunk: &Chunk, get: impl Fn(&str) -> Option<&'a str>) {
    assert_are_spelled(to_metadata(TOPIC, chunk), get);
    assert!(!chunk.range.is_empty(), "{chunk:?}");
    assert_has_key(layout, &chunk.opening());
}

fn assert_are_spelled<'a>(
    pairs: impl IntoIterator<Item = (&'static str, String)>,
    get: impl Fn(&str) -> Option<&'a str>,
) {
    // The version is for people: it is written, but not read.
    for (name, value) in pairs.into_iter().filter(|(name, _)| *name != "schema-version") {
        assert_eq!(get(name), Some(value.as_str()), "{name} is read in two spellings");
    }
}

/// Whatever the metadata tell, it has a key, and the key says the same.
fn assert_has_key(layout: &Layout, opening: &Opening) {
    let key = layout.key(opening.partition, opening.day(), opening.start);
    let name = layout
        .parse(&key)
        .unwrap_or_else(|| panic!("a chunk lies at {key}, which is no chunk's key"));
    assert_eq!(
        (name.partition, name.day, name.start),
        (opening.partition, opening.day(), opening.start)
    );
}
