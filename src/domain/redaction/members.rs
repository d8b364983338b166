//! JSON as text, one level at a time: the members of an object and the elements of an array, as they were sent.
//!
//! Nothing below the level is built or checked for meaning, so number lexemes, escapes and white space stay what they were,
//! and depth costs no stack.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::domain::in_order::InOrder;

/// One member of an object: slices of the text that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The key with its quotes and escapes.
    pub raw_key: &'a str,
    /// The value without white space around it.
    pub raw_value: &'a str,
}

impl<'a> Member<'a> {
    /// The key decoded. None: it has a lone surrogate, which is legal JSON but no text.
    pub fn key(&self) -> Option<Cow<'a, str>> {
        decode_string(self.raw_key)
    }
}

/// The members of an object in their order, duplicates included. None: not JSON, or not an object.
pub fn members(json: &str) -> Option<Vec<Member<'_>>> {
    if !json.trim_start().starts_with('{') {
        return None;
    }
    let InOrder(members) = serde_json::from_str::<InOrder<&RawValue, &RawValue>>(json).ok()?;
    Some(members.into_iter().map(|(key, value)| Member { raw_key: key.get(), raw_value: value.get() }).collect())
}

/// The elements of an array in their order. None: not JSON, or not an array.
pub fn elements(json: &str) -> Option<Vec<&str>> {
    if !json.trim_start().starts_with('[') {
        return None;
    }
    let elements = serde_json::from_str::<Vec<&RawValue>>(json).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// The text without white space around it, if it is JSON.
pub fn checked(json: &str) -> Option<&str> {
    serde_json::from_str::<&RawValue>(json).ok().map(RawValue::get)
}

/// What a string literal says. None: not a string, or it has a lone surrogate.
pub fn decode_string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Text as a string literal.
pub fn encode_string(text: &str) -> String {
    // serde_json fails on maps with odd keys and on failing writers; a string into a string has neither.
    serde_json::to_string(text).expect("a string is always JSON")
}

/// Where a slice of `text` begins in it, in bytes.
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
        assert_eq!(keys, [Some("a".into()), Some("a".into()), None]);
        assert_eq!(offset_in(json, found[0].raw_value), json.find("1.0").unwrap());
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
