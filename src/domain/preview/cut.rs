//! Cuts previews that are too long out of a payload, everything else byte for byte.

use std::{borrow::Cow, ops::Range};

use super::PreviewLimits;
use crate::domain::redaction::members::{elements, members, offset_in};

/// The payload with its previews within the limits. Borrowed: nothing was too long, or the type has no previews.
pub fn cut_previews<'a>(event_type: &str, json: &'a str, limits: PreviewLimits) -> Cow<'a, str> {
    let edits = match event_type {
        "tool_call" => tool_call_edits(json, limits),
        "run.tool.invoked" => tool_invoked_edits(json, limits),
        _ => return Cow::Borrowed(json),
    };
    if edits.is_empty() { Cow::Borrowed(json) } else { Cow::Owned(apply(json, edits)) }
}

/// Replaces a range of the payload's bytes.
type Edit = (Range<usize>, &'static str);

fn tool_call_edits(json: &str, limits: PreviewLimits) -> Vec<Edit> {
    let mut edits = Vec::new();
    // A text this short has no string that is too long.
    if json.len() <= limits.tool_call_chars {
        return edits;
    }
    for member in members(json).unwrap_or_default() {
        if matches!(member.key().as_deref(), Some("input_preview" | "output_preview")) {
            edits.extend(string_edit(json, member.raw_value, limits.tool_call_chars));
        }
    }
    edits
}

fn tool_invoked_edits(json: &str, limits: PreviewLimits) -> Vec<Edit> {
    let mut edits = Vec::new();
    for member in members(json).unwrap_or_default() {
        if matches!(member.key().as_deref(), Some("tool_input_summary" | "tool_output_summary")) {
            edits.extend(summary_edits(json, member.raw_value, limits));
        }
    }
    edits
}

fn summary_edits(json: &str, summary: &str, limits: PreviewLimits) -> Vec<Edit> {
    let members = members(summary).unwrap_or_default();
    let mut edits = Vec::new();
    for member in &members {
        match member.key().as_deref() {
            Some("preview") => {
                edits.extend(string_edit(json, member.raw_value, limits.summary_chars));
            }
            Some("highlights") => {
                edits.extend(array_edit(json, member.raw_value, limits.highlights));
            }
            _ => {}
        }
    }
    if edits.is_empty() {
        return edits;
    }
    let truncated: Vec<_> = members.iter().filter(|member| member.key().as_deref() == Some("truncated")).collect();
    for member in &truncated {
        if member.raw_value != "true" {
            edits.push((range_in(json, member.raw_value), "true"));
        }
    }
    if let (true, Some(last)) = (truncated.is_empty(), members.last()) {
        let end = range_in(json, last.raw_value).end;
        edits.push((end..end, r#","truncated":true"#));
    }
    edits
}

fn string_edit(json: &str, raw: &str, max_chars: usize) -> Option<Edit> {
    let cut = cut_at(raw, max_chars)?;
    let range = range_in(json, raw);
    Some((range.start + cut..range.end, "\""))
}

fn array_edit(json: &str, raw: &str, max_len: usize) -> Option<Edit> {
    let elements = elements(raw).filter(|elements| elements.len() > max_len)?;
    let start = match max_len.checked_sub(1).and_then(|last| elements.get(last)) {
        Some(last_kept) => range_in(json, last_kept).end,
        None => offset_in(json, raw) + 1,
    };
    Some((start..range_in(json, raw).end, "]"))
}

/// Where to cut a string literal that has more than `max_chars` characters: a byte offset in it, before the closing quote.
/// None: it is short enough, or no string. An escape is one character, a surrogate pair of escapes too.
pub(super) fn cut_at(raw: &str, max_chars: usize) -> Option<usize> {
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

/// Bytes of the first character of a string literal's inside. None: the end.
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

fn range_in(json: &str, slice: &str) -> Range<usize> {
    let start = offset_in(json, slice);
    start..start + slice.len()
}

/// Edits never overlap: each belongs to another value.
fn apply(json: &str, mut edits: Vec<Edit>) -> String {
    // Stable: an insertion stays behind the edit that ends where it stands.
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = String::with_capacity(json.len());
    let mut done = 0;
    for (range, text) in edits {
        out.push_str(&json[done..range.start]);
        out.push_str(text);
        done = range.end;
    }
    out.push_str(&json[done..]);
    out
}

#[cfg(test)]
#[path = "cut_tests.rs"]
mod tests;
