//! Generates previews and summaries from raw tool input and output.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt::Write};

use super::PreviewLimits;
use super::literal::cut_at;
use super::secrets::{MASK, is_secret, mask};
use crate::domain::json::redaction::members::{Member, checked, decode_lossy, encode_string, members};

/// The first `max_chars` characters of a value as text, with secrets masked: a string as its content, other values as
/// compact JSON.
///
/// Empty text has an empty preview. Text that is not JSON is treated as the content of a string.
pub fn preview_of(raw_json: &str, max_chars: usize) -> String {
    let raw = as_json(raw_json);
    let Some(raw) = raw else { return String::new() };
    let (text, _) = cut_text(&as_text(&mask(&raw)), max_chars);
    text
}

/// The summary of a value as JSON text: preview, highlights of the object's members, and stats of the whole value.
///
/// Generated from the masked text, so that no secret is shown. Empty text has a summary without preview and highlights; text
/// that is not JSON is treated as the content of a string. `fields_redacted` counts members that are or contain a secret.
pub fn tool_summary(raw_json: &str, limits: PreviewLimits) -> String {
    let Some(raw) = as_json(raw_json) else {
        return envelope("", &Stats::default(), false);
    };
    let masked = mask(&raw);
    let (preview, mut truncated) = cut_text(&as_text(&masked), limits.summary_chars);
    let fields = members(&raw).unwrap_or_default();
    let bytes_after_redaction = match &raw {
        Cow::Borrowed(raw) => raw_json.len() - raw.len() + masked.len(),
        // Text that is not JSON has no keys, so the size is the one as sent; `masked` also has the added quotes.
        Cow::Owned(_) => raw_json.len(),
    };
    let mut stats = Stats {
        fields_total: fields.len(),
        fields_redacted: 0,
        bytes_before_redaction: raw_json.len(),
        bytes_after_redaction,
    };
    let mut highlights = String::new();
    for (index, field) in fields.iter().enumerate() {
        let value = mask_field(field);
        let redacted = matches!(value, Cow::Owned(_));
        stats.fields_redacted += usize::from(redacted);
        if index < limits.highlights {
            truncated |= push_highlight(field, &value, redacted, limits, &mut highlights);
        } else {
            truncated = true;
        }
    }
    let mut shown = format!(r#","preview":{}"#, encode_string(&preview));
    if !highlights.is_empty() {
        shown.push_str(&format!(r#","highlights":[{highlights}]"#));
    }
    envelope(&shown, &stats, truncated)
}

#[derive(Default)]
struct Stats {
    fields_total: usize,
    fields_redacted: usize,
    bytes_before_redaction: usize,
    bytes_after_redaction: usize,
}

fn envelope(shown: &str, stats: &Stats, truncated: bool) -> String {
    let Stats { fields_total, fields_redacted, bytes_before_redaction, bytes_after_redaction } = stats;
    format!(
        r#"{{"schema_version":"v1"{shown},"stats":{{"fields_total":{fields_total},"fields_redacted":{fields_redacted},"bytes_before_redaction":{bytes_before_redaction},"bytes_after_redaction":{bytes_after_redaction}}},"truncated":{truncated}}}"#
    )
}

/// The value of a member, masked. Owned: a secret was masked.
fn mask_field<'a>(field: &Member<'a>) -> Cow<'a, str> {
    if is_secret(&field.key(), field.raw_value) { Cow::Owned(MASK.to_owned()) } else { mask(field.raw_value) }
}

/// Adds a highlight; returns whether the key or value was cut. A cut value becomes a string.
fn push_highlight(field: &Member<'_>, value: &str, redacted: bool, limits: PreviewLimits, out: &mut String) -> bool {
    let key_cut = cut_at(field.raw_key, limits.summary_chars);
    let key = match key_cut {
        Some(at) => Cow::Owned(format!("{}\"", &field.raw_key[..at])),
        None => Cow::Borrowed(field.raw_key),
    };
    let (text, value_cut) = cut_text(&as_text(value), limits.summary_chars);
    let value = if value_cut { encode_string(&text) } else { compact(value) };
    if !out.is_empty() {
        out.push(',');
    }
    // Writing to a string cannot fail.
    let _ = write!(out, r#"{{"key":{key},"value":{value},"redacted":{redacted}}}"#);
    key_cut.is_some() || value_cut
}

/// The text as JSON without surrounding white space. `None`: empty text. Owned: not JSON, converted to a string.
fn as_json(raw: &str) -> Option<Cow<'_, str>> {
    if raw.trim().is_empty() {
        return None;
    }
    Some(checked(raw).map_or_else(|| Cow::Owned(encode_string(raw)), Cow::Borrowed))
}

/// Text form of a value: the content of a string, compact JSON of other values.
pub(crate) fn as_text(json: &str) -> Cow<'_, str> {
    decode_lossy(json).unwrap_or_else(|| Cow::Owned(compact(json)))
}

/// Removes white space between tokens.
fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut in_string = false;
    let mut escaped = false;
    for c in json.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
    }
    out
}

/// The first `max_chars` characters; true: the text was longer.
pub(crate) fn cut_text(text: &str, max_chars: usize) -> (String, bool) {
    match text.char_indices().nth(max_chars) {
        Some((at, _)) => (text[..at].to_owned(), true),
        None => (text.to_owned(), false),
    }
}
