//! Values as people read them. What came from outside may hold anything: no control character of it
//! reaches a terminal.

use chunk_ledger::Timestamp;

/// `2026-11-02T12:00:00.123Z`; `None` for no stamp, and for times that no calendar has.
pub(crate) fn rfc3339(timestamp: Timestamp) -> Option<String> {
    let time = (timestamp.0 >= 0).then(|| jiff::Timestamp::from_millisecond(timestamp.0).ok())?;
    time.map(|time| format!("{time:.3}"))
}

/// The text on one line, and no more than `chars_max` characters of it.
pub(crate) fn clipped(text: &str, chars_max: usize) -> String {
    let mut chars = text.chars();
    let mut clipped: String = chars.by_ref().take(chars_max).collect();
    if chars.next().is_some() {
        clipped.pop();
        clipped.push('…');
    }
    escaped(&clipped)
}

/// The bytes as text, what can't be printed as an escape, and no more than about `bytes_max` of
/// them.
pub(crate) fn printable(bytes: &[u8], bytes_max: usize) -> String {
    let shown = &bytes[..bytes.len().min(bytes_max)];
    let mut text = String::with_capacity(shown.len());
    for part in shown.utf8_chunks() {
        text.push_str(&escaped(part.valid()));
        text.push_str(&part.invalid().escape_ascii().to_string());
    }
    if shown.len() < bytes.len() {
        text.push_str(&format!("… and {} bytes more", bytes.len() - shown.len()));
    }
    text
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char.is_control() {
            true => escaped.extend(char.escape_default()),
            false => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_with_milliseconds() {
        let noon = Timestamp(1_793_620_800_000);
        assert_eq!(rfc3339(noon).as_deref(), Some("2026-11-02T12:00:00.000Z"));
        assert_eq!(rfc3339(Timestamp(-1)), None);
        assert_eq!(rfc3339(Timestamp(i64::MAX)), None);
    }

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(printable(b"na\xc3\xafve\x1b[2J\n\xff", 100), r"naïve\u{1b}[2J\n\xff");
        assert_eq!(clipped("\u{9b}31m\u{7f}", 10), r"\u{9b}31m\u{7f}");
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(clipped("größer", 6), "größer");
        assert_eq!(clipped("größer", 5), "größ…");
        assert_eq!(printable(b"123456", 4), "1234… and 2 bytes more");
        assert_eq!(printable("aé".as_bytes(), 2), r"a\xc3… and 1 bytes more");
    }
}
