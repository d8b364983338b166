//! Reads JSON text into a typed message and a rest.

use super::field::Fit;
use crate::domain::json::redaction::members::{Member, members};

/// A message with fields for the members of a JSON object. Implemented by the lines of `tables`.
pub(super) trait Model: Default {
    /// Stores a member in the field of the key, as far as the value fits.
    fn take(&mut self, key: &str, raw_value: &str) -> Fit;

    /// Writes the fields that are set, in the order of `tables`.
    fn put(&self, object: &mut super::write::ObjectWriter<'_>) -> Result<(), super::PayloadError>;
}

/// The message, and an object with the members that do not fit, as text (empty if all members fit). `None`: not an object, or
/// a repeated key, which is ambiguous for a field.
pub(super) fn read_object<M: Model>(json: &str) -> Option<(M, String)> {
    let members = members(json)?;
    if repeated_key(&members).is_some() {
        return None;
    }
    let mut message = M::default();
    let mut rest = String::new();
    for member in &members {
        // A key with a lone surrogate matches no field.
        let taken = member.exact_key().map_or(Fit::Nothing, |key| message.take(&key, member.raw_value));
        match taken {
            Fit::Whole => {}
            Fit::AllBut(left) => push_member(&mut rest, member.raw_key, &left),
            Fit::Nothing => push_member(&mut rest, member.raw_key, member.raw_value),
        }
    }
    if !rest.is_empty() {
        rest.push('}');
    }
    Some((message, rest))
}

/// A key that occurs more than once, decoded.
pub(super) fn repeated_key(members: &[Member<'_>]) -> Option<String> {
    let mut keys: Vec<_> = members.iter().map(|m| m.exact_key().unwrap_or_else(|| m.raw_key.into())).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_string())
}

/// Appends a member to the text of an object that is still open.
fn push_member(object: &mut String, raw_key: &str, raw_value: &str) {
    object.push(if object.is_empty() { '{' } else { ',' });
    object.push_str(raw_key);
    object.push(':');
    object.push_str(raw_value);
}
