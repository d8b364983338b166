//! Values that fit a typed field, values that stay in `extra_json`, and refused values.

mod canonical;
mod examples;
mod properties;

use std::collections::BTreeSet;

use super::*;
use crate::domain::event_types::EVENT_TYPES;
use canonical::canonical;

/// Documented types without a variant.
const WITHOUT_VARIANT: [&str; 1] = ["FinishStructureRunEvent"];

fn payload(variant: Variant, extra_json: &str) -> pb::Payload {
    pb::Payload { extra_json: extra_json.to_owned(), variant: Some(variant) }
}

fn refusal(variant: Variant, extra_json: &str) -> String {
    to_json(&payload(variant, extra_json)).unwrap_err().to_string()
}

#[test]
fn a_custom_type_comes_as_the_text_that_was_sent() {
    for json in [r#"{ "a" : 1.0 }"#, "[1]", "null", r#""text""#] {
        let typed = to_typed("MyOwnEvent", json);
        assert_eq!(typed, payload(Variant::Json(json.to_owned()), ""));
        assert_eq!(to_json(&typed).as_deref(), Ok(json));
    }
}

#[test]
fn a_payload_that_no_variant_can_hold_comes_as_the_text_that_was_sent() {
    for json in ["[1]", "null", "1", r#"{"status":"A","status":"B"}"#, r#"{"a":1,"\u0061":2}"#] {
        let typed = to_typed("StructureRunStarting", json);
        assert_eq!(typed, payload(Variant::Json(json.to_owned()), ""), "{json}");
    }
}

#[test]
fn a_number_fits_only_if_it_prints_as_it_was_sent() {
    for lexeme in ["0", "-0", "1", "0.5", "3600000", "9007199254740991", "1e-7", "1.5e+300"] {
        let typed = to_typed("run.limit_exceeded", &format!(r#"{{"threshold":{lexeme}}}"#));
        assert_eq!(typed.extra_json, "", "{lexeme}");
    }
    for lexeme in ["1.0", "1e3", "-0.0", "9007199254740993", "1e400", "0.10", "null", "\"1\""] {
        let json = format!(r#"{{"threshold":{lexeme}}}"#);
        assert_eq!(to_typed("run.limit_exceeded", &json).extra_json, json);
    }
    for lexeme in ["18446744073709551616", "-1", "1.0", "1e1", "-0", "true"] {
        let json = format!(r#"{{"prompt_tokens":{lexeme}}}"#);
        assert_eq!(to_typed("run_end", &json).extra_json, json);
    }
}

#[test]
fn a_string_with_a_lone_surrogate_stays_behind_as_sent() {
    let json = r#"{"question":"\ud800","channel":"slack"}"#;
    let typed = to_typed("human_input_requested", json);
    assert_eq!(typed.extra_json, r#"{"question":"\ud800"}"#);
    assert_eq!(canonical(&to_json(&typed).unwrap()), canonical(json));
}

#[test]
fn what_a_nested_message_cannot_hold_stays_behind_in_its_place() {
    let json = r#"{"status_detail":{"reason":"x","message":null,"new":[1.0]},"judge":1}"#;
    let typed = to_typed("StructureRunCompleted", json);
    assert_eq!(typed.extra_json, r#"{"status_detail":{"message":null,"new":[1.0]},"judge":1}"#);
    assert_eq!(to_json(&typed).as_deref(), Ok(json));
}

#[test]
fn highlights_fit_all_or_not_at_all() {
    let fits = r#"{"tool_input_summary":{"highlights":[{"key":"a","value":1.0},{}]}}"#;
    assert_eq!(to_typed("run.tool.invoked", fits).extra_json, "");
    for highlights in ["[]", "null", r#"[{"key":"a"},{"key":null}]"#, "[1]", r#"[{"key":"a","key":"b"}]"#] {
        let json = format!(r#"{{"tool_input_summary":{{"highlights":{highlights}}}}}"#);
        let typed = to_typed("run.tool.invoked", &json);
        assert_eq!(typed.extra_json, json);
        assert_eq!(to_json(&typed), Ok(json));
    }
}

#[test]
fn a_member_that_may_be_any_json_is_held_as_sent() {
    for input in ["null", "1.0", r#"{ "b" : 1, "a" : 2 }"#, r#""\ud800""#, "\"\"", "false"] {
        let json = format!(r#"{{"input":{input}}}"#);
        let typed = to_typed("run_start", &json);
        let Some(Variant::RunStart(start)) = &typed.variant else { panic!("{typed:?}") };
        assert_eq!(start.input_json.as_deref(), Some(input));
        assert_eq!(to_json(&typed), Ok(json));
    }
}

#[test]
fn an_absent_payload_is_an_empty_object() {
    assert_eq!(to_json(&pb::Payload::default()).as_deref(), Ok("{}"));
    let extra_alone = pb::Payload { extra_json: r#"{"a":1}"#.to_owned(), variant: None };
    assert_eq!(to_json(&extra_alone).as_deref(), Ok(r#"{"a":1}"#));
}

#[test]
fn a_refusal_names_the_field() {
    let end = |output_json: Option<&str>, cost_usd| {
        let output_json = output_json.map(str::to_owned);
        Variant::RunEnd(pb::RunEnd { output_json, cost_usd, ..Default::default() }.into())
    };
    assert!(refusal(end(Some("{"), None), "").starts_with("run_end.output_json: is not JSON: it ends too early"));
    for number in [f64::NAN, f64::INFINITY] {
        assert!(refusal(end(None, Some(number)), "").starts_with("run_end.cost_usd: "));
    }
    for (extra, problem) in [
        ("[]", "is not a JSON object"),
        ("1", "is not a JSON object"),
        ("x", "is not JSON: text without quotes is none"),
        ("{", "is not JSON: it ends"),
    ] {
        assert!(refusal(end(None, None), extra).starts_with(&format!("extra_json: {problem}")), "{extra}");
    }
    assert!(refusal(end(None, Some(1.0)), r#"{"cost_usd":1}"#).starts_with("run_end.cost_usd: "));
    assert!(refusal(end(None, None), r#"{"a":1,"a":1}"#).starts_with("extra_json: "));
    assert!(refusal(Variant::Json("{}".to_owned()), "{}").starts_with("extra_json: "));
    assert!(refusal(Variant::Json("{".to_owned()), "").starts_with("json: "));
}

#[test]
fn a_refusal_names_the_nested_field() {
    let highlight = pb::Highlight { value_json: Some("x".to_owned()), ..Default::default() };
    let summary = pb::ToolSummary { highlights: vec![highlight], ..Default::default() };
    let invoked = pb::ToolInvoked { tool_input_summary: Some(summary), ..Default::default() };
    let refused = refusal(Variant::ToolInvoked(invoked.into()), "");
    assert!(refused.starts_with(
        "tool_invoked.tool_input_summary.highlights[0].value_json: is not JSON: text without quotes is none"
    ));

    let detail = pb::StatusDetail { reason: Some("x".to_owned()), ..Default::default() };
    let error = pb::StructureRunError { status_detail: Some(detail), ..Default::default() };
    for extra in [r#"{"status_detail":{"reason":null}}"#, r#"{"status_detail":null}"#] {
        let refused = refusal(Variant::StructureRunError(error.clone().into()), extra);
        assert!(refused.starts_with("structure_run_error.status_detail"), "{refused}");
    }
}

#[test]
fn doubles_print_like_javascript_integers_where_they_are_integers() {
    for (number, lexeme) in
        [(1.0, "1"), (-0.0, "-0"), (740.0, "740"), (0.1, "0.1"), (9_007_199_254_740_991.0, "9007199254740991")]
    {
        let step = pb::Step { duration_ms: Some(number), ..Default::default() };
        let json = to_json(&payload(Variant::Step(step.into()), "")).unwrap();
        assert_eq!(json, format!(r#"{{"duration_ms":{lexeme}}}"#));
    }
}

#[test]
fn raw_tool_output_becomes_a_summary_and_is_not_stored() {
    let invoked = pb::ToolInvoked {
        tool_name: Some("login".to_owned()),
        tool_input_json: Some(r#"{"user":"ann","password":"hunter2"}"#.to_owned()),
        tool_output_json: Some(r#""ok""#.to_owned()),
        duration_ms: Some(45.0),
        ..Default::default()
    };
    let json = to_json(&payload(Variant::ToolInvoked(invoked.into()), "")).unwrap();
    assert!(!json.contains("hunter2") && !json.contains("tool_input_json"), "{json}");
    let typed = to_typed("run.tool.invoked", &json);
    assert_eq!(typed.extra_json, "");
    let Some(Variant::ToolInvoked(stored)) = typed.variant else { panic!("{json}") };
    let input = stored.tool_input_summary.unwrap();
    assert_eq!(input.highlights.len(), 2);
    assert_eq!(input.stats.unwrap().fields_redacted, Some(1));
    assert_eq!(stored.tool_output_summary.unwrap().preview.as_deref(), Some("ok"));
}

#[test]
fn raw_tool_input_becomes_a_preview_within_the_limit() {
    let call = pb::ToolCall { input_json: Some(format!("\"{}\"", "é".repeat(501))), ..Default::default() };
    let json = to_json(&payload(Variant::ToolCall(call.into()), "")).unwrap();
    assert_eq!(json, format!(r#"{{"input_preview":"{}"}}"#, "é".repeat(500)));
    let call = pb::ToolCall { output_json: Some(r#"{"a": 1}"#.to_owned()), ..Default::default() };
    let limits = PreviewLimits { tool_call_chars: 3, ..PreviewLimits::default() };
    let json = to_json_within(&payload(Variant::ToolCall(call.into()), ""), limits).unwrap();
    assert_eq!(json, r#"{"output_preview":"{\"a"}"#);
}

#[test]
fn raw_tool_input_beside_its_preview_is_refused() {
    let text = Some("\"x\"".to_owned());
    let call = pb::ToolCall { input_json: text.clone(), input_preview: text.clone(), ..Default::default() };
    assert!(refusal(Variant::ToolCall(call.into()), "").starts_with("tool_call.input_json: "));
    let call = pb::ToolCall { input_json: text.clone(), ..Default::default() };
    assert!(refusal(Variant::ToolCall(call.into()), r#"{"input_preview":"x"}"#).starts_with("tool_call.input_json: "));
    let invoked = pb::ToolInvoked {
        tool_output_json: text,
        tool_output_summary: Some(pb::ToolSummary::default()),
        ..Default::default()
    };
    assert!(refusal(Variant::ToolInvoked(invoked.into()), "").starts_with("tool_invoked.tool_output_json: "));
    let call = pb::ToolCall { input_json: Some("{".to_owned()), ..Default::default() };
    assert!(refusal(Variant::ToolCall(call.into()), "").starts_with("tool_call.input_json: is not JSON: it ends"));
}

#[test]
fn each_documented_type_has_one_variant_or_is_listed_as_having_none() {
    let documented: BTreeSet<&str> = EVENT_TYPES.iter().map(|documented| documented.name).collect();
    let listed: Vec<&str> = tables::TYPES.iter().chain(&WITHOUT_VARIANT).copied().collect();
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), documented);
    assert_eq!(listed.len(), documented.len(), "no type is listed twice");
}

#[test]
fn a_variant_knows_its_types() {
    let start = payload(Variant::RunStart(Box::default()), "");
    assert_eq!(default_type(&start), Some("run_start"));
    let transition = payload(Variant::StatusTransition(Box::default()), "");
    assert_eq!(default_type(&transition), None);
    assert_eq!(allowed_types(&transition).len(), 7);
    let any = payload(Variant::Json("{}".to_owned()), "");
    assert_eq!((default_type(&any), allowed_types(&any)), (None, [].as_slice()));
    for event_type in tables::TYPES {
        assert!(allowed_types(&to_typed(event_type, "{}")).contains(event_type), "{event_type}");
    }
}
