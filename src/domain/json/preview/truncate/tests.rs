use super::*;
use crate::domain::json::redaction::members::encode_string;

const SMALL: PreviewLimits = PreviewLimits { tool_call_chars: 3, summary_chars: 3, highlights: 2 };

fn cut(event_type: &str, json: &str) -> String {
    cut_previews(event_type, json, SMALL).into_owned()
}

#[test]
fn a_long_preview_of_a_tool_call_is_cut_and_the_rest_stays_as_sent() {
    assert_eq!(
        cut("tool_call", r#" { "input_preview" : "abcd" , "n":1.0,"output_preview":"abc","other":"abcdef"} "#),
        r#" { "input_preview" : "abc" , "n":1.0,"output_preview":"abc","other":"abcdef"} "#
    );
}

#[test]
fn a_character_is_never_split() {
    for (sent, kept) in [
        ("éééé", "ééé"),
        ("ab😀d", "ab😀"),
        (r"ab\ud83d\ude00d", r"ab\ud83d\ude00"),
        (r"\n\\\u00e9\n", r"\n\\\u00e9"),
        (r"a\ud800\ud83d\ude00b", r"a\ud800\ud83d\ude00"),
        (r"ab\ud800\n", r"ab\ud800"),
    ] {
        let json = format!(r#"{{"input_preview":"{sent}"}}"#);
        assert_eq!(cut("tool_call", &json), format!(r#"{{"input_preview":"{kept}"}}"#));
    }
}

#[test]
fn what_is_short_enough_is_borrowed() {
    let exact = "x".repeat(500);
    let json = format!(r#"{{"input_preview":"{exact}","output_preview":12}}"#);
    let limits = PreviewLimits::default();
    assert!(matches!(cut_previews("tool_call", &json, limits), Cow::Borrowed(_)));
    let long = format!(r#"{{"input_preview":"{exact}x"}}"#);
    assert!(matches!(cut_previews("tool_call", &long, limits), Cow::Owned(_)));
    assert!(matches!(cut_previews("step", &long, limits), Cow::Borrowed(_)));
    assert!(matches!(cut_previews("tool_call", "[1,2,3,4,5]", SMALL), Cow::Borrowed(_)));
}

#[test]
fn a_summary_that_is_cut_says_so() {
    assert_eq!(
        cut("run.tool.invoked", r#"{"tool_input_summary":{"preview":"abcd","truncated": false},"a":1}"#),
        r#"{"tool_input_summary":{"preview":"abc","truncated": true},"a":1}"#
    );
    assert_eq!(
        cut("run.tool.invoked", r#"{"tool_output_summary":{ "preview":"abcd" }}"#),
        r#"{"tool_output_summary":{ "preview":"abc","truncated":true }}"#
    );
    assert_eq!(
        cut("run.tool.invoked", r#"{"tool_output_summary":{"truncated":true,"highlights":[ {"key":1} , 2 , 3 ]}}"#),
        r#"{"tool_output_summary":{"truncated":true,"highlights":[ {"key":1} , 2]}}"#
    );
}

#[test]
fn a_summary_within_its_limits_is_borrowed() {
    let json =
        r#"{"tool_input_summary":{"preview":"abc","highlights":[1,2],"truncated":false},"tool_output_summary":null}"#;
    assert!(matches!(cut_previews("run.tool.invoked", json, SMALL), Cow::Borrowed(_)));
}

#[test]
fn a_limit_of_nothing_leaves_nothing() {
    let limits = PreviewLimits { tool_call_chars: 0, summary_chars: 0, highlights: 0 };
    let json = r#"{"tool_input_summary":{"preview":"a","highlights":[1]}}"#;
    assert_eq!(
        cut_previews("run.tool.invoked", json, limits),
        r#"{"tool_input_summary":{"preview":"","highlights":[],"truncated":true}}"#
    );
}

proptest::proptest! {
    #[test]
    fn a_cut_preview_is_the_beginning_of_what_was_sent(text: String, max in 0_usize..12, ascii: bool) {
        let mut literal = encode_string(&text);
        if ascii {
            literal = literal.chars().map(escaped).collect();
        }
        let json = format!(r#"{{"input_preview":{literal},"pad":"{}"}}"#, "x".repeat(12));
        let limits = PreviewLimits { tool_call_chars: max, ..SMALL };
        let cut = cut_previews("tool_call", &json, limits).into_owned();
        let kept: String = text.chars().take(max).collect();
        let value: serde_json::Value = serde_json::from_str(&cut).unwrap();
        proptest::prop_assert_eq!(value["input_preview"].as_str(), Some(kept.as_str()));
    }

    #[test]
    fn text_that_is_no_json_is_left_alone(text: String) {
        if serde_json::from_str::<serde_json::Value>(&text).is_err() {
            for event_type in ["tool_call", "run.tool.invoked"] {
                proptest::prop_assert_eq!(cut_previews(event_type, &text, SMALL), text.as_str());
            }
        }
    }
}

/// A character as JSON escapes, surrogate pairs included; ASCII unchanged.
fn escaped(c: char) -> String {
    if c.is_ascii() {
        return c.to_string();
    }
    let mut units = [0; 2];
    c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

#[test]
fn nothing_in_a_summary_goes_around_its_bounds_and_its_masks() {
    for summary in [
        r#"{"args":{"password":"hunter2"}}"#,
        r#"{"password":"hunter2"}"#,
        r#"{"preview":"{\"password\":\"hunter2\",\"body\":\"xx"}"#,
        r#"{"truncated":{"password":"hunter2"}}"#,
        r#"{"highlights":{"password":"hunter2"}}"#,
        r#"{"highlights":[{"password":"hunter2"}]}"#,
        r#"{"highlights":["{\"password\":\"hunter2\"}"]}"#,
        r#"{"highlights":[{"key":"a","key":"password","value":"hunter2"}]}"#,
        r#"{"highlights":[{"value":"hunter2","key":"password"}]}"#,
    ] {
        let sent = format!(r#"{{"tool_input_summary":{summary}}}"#);
        let shown = cut_previews("run.tool.invoked", &sent, PreviewLimits::DOCUMENTED);
        assert!(!shown.contains("hunter2"), "{sent}: {shown}");
        assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "{shown}");
        let again = cut_previews("run.tool.invoked", &shown, PreviewLimits::DOCUMENTED);
        assert_eq!(again, shown, "once");
    }
    let long = "x".repeat(100_000);
    let sent =
        format!(r#"{{"tool_input_summary":{{"more":"{long}","highlights":[{{"key":"{long}","more":["{long}"]}}]}}}}"#);
    assert!(cut_previews("run.tool.invoked", &sent, PreviewLimits::DOCUMENTED).len() < 1_000);
}
