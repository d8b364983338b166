use super::*;

const LIMITS: PreviewLimits = PreviewLimits::DOCUMENTED;

#[test]
fn a_summary_has_the_documented_shape() {
    assert_eq!(
        tool_summary(r#"{"query": "docs"}"#, LIMITS),
        r#"{"schema_version":"v1","preview":"{\"query\":\"docs\"}","highlights":[{"key":"query","value":"docs","redacted":false}],"stats":{"fields_total":1,"fields_redacted":0,"bytes_before_redaction":17,"bytes_after_redaction":17},"truncated":false}"#
    );
}

#[test]
fn nothing_gives_the_documented_empty_summary() {
    for raw in ["", " "] {
        assert_eq!(
            tool_summary(raw, LIMITS),
            r#"{"schema_version":"v1","stats":{"fields_total":0,"fields_redacted":0,"bytes_before_redaction":0,"bytes_after_redaction":0},"truncated":false}"#
        );
    }
}

#[test]
fn a_secret_shows_nowhere() {
    let raw = r#"{"user":"ann","password":"hunter2","headers":{"Authorization":"Bearer hunter2"}}"#;
    let summary = tool_summary(raw, LIMITS);
    assert!(!summary.contains("hunter2"), "{summary}");
    assert!(summary.contains(r#"{"key":"password","value":"[REDACTED]","redacted":true}"#));
    assert!(summary.contains(r#"{"key":"headers","value":{"Authorization":"[REDACTED]"},"redacted":true}"#));
    assert!(summary.contains(r#""fields_total":3,"fields_redacted":2"#));
    let masked = raw.replace("\"hunter2\"", "\"[REDACTED]\"").replace("Bearer hunter2", "[REDACTED]");
    assert!(summary.contains(&format!(
        r#""bytes_before_redaction":{},"bytes_after_redaction":{}"#,
        raw.len(),
        masked.len()
    )));
    assert!(!preview_of(raw, 500).contains("hunter2"));
}

#[test]
fn a_cut_through_a_secret_is_not_possible() {
    let raw = format!(r#"{{"a":"{}","password":"hunter2"}}"#, "x".repeat(200));
    for max in 0..300 {
        assert!(!preview_of(&raw, max).contains("hun"), "{max}");
    }
}

#[test]
fn what_is_cut_is_known() {
    let long_text = tool_summary(&format!(r#""{}""#, "é".repeat(241)), LIMITS);
    assert!(long_text.contains(&format!(r#""preview":"{}""#, "é".repeat(240))));
    assert!(long_text.ends_with(r#""truncated":true}"#));

    let members: Vec<_> = (0..11).map(|i| format!(r#""k{i}":{i}"#)).collect();
    let many = tool_summary(&format!("{{{}}}", members.join(",")), LIMITS);
    assert!(many.contains(r#""key":"k9""#) && !many.contains(r#""key":"k10""#));
    assert!(many.ends_with(r#""truncated":true}"#));

    let exact = tool_summary(&format!(r#""{}""#, "é".repeat(240)), LIMITS);
    assert!(exact.ends_with(r#""truncated":false}"#));
}

#[test]
fn a_summary_is_bounded_whatever_the_input() {
    let big = "x".repeat(100_000);
    let raw = format!(r#"{{"{big}":{{"a":["{big}"]}}}}"#);
    let summary = tool_summary(&raw, LIMITS);
    assert!(summary.len() < 2_000, "{}", summary.len());
    assert!(serde_json::from_str::<serde_json::Value>(&summary).is_ok());
}

#[test]
fn values_that_are_no_object_have_no_fields() {
    let summary = tool_summary(r#"[{"token":"t0"}, 1]"#, LIMITS);
    assert!(summary.contains(r#""preview":"[{\"token\":\"[REDACTED]\"},1]""#), "{summary}");
    assert!(summary.contains(r#""fields_total":0"#) && !summary.contains("highlights"));
}

#[test]
fn a_preview_shows_a_string_as_its_content_and_all_else_compact() {
    assert_eq!(preview_of(r#""Zurich \u00e9""#, 500), "Zurich é");
    assert_eq!(preview_of("{ \"a\" : [ 1, \" b \\\" \" ] }", 500), r#"{"a":[1," b \" "]}"#);
    assert_eq!(preview_of("", 500), "");
    assert_eq!(preview_of("not json", 3), "not");
    assert_eq!(preview_of("12345678901234567890.0", 500), "12345678901234567890.0");
}

proptest::proptest! {
    #[test]
    fn a_summary_of_any_text_is_json_within_its_bounds(text: String, key: String, as_member: bool) {
        let quoted = encode_string(&text);
        let raw = if as_member { format!("{{{}:{quoted}}}", encode_string(&key)) } else { text };
        let limits = PreviewLimits { tool_call_chars: 5, summary_chars: 5, highlights: 1 };
        let summary: serde_json::Value = serde_json::from_str(&tool_summary(&raw, limits)).unwrap();
        let preview = summary["preview"].as_str().unwrap_or_default();
        proptest::prop_assert!(preview.chars().count() <= 5);
        proptest::prop_assert_eq!(preview_of(&raw, 5), preview);
    }
}
