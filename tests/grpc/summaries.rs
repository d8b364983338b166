//! Input and output of tools in the public view: shortened, and without secrets.

use runlog::pb;
use runlog::pb::payload::Variant;
use serde_json::{Value, json};

use crate::builders::{json_event, typed_event};
use crate::harness::TestServer;
use crate::reading::{json_of, list_run};
use crate::refusal::refused_field;

async fn stored(server: &TestServer, event: pb::NewEvent) -> Value {
    server.publish("r", vec![event]).await;
    serde_json::from_str(json_of(server.everything().await.last().unwrap())).unwrap()
}

/// The public view of the event, and the flag for a changed payload.
async fn shown(server: &TestServer, event: pb::NewEvent) -> (Value, bool) {
    server.publish("r", vec![event]).await;
    let request =
        pb::ListEventsRequest { view: pb::EventView::Public.into(), page_size: 1, descending: true, ..list_run("r") };
    let event = server.list(request).await.unwrap().events.pop().unwrap();
    (serde_json::from_str(json_of(&event)).unwrap(), event.redacted)
}

#[tokio::test]
async fn raw_tool_input_and_output_become_summaries_with_secrets_masked() {
    let server = TestServer::start().await;
    let input = r#"{"query":"docs","api_key":"sk-123","nested":{"password":"hunter2","n":1}}"#;
    let invoked = pb::ToolInvoked {
        tool_name: Some("search".to_owned()),
        tool_input_json: Some(input.to_owned()),
        tool_output_json: Some(r#"["one","two"]"#.to_owned()),
        ..Default::default()
    };
    let event = typed_event(Variant::ToolInvoked(invoked.into()));
    let stored = stored(&server, event).await;
    assert!(!stored.to_string().contains("sk-123") && !stored.to_string().contains("hunter2"), "{stored}");
    assert!(stored.get("tool_input_json").is_none() && stored.get("tool_output_json").is_none());
    let summary = &stored["tool_input_summary"];
    let preview = r#"{"query":"docs","api_key":"[REDACTED]","nested":{"password":"[REDACTED]","n":1}}"#;
    assert_eq!(summary["preview"], preview);
    let highlights = json!([
        {"key": "query", "value": "docs", "redacted": false},
        {"key": "api_key", "value": "[REDACTED]", "redacted": true},
        {"key": "nested", "value": {"password": "[REDACTED]", "n": 1}, "redacted": true},
    ]);
    assert_eq!(summary["highlights"], highlights);
    let stats = json!({
        "fields_total": 3, "fields_redacted": 2,
        "bytes_before_redaction": input.len(), "bytes_after_redaction": preview.len(),
    });
    assert_eq!(summary["stats"], stats);
    assert_eq!((&summary["schema_version"], &summary["truncated"]), (&json!("v1"), &json!(false)));
    assert_eq!(stored["tool_output_summary"]["preview"], r#"["one","two"]"#);
}

#[tokio::test]
async fn raw_input_of_a_tool_call_becomes_a_preview_with_secrets_masked() {
    let server = TestServer::start().await;
    let call = pb::ToolCall {
        input_json: Some(r#"{"token":"abc", "q":"x"}"#.to_owned()),
        output_json: Some(format!("\"{}\"", "é".repeat(501))),
        ..Default::default()
    };
    let event = typed_event(Variant::ToolCall(call.into()));
    let stored = stored(&server, event).await;
    assert_eq!(stored["input_preview"], r#"{"token":"[REDACTED]","q":"x"}"#);
    assert_eq!(stored["output_preview"], "é".repeat(500));
    assert_eq!(stored.as_object().unwrap().len(), 2, "the raw text is never stored: {stored}");
}

#[tokio::test]
async fn the_same_raw_input_again_is_a_duplicate() {
    let server = TestServer::start().await;
    let variant = pb::ToolCall { input_json: Some(r#"{"token":1}"#.to_owned()), ..Default::default() };
    let event = pb::NewEvent { event_id: "a".to_owned(), ..typed_event(Variant::ToolCall(variant.into())) };
    server.publish("r", vec![event.clone()]).await;
    assert!(server.publish("r", vec![event]).await.events[0].duplicate);
}

#[tokio::test]
async fn raw_input_beside_its_summary_is_refused_by_name() {
    let server = TestServer::start().await;
    let raw = || Some("{}".to_owned());
    let call = pb::ToolCall { input_preview: raw(), input_json: raw(), ..Default::default() };
    let refusal = server.try_publish("r", vec![typed_event(Variant::ToolCall(call.into()))]).await;
    refused_field(refusal, "events[0].payload.tool_call.input_json");
    let summary = Some(pb::ToolSummary::default());
    let invoked = pb::ToolInvoked { tool_output_summary: summary, tool_output_json: raw(), ..Default::default() };
    let refusal = server.try_publish("r", vec![typed_event(Variant::ToolInvoked(invoked.into()))]).await;
    refused_field(refusal, "events[0].payload.tool_invoked.tool_output_json");
    let call = pb::ToolCall { input_json: Some("{".to_owned()), ..Default::default() };
    let refusal = server.try_publish("r", vec![typed_event(Variant::ToolCall(call.into()))]).await;
    refused_field(refusal, "events[0].payload.tool_call.input_json");
    assert!(server.everything().await.is_empty());
}

#[tokio::test]
async fn previews_of_a_tool_call_are_shown_up_to_500_characters_and_stored_whole() {
    let server = TestServer::start().await;
    let call = |chars: usize| json_event("tool_call", &json!({"input_preview": "é".repeat(chars), "x": 1}).to_string());
    assert_eq!(shown(&server, call(500)).await, (json!({"input_preview": "é".repeat(500), "x": 1}), false));
    assert_eq!(shown(&server, call(501)).await, (json!({"input_preview": "é".repeat(500), "x": 1}), true));
    assert_eq!(stored(&server, call(501)).await["input_preview"], "é".repeat(501));
    let typed = pb::ToolCall { output_preview: Some("é".repeat(501)), ..Default::default() };
    let (shown, _) = shown(&server, typed_event(Variant::ToolCall(typed.into()))).await;
    assert_eq!(shown["output_preview"], "é".repeat(500));
}

#[tokio::test]
async fn raw_input_of_a_json_payload_is_stored_as_sent_and_shown_as_a_summary() {
    let server = TestServer::start().await;
    let sent = r#"{"tool_name":"t","tool_input":{"q":"docs","api_key":"sk-123"},"tool_output":["one"]}"#;
    let (shown, redacted) = shown(&server, json_event("run.tool.invoked", sent)).await;
    assert!(redacted && !shown.to_string().contains("sk-123"), "{shown}");
    assert_eq!(shown["tool_input_summary"]["preview"], r#"{"q":"docs","api_key":"[REDACTED]"}"#);
    assert_eq!(shown["tool_output_summary"]["preview"], r#"["one"]"#);
    let all = server.everything().await;
    assert_eq!(json_of(all.last().unwrap()), sent);
}

#[tokio::test]
async fn previews_of_a_summary_are_shown_up_to_240_characters_and_say_so() {
    let server = TestServer::start().await;
    let invoked = |chars: usize, highlights: usize| {
        let highlight = json!({"key": "k", "value": 1, "redacted": false});
        let summary = json!({
            "schema_version": "v1", "preview": "é".repeat(chars), "highlights": vec![highlight; highlights],
            "truncated": false,
        });
        json_event("run.tool.invoked", &json!({"tool_input_summary": summary}).to_string())
    };
    for (chars, highlights, truncated) in [(240, 10, false), (241, 10, true), (240, 11, true)] {
        let (shown, redacted) = shown(&server, invoked(chars, highlights)).await;
        let summary = &shown["tool_input_summary"];
        assert_eq!(redacted, truncated);
        assert_eq!(summary["preview"], "é".repeat(240));
        assert_eq!(summary["highlights"].as_array().unwrap().len(), 10);
        assert_eq!(summary["truncated"], truncated, "{chars} characters, {highlights} highlights");
    }
    let summary = pb::ToolSummary { preview: Some("é".repeat(241)), ..Default::default() };
    let typed = pb::ToolInvoked { tool_output_summary: Some(summary), ..Default::default() };
    let (shown, _) = shown(&server, typed_event(Variant::ToolInvoked(typed.into()))).await;
    assert_eq!(shown["tool_output_summary"], json!({"preview": "é".repeat(240), "truncated": true}));
}
