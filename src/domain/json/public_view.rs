//! Public view of a payload, computed when an event is read. The stored payload is always the payload as sent.
//!
//! - The top-level members `input`, `metadata`, `attachment_refs` and `sensitivity_tags` are removed.
//! - Raw input and output (`input`, `output`, `tool_input`, `tool_output`) of `tool_call` and `run.tool.invoked` are removed.
//!   A preview or summary is generated from the raw value if the producer sent none.
//! - Previews and summaries are cut to their limits, and secrets in previews and summaries are masked.
//!
//! Sources of the rules: public run events (removed members, summaries) and the agent SDK (previews of 500 characters).

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::packed::Searcher;

use super::preview::{PreviewLimits, cut_previews, preview_of, tool_summary};
use super::redaction::members::{Member, encode_string, members};
use super::redaction::{is_sensitive, redact, without};

/// View of payloads in a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Payloads without sensitive members, with bounded previews of tool input and output.
    #[default]
    Public,
    /// Payloads as sent.
    Full,
}

/// A payload in the view of the reader.
#[derive(Debug, PartialEq, Eq)]
pub struct ShownPayload<'a> {
    /// JSON text; borrowed if equal to the payload as sent.
    pub json: Cow<'a, str>,
    /// Whether the text differs from the payload as sent.
    pub redacted: bool,
}

impl View {
    /// The cheapest view with the same result: `Full` for events whose public view equals the payload. `sensitive` is the
    /// store's flag of the events.
    #[must_use]
    pub fn where_it_may_differ(self, sensitive: bool) -> Self {
        if sensitive { self } else { Self::Full }
    }

    /// The payload of an event of this type in this view.
    #[must_use]
    pub fn show<'a>(self, event_type: &str, json: &'a str) -> ShownPayload<'a> {
        let public = match self {
            Self::Public => public_view(event_type, json, PreviewLimits::DOCUMENTED),
            Self::Full => None,
        };
        let redacted = public.is_some();
        ShownPayload { json: public.map_or(Cow::Borrowed(json), Cow::Owned), redacted }
    }
}

/// Raw input or output of a tool, and the member with its short form. Of `raw` the first member present counts.
struct Shown {
    raw: [&'static str; 2],
    short: &'static str,
    make: fn(&str, PreviewLimits) -> String,
}

const OF_TOOL_CALL: [Shown; 2] = [
    Shown { raw: ["input", "tool_input"], short: "input_preview", make: preview },
    Shown { raw: ["output", "tool_output"], short: "output_preview", make: preview },
];

const OF_TOOL_INVOKED: [Shown; 2] = [
    Shown { raw: ["tool_input", "input"], short: "tool_input_summary", make: tool_summary },
    Shown { raw: ["tool_output", "output"], short: "tool_output_summary", make: tool_summary },
];

fn preview(raw: &str, limits: PreviewLimits) -> String {
    encode_string(&preview_of(raw, limits.tool_call_chars))
}

/// The public view of a payload. `None`: equal to the payload as sent.
#[must_use]
pub fn public_view(event_type: &str, json: &str, limits: PreviewLimits) -> Option<String> {
    let tool_members = match event_type {
        "tool_call" => &OF_TOOL_CALL,
        "run.tool.invoked" => &OF_TOOL_INVOKED,
        _ => return redact(json),
    };
    let shortened = shortened(json, tool_members, limits);
    let text = shortened.as_deref().unwrap_or(json);
    let bounded = match cut_previews(event_type, text, limits) {
        Cow::Owned(bounded) => Some(bounded),
        Cow::Borrowed(_) => shortened,
    };
    redact(bounded.as_deref().unwrap_or(json)).or(bounded)
}

/// Whether [`public_view`] may differ from the payload. False is exact. True may be wrong for types with previews, which are
/// checked at each read.
#[must_use]
pub fn may_differ(event_type: &str, json: &str) -> bool {
    match event_type {
        "tool_call" => !is_plain_tool_call(json),
        "run.tool.invoked" => true,
        _ => is_sensitive(json),
    }
}

/// Whether events of this type have previews (`tool_call`) or summaries (`run.tool.invoked`).
#[must_use]
pub fn has_previews(event_type: &str) -> bool {
    matches!(event_type, "tool_call" | "run.tool.invoked")
}

/// Fast path for most tool calls, which have short previews only: a search of the bytes, without a parse.
fn is_plain_tool_call(json: &str) -> bool {
    // Keys of raw input and output, keys removed from every payload, and escapes, which may hide a key.
    static SIGNS: LazyLock<Option<Searcher>> = LazyLock::new(|| {
        Searcher::new(["input\"", "output\"", "metadata", "attachment_refs", "sensitivity_tags", "\\u"])
    });
    json.len() <= PreviewLimits::DOCUMENTED.tool_call_chars
        // No second object or array, not even inside a string.
        && memchr::memchr2_iter(b'{', b'[', json.as_bytes()).nth(1).is_none()
        && SIGNS.as_ref().is_some_and(|signs| signs.find(json).is_none())
}

/// The payload with the short forms in place of raw input and output. `None`: there is no raw member.
fn shortened(json: &str, tool_members: &[Shown; 2], limits: PreviewLimits) -> Option<String> {
    let all = members(json)?;
    let is_raw = |member: &Member<'_>| tool_members.iter().any(|shown| shown.raw.contains(&&*member.key()));
    let missing: Vec<(&Shown, &str)> = tool_members.iter().filter_map(|shown| missing(&all, shown)).collect();
    // A null in the member of a generated short form.
    let is_replaced = |member: &Member<'_>| missing.iter().any(|(shown, _)| member.key() == shown.short);
    let mut text = without(json, &all, |member| is_raw(member) || is_replaced(member))?;
    let close = text.rfind('}')?;
    let mut is_empty = all.iter().all(|member| is_raw(member) || is_replaced(member));
    let mut made = String::new();
    for (shown, raw) in missing {
        if !is_empty {
            made.push(',');
        }
        is_empty = false;
        made.push_str(&format!("{}:{}", encode_string(shown.short), (shown.make)(raw, limits)));
    }
    text.insert_str(close, &made);
    Some(text)
}

/// The raw value that needs a short form; `None`: no raw value, or the producer sent a short form.
fn missing<'s, 'a>(all: &[Member<'a>], shown: &'s Shown) -> Option<(&'s Shown, &'a str)> {
    let is_there = all.iter().any(|member| member.key() == shown.short && member.raw_value != "null");
    let last = |key: &&str| all.iter().rev().find(|member| member.key() == **key);
    let raw = shown.raw.iter().filter_map(last).find(|member| member.raw_value != "null")?;
    (!is_there).then_some((shown, raw.raw_value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(event_type: &str, json: &str) -> Option<String> {
        public_view(event_type, json, PreviewLimits::DOCUMENTED)
    }

    #[test]
    fn raw_input_and_output_of_a_tool_call_are_shown_as_previews_without_secrets() {
        let sent =
            r#"{ "tool_name":"web", "input": {"q":"Zurich","api_key":"sk-1"} ,"phase":"end","output":["12 °C"]}"#;
        assert_eq!(
            view("tool_call", sent).unwrap(),
            r#"{ "tool_name":"web","phase":"end","input_preview":"{\"q\":\"Zurich\",\"api_key\":\"[REDACTED]\"}","output_preview":"[\"12 °C\"]"}"#
        );
        // The producer's own preview stays.
        assert_eq!(view("tool_call", r#"{"input":"a","input_preview":"b"}"#).unwrap(), r#"{"input_preview":"b"}"#);
        assert_eq!(view("tool_call", r#"{"output":"a","output_preview":null}"#).unwrap(), r#"{"output_preview":"a"}"#);
        assert_eq!(view("tool_call", r#"{"tool_input":"a"}"#).unwrap(), r#"{"input_preview":"a"}"#);
    }

    #[test]
    fn raw_input_and_output_of_an_invoked_tool_are_shown_as_summaries_without_secrets() {
        let sent = r#"{"tool_call_id":"c","tool_input":{"q":"docs","password":"hunter2"},"tool_output":"ok"}"#;
        let shown = view("run.tool.invoked", sent).unwrap();
        assert!(!shown.contains("hunter2"), "{shown}");
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["tool_input_summary"]["stats"]["fields_redacted"], 1);
        assert_eq!(shown["tool_output_summary"]["preview"], "ok");
        assert_eq!((shown.get("tool_input"), shown.get("tool_output")), (None, None));
    }

    #[test]
    fn a_preview_that_is_no_string_is_cut_as_its_json_text() {
        let long = format!(r#"{{"input_preview":{{"a":[ "{}" ]}}}}"#, "x".repeat(600));
        let shown: serde_json::Value = serde_json::from_str(&view("tool_call", &long).unwrap()).unwrap();
        let preview = shown["input_preview"].as_str().unwrap();
        assert_eq!(preview.chars().count(), 500);
        assert!(preview.starts_with(r#"{"a":["xxx"#), "{preview}");
        assert_eq!(view("tool_call", r#"{"input_preview":{"a":[1, 2]}}"#), None, "a short one stays as sent");
        let secret = r#"{"input_preview":{"token":"t1"},"output_preview":"{\"token\":\"t2\"}"}"#;
        let masked = r#"{"input_preview":"{\"token\":\"[REDACTED]\"}","output_preview":"{\"token\":\"[REDACTED]\"}"}"#;
        assert_eq!(view("tool_call", secret).unwrap(), masked);
    }

    #[test]
    fn a_summary_that_is_none_and_a_highlight_that_is_too_long_are_bounded() {
        let long = "x".repeat(5_000);
        for sent in [
            format!(r#"{{"tool_input_summary":"{long}"}}"#),
            format!(r#"{{"tool_input_summary":["{long}"]}}"#),
            format!(r#"{{"tool_input_summary":{{"preview":["{long}"]}}}}"#),
            format!(r#"{{"tool_input_summary":{{"highlights":[{{"key":"k","value":"{long}"}}]}}}}"#),
            format!(r#"{{"tool_input_summary":{{"highlights":[{{"key":"k","value":{{"a":"{long}"}}}}]}}}}"#),
        ] {
            let shown = view("run.tool.invoked", &sent).unwrap();
            assert!(shown.len() < 1_000 && shown.contains("true"), "{shown}");
        }
        let secret = r#"{"tool_input_summary":{"highlights":[{"key":"password","value":"hunter2"}],"truncated":true}}"#;
        assert!(!view("run.tool.invoked", secret).unwrap().contains("hunter2"));
    }

    #[test]
    fn a_tool_call_that_is_taken_as_it_is_has_nothing_to_bound() {
        for (json, differs) in [
            (r#"{"tool_name":"web_search","phase":"end","input_preview":"Zurich","output_preview":"12 °C"}"#, false),
            (r#"{"tool_name":"web_search","input":"x"}"#, true),
            (r#"{"tool_name":"web_search","tool_output":"x"}"#, true),
            (r#"{"tool_name":"web_search","metadata":1}"#, true),
            (r#"{"\u0069nput":1}"#, true),
            (r#"{"input_preview":{"token":"t"}}"#, true),
            (r#"{"input_preview":"{\"token\":\"t\"}"}"#, true),
        ] {
            assert_eq!(may_differ("tool_call", json), differs, "{json}");
            assert_eq!(view("tool_call", json).is_some(), differs, "{json}");
        }
        assert!(may_differ("tool_call", &format!(r#"{{"input_preview":"{}"}}"#, "x".repeat(501))));
    }

    proptest::proptest! {
        #[test]
        fn what_differs_is_never_taken_as_it_is(
            event_type in "tool_call|run.tool.invoked|step|run_start",
            members in proptest::collection::vec(("input|output|tool_input|output_preview|metadata|n", "[a-z]{0,3}"), 0..4),
            nested: bool, long: bool,
        ) {
            let pad = if long { "x".repeat(600) } else { String::new() };
            let value = |text: &str| if nested { format!(r#"{{"token":"{text}{pad}"}}"#) } else { format!(r#""{text}{pad}""#) };
            let members: Vec<String> = members.iter().map(|(key, text)| format!(r#""{key}":{}"#, value(text))).collect();
            let json = format!("{{{}}}", members.join(","));
            let shown = view(&event_type, &json);
            proptest::prop_assert!(shown.is_none() || may_differ(&event_type, &json), "{}", json);
            if let Some(shown) = shown {
                proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "{}", shown);
                // The public view of a public view is the same text.
                proptest::prop_assert_eq!(view(&event_type, &shown), None);
            }
        }
    }
}
