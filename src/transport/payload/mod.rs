//! Payloads in both directions: the stored JSON text and its typed view, `pb::Payload`.
//!
//! The typed view is exact: what a field cannot hold as sent stays in `extra_json`, so [`to_json`] of [`to_typed`] is the
//! payload again, number lexemes included; only key order and white space between tokens may differ.
//!
//! - `field`: how one member fits one field, in both directions; one kind a shape.
//! - `read`, `write`: objects, member by member.
//! - `tables`: which member is which field, one line each.

mod field;
mod read;
mod tables;
mod write;

#[cfg(test)]
mod tests;

use crate::domain::json::preview::PreviewLimits;
use crate::domain::json::redaction::members::checked;
use crate::domain::json::why_not_json;
use crate::pb;
use crate::pb::payload::Variant;

/// Why a payload cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct PayloadError {
    /// The field, as a path from the payload: `extra_json`, `run_end.output_json`.
    pub field: String,
    /// What is wrong with it, for people.
    pub problem: String,
}

impl PayloadError {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// The typed view of a stored payload.
///
/// The event's type chooses the variant. A payload that is no object or has a key twice, and every payload of a type without
/// a variant, comes whole as `json`, as sent. An object inside it that has a key twice stays whole in `extra_json`.
pub fn to_typed(event_type: &str, json: &str) -> pb::Payload {
    match tables::read_variant(event_type, json) {
        Some((variant, extra_json)) => pb::Payload { extra_json, variant: Some(variant) },
        None => pb::Payload { extra_json: String::new(), variant: Some(Variant::Json(json.to_owned())) },
    }
}

/// [`to_json_within`] the documented preview limits.
///
/// # Errors
/// As there.
pub fn to_json(payload: &pb::Payload) -> Result<String, PayloadError> {
    to_json_within(payload, PreviewLimits::DOCUMENTED)
}

/// The JSON text to store: `json` as sent; a variant's members under their documented names, in the order of the reference
/// page, then what `extra_json` adds; `{}` (or `extra_json` alone) where there is no variant.
///
/// The limits bound the summaries and previews that are made from raw tool input and output. Depth and size of the text are
/// not checked here.
///
/// # Errors
/// Names the field: text that is not JSON, `extra_json` that is no object or beside `json`, a member that is in `extra_json`
/// and in a field, a number that JSON cannot say, raw tool input or output beside its summary.
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
        None => write::without_variant(extra),
    }
}

/// The type of an event that names none: the payload's variant belongs to exactly one.
pub fn default_type(payload: &pb::Payload) -> Option<&'static str> {
    match allowed_types(payload) {
        [only] => Some(only),
        _ => None,
    }
}

/// The types that the payload's variant belongs to. Empty: it goes with every type (`json`, or no variant).
pub fn allowed_types(payload: &pb::Payload) -> &'static [&'static str] {
    payload.variant.as_ref().map_or(&[], tables::types_of)
}
