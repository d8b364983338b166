//! String literals of JSON text.

/// Byte offset at which to cut a string literal of more than `max_chars` characters, before the closing quote. `None`: short
/// enough, or not a string. An escape counts as one character, and so does a surrogate pair of escapes.
pub(crate) fn cut_at(raw: &str, max_chars: usize) -> Option<usize> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.len() <= max_chars {
        return None;
    }
    let mut at = 0;
    for _ in 0..max_chars {
        at += first_char_len(&inner[at..])?;
    }
    (at < inner.len()).then_some(1 + at)
}

/// Length in bytes of the first character in a string literal's content. `None`: the end.
fn first_char_len(inner: &str) -> Option<usize> {
    let first = inner.chars().next()?;
    if first != '\\' {
        return Some(first.len_utf8());
    }
    let len = match (hex_escape(inner), inner.get(6..).and_then(hex_escape)) {
        (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
        (Some(_), _) => 6,
        (None, _) => 2,
    };
    Some(len.min(inner.len()))
}

fn hex_escape(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}
