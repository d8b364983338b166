//! From JSON text to a typed message and the rest.

use super::field::EventSlice;
use crate::domain::json::redaction::members::{Member, members};

/// A message whose fields are members of a JSON object. Implemented by the lines of `tables`.
pub(super) trait Model: Default {
    /// Puts a member into the field of its key, as far as it fits.
    fn take(&mut self, key: &str, raw_value: &str) -> EventSlice;

    /// Writes the fields that are set, in page order.
    fn put(&self, object: &mut super::write::ObjectWriter<'_>) -> Result<(), super::PayloadError>;
}

/// The message, and the text of an object with what did not fit ("" where all did). None: no object, or a key stands there
/// twice, so that a field could not tell which one it holds.
pub(super) fn read_object<M: Model>(json: &str) -> Option<(M, String)> {
    let members = members(json)?;
    if repeated_key(&members).is_some() {
        return None;
    }
    let mut message = M::default();
    let mut rest = String::new();
    for member in &members {
        // A key that is no text is the key of no field.
        let taken = member.exact_key().map_or(EventSlice::Nothing, |key| message.take(&key, member.raw_value));
        match taken {
            EventSlice::Whole => {}
            EventSlice::AllBut(left) => push_member(&mut rest, member.raw_key, &left),
            EventSlice::Nothing => push_member(&mut rest, member.raw_key, member.raw_value),
        }
    }
    if !rest.is_empty() {
        rest.push('}');
    }
    Some((message, rest))
}

/// A key that stands there twice, decoded.
pub(super) fn repeated_key(members: &[Member<'_>]) -> Option<String> {
    let mut keys: Vec<_> = members.iter().map(|m| m.exact_key().unwrap_or_else(|| m.raw_key.into())).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_string())
}

/// Adds a member to the text of an object that is still open.
fn push_member(object: &mut String, raw_key: &str, raw_value: &str) {
    object.push(if object.is_empty() { '{' } else { ',' });
    object.push_str(raw_key);
    object.push(':');
    object.push_str(raw_value);
}
