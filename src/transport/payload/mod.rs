//! Conversion of payloads between the stored JSON text and the typed view, `pb::Payload`.
//!
//! The typed view is exact: a value that a field cannot hold as sent stays in `extra_json`. So [`to_json`] of [`to_typed`] is
//! the same payload, number lexemes included; only key order and white space between tokens may differ.
//!
//! - `field`: conversion between one member and one field, in both directions; one kind for each shape.
//! - `object`: objects, member by member.
//! - `tables`: the field of each member, one line for each member.

mod error;
mod field;
mod object;
mod tables;

#[cfg(test)]
mod tests;

use crate::domain::json::preview::PreviewLimits;
use crate::domain::json::redaction::members::checked;
use crate::domain::json::why_not_json;
use crate::pb;
use crate::pb::payload::Variant;

pub use error::PayloadError;

/// The typed view of a stored payload.
///
/// The event type selects the variant. A payload that is no object or repeats a key, and every payload of a type without a
/// variant, becomes `json`, as sent. A nested object that repeats a key stays whole in `extra_json`.
pub fn to_typed(event_type: &str, json: &str) -> pb::Payload {
    match tables::read_variant(event_type, json) {
        Some((variant, extra_json)) => pb::Payload { extra_json, variant: Some(variant) },
        None => pb::Payload { extra_json: String::new(), variant: Some(Variant::Json(json.to_owned())) },
    }
}

/// [`to_json_within`] the documented preview limits.
///
/// # Errors
/// The errors of [`to_json_within`].
pub fn to_json(payload: &pb::Payload) -> Result<String, PayloadError> {
    to_json_within(payload, PreviewLimits::DOCUMENTED)
}

/// The JSON text to store. For `json` the text as sent. For a variant the members under the documented names, in the order of
/// `tables`, then the members of `extra_json`. Without a variant `extra_json`, or `{}` if empty.
///
/// The limits apply to summaries and previews made from raw tool input and output. Depth and size of the text are checked by
/// `domain::Payload`.
///
/// # Errors
/// The error names the field: text that is not JSON, `extra_json` that is no object or stands beside `json`, a member in both
/// `extra_json` and a field, a number without a JSON form, raw tool input or output beside a summary.
pub fn to_json_within(payload: &pb::Payload, limits: PreviewLimits) -> Result<String, PayloadError> {
    let extra = &payload.extra_json;
    match &payload.variant {
        Some(Variant::Json(json)) => {
            if !extra.is_empty() {
                return Err(PayloadError::new("extra_json", "must be empty beside `json`"));
            }
            if checked(json).is_none() {
                return Err(PayloadError::new("json", why_not_json(json)));
            }
            Ok(json.clone())
        }
        Some(variant) => tables::write_variant(variant, extra, limits),
        None => object::without_variant(extra),
    }
}

/// Type for an event sent without a type; present if the payload's variant belongs to exactly one type.
pub fn default_type(payload: &pb::Payload) -> Option<&'static str> {
    match allowed_types(payload) {
        [only] => Some(only),
        _ => None,
    }
}

/// Types that the payload's variant belongs to. Empty: every type is allowed (`json`, or no variant).
pub fn allowed_types(payload: &pb::Payload) -> &'static [&'static str] {
    payload.variant.as_ref().map_or(&[], tables::types_of)
}
