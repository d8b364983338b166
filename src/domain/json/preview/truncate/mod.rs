//! Cuts the previews of a payload to their limits and masks secrets in previews. All other bytes stay as sent.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, ops::Range};

use super::PreviewLimits;
use super::literal::cut_at;
use super::secrets::{MASK, is_secret, mask};
use super::summary::{as_text, cut_text, tool_summary};
use crate::domain::json::redaction::members::{Member, elements, encode_string, members, offset_in};

/// The payload with previews within the limits and without secrets. Borrowed: no change needed, or a type without previews.
pub fn cut_previews<'a>(event_type: &str, json: &'a str, limits: PreviewLimits) -> Cow<'a, str> {
    let edits = match event_type {
        "tool_call" => tool_call_edits(json, limits),
        "run.tool.invoked" => tool_invoked_edits(json, limits),
        _ => return Cow::Borrowed(json),
    };
    if edits.is_empty() { Cow::Borrowed(json) } else { Cow::Owned(apply(json, edits)) }
}

/// Replacement of a byte range of the payload.
type Edit = (Range<usize>, Cow<'static, str>);

fn tool_call_edits(json: &str, limits: PreviewLimits) -> Vec<Edit> {
    let mut edits = Vec::new();
    for member in members(json).unwrap_or_default() {
        if matches!(&*member.key(), "input_preview" | "output_preview") {
            edits.extend(preview_edit(json, member.raw_value, limits.tool_call_chars));
        }
    }
    edits
}

fn tool_invoked_edits(json: &str, limits: PreviewLimits) -> Vec<Edit> {
    let mut edits = Vec::new();
    for member in members(json).unwrap_or_default() {
        if !matches!(&*member.key(), "tool_input_summary" | "tool_output_summary") || member.raw_value == "null" {
            continue;
        }
        if member.raw_value.starts_with('{') {
            edits.extend(summary_edits(json, member.raw_value, limits));
        } else {
            // Not a summary object, so the value is raw input or output.
            edits.push((range_in(json, member.raw_value), tool_summary(member.raw_value, limits).into()));
        }
    }
    edits
}

fn summary_edits(json: &str, summary: &str, limits: PreviewLimits) -> Vec<Edit> {
    let members = members(summary).unwrap_or_default();
    let mut edits = Vec::new();
    for member in &members {
        match &*member.key() {
            "highlights" if member.raw_value.starts_with('[') => {
                edits.extend(highlight_edits(json, member.raw_value, limits));
            }
            "truncated" if matches!(member.raw_value, "true" | "false" | "null") => {}
            _ => edits.extend(member_edit(json, member, limits.summary_chars)),
        }
    }
    if edits.is_empty() {
        return edits;
    }
    let truncated: Vec<_> = members.iter().filter(|member| member.key() == "truncated").collect();
    for member in &truncated {
        if matches!(member.raw_value, "false" | "null") {
            edits.push((range_in(json, member.raw_value), "true".into()));
        }
    }
    if let (true, Some(last)) = (truncated.is_empty(), members.last()) {
        let end = range_in(json, last.raw_value).end;
        edits.push((end..end, r#","truncated":true"#.into()));
    }
    edits
}

/// Edit of any member of a summary or highlight, known or unknown.
fn member_edit(json: &str, member: &Member<'_>, max_chars: usize) -> Option<Edit> {
    if is_secret(&member.key(), member.raw_value) {
        return (member.raw_value != MASK).then(|| (range_in(json, member.raw_value), MASK.into()));
    }
    preview_edit(json, member.raw_value, max_chars)
}

/// Edit of a preview, or of a highlight's value. A value that is too long or has a secret becomes the start of its text.
fn preview_edit(json: &str, raw: &str, max_chars: usize) -> Option<Edit> {
    let range = range_in(json, raw);
    if let Cow::Owned(masked) = mask(raw) {
        return Some((range, encode_string(&cut_text(&as_text(&masked), max_chars).0).into()));
    }
    if raw.starts_with('"') {
        let cut = cut_at(raw, max_chars)?;
        return Some((range.start + cut..range.end, "\"".into()));
    }
    let (text, is_cut) = cut_text(&as_text(raw), max_chars);
    is_cut.then(|| (range, encode_string(&text).into()))
}

/// Removes the highlights above the limit and cuts the values of the others.
fn highlight_edits(json: &str, raw: &str, limits: PreviewLimits) -> Vec<Edit> {
    let elements = elements(raw).unwrap_or_default();
    let mut edits = Vec::new();
    for element in elements.iter().take(limits.highlights) {
        let Some(members) = members(element) else {
            edits.extend(preview_edit(json, element, limits.summary_chars));
            continue;
        };
        // A member `key` may be repeated, and parsers differ in the one that counts: any secret key masks the value.
        let is_secret_value = |value: &str| {
            let keys = members.iter().filter(|member| member.key() == "key");
            keys.map(|member| as_text(member.raw_value)).any(|key| is_secret(&key, value))
        };
        for member in &members {
            let raw = member.raw_value;
            if member.key() == "value" && raw != MASK && is_secret_value(raw) {
                edits.push((range_in(json, raw), MASK.into()));
            } else {
                edits.extend(member_edit(json, member, limits.summary_chars));
            }
        }
    }
    if elements.len() > limits.highlights {
        let start = match limits.highlights.checked_sub(1).and_then(|last| elements.get(last)) {
            Some(last_kept) => range_in(json, last_kept).end,
            None => offset_in(json, raw) + 1,
        };
        edits.push((start..range_in(json, raw).end, "]".into()));
    }
    edits
}

fn range_in(json: &str, slice: &str) -> Range<usize> {
    let start = offset_in(json, slice);
    start..start + slice.len()
}

/// Applies edits, which never overlap: each belongs to another value.
fn apply(json: &str, mut edits: Vec<Edit>) -> String {
    // The sort is stable: an insertion stays after an edit that ends at the same offset.
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = String::with_capacity(json.len());
    let mut done = 0;
    for (range, text) in edits {
        out.push_str(&json[done..range.start]);
        out.push_str(&text);
        done = range.end;
    }
    out.push_str(&json[done..]);
    out
}
