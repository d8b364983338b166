//! JSON as text, one level at a time: the members of an object and the elements of an array, as slices of the text.
//!
//! Nested values are skipped, not parsed into a tree. Number lexemes, escapes and white space stay as sent, and deep nesting
//! uses no stack.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use crate::domain::in_order::InOrder;

/// A member of an object, as slices of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Key with quotes and escapes.
    pub raw_key: &'a str,
    /// Value without surrounding white space.
    pub raw_value: &'a str,
}

impl<'a> Member<'a> {
    /// Decoded key, with U+FFFD for each lone surrogate, which is valid JSON but not valid Unicode.
    pub fn key(&self) -> Cow<'a, str> {
        decode_lossy(self.raw_key).unwrap_or(Cow::Borrowed(self.raw_key))
    }

    /// Decoded key. `None`: the key has a lone surrogate and so equals no text.
    pub fn exact_key(&self) -> Option<Cow<'a, str>> {
        decode_string(self.raw_key)
    }
}

/// The members of an object in document order, duplicates included. `None`: not JSON, or not an object.
pub fn members(json: &str) -> Option<Vec<Member<'_>>> {
    if !json.trim_start().starts_with('{') {
        return None;
    }
    let InOrder(members) = serde_json::from_str::<InOrder<&RawValue, &RawValue>>(json).ok()?;
    Some(members.into_iter().map(|(key, value)| Member { raw_key: key.get(), raw_value: value.get() }).collect())
}

/// The elements of an array in order. `None`: not JSON, or not an array.
pub fn elements(json: &str) -> Option<Vec<&str>> {
    if !json.trim_start().starts_with('[') {
        return None;
    }
    let elements = serde_json::from_str::<Vec<&RawValue>>(json).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// The text without surrounding white space. `None`: not JSON.
pub fn checked(json: &str) -> Option<&str> {
    serde_json::from_str::<&RawValue>(json).ok().map(RawValue::get)
}

/// Decodes a string literal. `None`: not a string, or a string with a lone surrogate.
pub fn decode_string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Decodes a string literal, with U+FFFD for each lone surrogate. `None`: not a string.
pub fn decode_lossy(raw: &str) -> Option<Cow<'_, str>> {
    decode_string(raw).or_else(|| decode_bytes(raw).map(|bytes| Cow::Owned(replace_surrogates(&bytes))))
}

/// Decodes a string literal to WTF-8: UTF-8 with a lone surrogate as three bytes. Two literals have equal bytes exactly if
/// they are equal as JSON strings. `None`: not a string.
pub fn decode_bytes(raw: &str) -> Option<Cow<'_, [u8]>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str::<StringBytes>(raw).ok().map(|StringBytes(bytes)| Cow::Owned(bytes))
    } else {
        Some(Cow::Borrowed(inner.as_bytes()))
    }
}

/// serde_json decodes a string with lone surrogates to bytes only.
struct StringBytes(Vec<u8>);

impl<'de> Deserialize<'de> for StringBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = StringBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<StringBytes, E> {
                Ok(StringBytes(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

/// Converts WTF-8 to text: each lone surrogate (three bytes) becomes U+FFFD.
fn replace_surrogates(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Err(error) = std::str::from_utf8(rest) {
        let (valid, after) = rest.split_at(error.valid_up_to());
        text.push_str(std::str::from_utf8(valid).unwrap_or_default());
        text.push(char::REPLACEMENT_CHARACTER);
        rest = after.get(3..).unwrap_or_default();
    }
    text.push_str(std::str::from_utf8(rest).unwrap_or_default());
    text
}

/// The text as a JSON string literal.
pub fn encode_string(text: &str) -> String {
    // serde_json fails only for non-string map keys and for write errors.
    serde_json::to_string(text).expect("a string is always JSON")
}

/// Byte offset of `slice` in `text`.
pub(crate) fn offset_in(text: &str, slice: &str) -> usize {
    let offset = slice.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
    debug_assert!(offset <= text.len(), "not a slice of the text");
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_slices_of_the_text_as_sent() {
        let json = r#" { "a" : 1.0, "\u0061":[ 1 ], "\ud800": "\ud800" } "#;
        let found = members(json).unwrap();
        let raw: Vec<_> = found.iter().map(|m| (m.raw_key, m.raw_value)).collect();
        assert_eq!(raw, [(r#""a""#, "1.0"), (r#""\u0061""#, "[ 1 ]"), (r#""\ud800""#, r#""\ud800""#)]);
        let keys: Vec<_> = found.iter().map(Member::key).collect();
        assert_eq!(keys, ["a", "a", "\u{fffd}"]);
        assert_eq!(found[2].exact_key(), None);
        assert_eq!(offset_in(json, found[0].raw_value), json.find("1.0").unwrap());
    }

    #[test]
    fn a_lone_surrogate_is_shown_as_one_replacement_character_and_hides_nothing_beside_it() {
        for (raw, text) in [
            (r#""Deploy? \ud83d""#, "Deploy? \u{fffd}"),
            (r#""\ud83d\ud83d\ude80\udc00é""#, "\u{fffd}🚀\u{fffd}é"),
            (r#""\ud800\u0041\n""#, "\u{fffd}A\n"),
            (r#""plain""#, "plain"),
        ] {
            assert_eq!(decode_lossy(raw).unwrap(), text, "{raw}");
        }
        assert_eq!(decode_lossy("1"), None);
        // Different surrogates are different strings.
        assert_ne!(decode_bytes(r#""\ud800""#), decode_bytes(r#""\ud801""#));
        assert_eq!(decode_bytes(r#""\u00e9""#), decode_bytes("\"é\""));
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for json in ["", "[]", "1", "{", "{}x", "{'a':1}", r#"{"a":01}"#] {
            assert_eq!(members(json), None, "{json}");
        }
        assert_eq!(members(" {} "), Some(vec![]));
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(500_000), "]".repeat(500_000));
        assert_eq!(members(&deep).unwrap().len(), 1);
        assert!(checked(&deep).is_some());
    }
}
