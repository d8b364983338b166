//! The public view of tool input and output and of client data: equal in every REST API and over gRPC, and the full
//! view on request.

use runlog::config::ViewOption;
use runlog::pb;
use runlog::pb::list_events_request::Scope;
use serde_json::{Value, json};

use crate::harness::Gateway;

/// Reads that show payloads, in each API: lists, streams, one event, logs.
const READS: [&str; 7] = [
    "/api/structure-runs/r/events",
    "/api/structure-runs/r/events/stream",
    "/api/structure-runs/r/logs",
    "/api/runs/r/events",
    "/api/runs/r/events/stream",
    "/v1/runs/r/events",
    "/v1/runs/r/events/stream",
];

/// Types, payloads with secrets and long texts, and the public payloads.
fn cases() -> Vec<(&'static str, Value, Value)> {
    let long = "é".repeat(600);
    vec![
        ("run_start", json!({"framework": "f", "input": {"s": "SECRET-0"}}), json!({"framework": "f"})),
        (
            "tool_call",
            json!({"tool_name": "t", "input": {"q": 1, "api_key": "SECRET-1"}, "output": "done"}),
            json!({"tool_name": "t", "input_preview": r#"{"api_key":"[REDACTED]","q":1}"#, "output_preview": "done"}),
        ),
        ("tool_call", json!({"input_preview": long}), json!({"input_preview": "é".repeat(500)})),
        (
            "tool_call",
            json!({"output_preview": {"token": "SECRET-2"}}),
            json!({"output_preview": r#"{"token":"[REDACTED]"}"#}),
        ),
        (
            "run.tool.invoked",
            json!({"tool_name": "t", "tool_input": {"password": "SECRET-3"}}),
            json!({"tool_name": "t", "tool_input_summary": {
                "schema_version": "v1", "preview": r#"{"password":"[REDACTED]"}"#,
                "highlights": [{"key": "password", "value": "[REDACTED]", "redacted": true}],
                "stats": {"fields_total": 1, "fields_redacted": 1, "bytes_before_redaction": 23,
                    "bytes_after_redaction": 25},
                "truncated": false,
            }}),
        ),
        ("note", json!({"n": 1}), json!({"n": 1})),
        ("error", json!({"error_type": "E", "metadata": "SECRET-4"}), json!({"error_type": "E"})),
    ]
}

async fn publish(gateway: &Gateway) {
    // The APIs publish the events in turn.
    for (index, (event_type, payload, _)) in cases().into_iter().enumerate() {
        let (path, body) = match index % 3 {
            0 => ("/api/ingest", json!({"event_type": event_type, "sdk_run_id": "r", "payload": payload})),
            1 => ("/api/structure-runs/r/events", json!({"type": event_type, "payload": payload})),
            _ => ("/v1/runs/r/events", json!({"type": event_type, "payload": payload})),
        };
        let (status, answer) = gateway.post(path, &body.to_string()).await;
        assert!(matches!(status, 201 | 202), "{path}: {answer}");
    }
}

/// The payloads of a list, without the envelope.
async fn listed(gateway: &Gateway, path: &str) -> Vec<Value> {
    let (status, page) = gateway.get(path).await;
    assert_eq!(status, 200, "{path}: {page}");
    let payload = |event: &Value| event["payload"].get("value").unwrap_or(&event["payload"]).clone();
    page["events"].as_array().unwrap().iter().map(payload).collect()
}

async fn listed_over_grpc(gateway: &Gateway, view: pb::EventView) -> Vec<(Value, bool)> {
    let request = pb::ListEventsRequest {
        scope: Some(Scope::RunId("r".to_owned())),
        payload_format: pb::PayloadFormat::Json.into(),
        view: view.into(),
        ..Default::default()
    };
    let page = gateway.events().await.list_events(request).await.unwrap().into_inner();
    let shown = |event: pb::Event| match event.payload.and_then(|payload| payload.variant) {
        Some(pb::payload::Variant::Json(json)) => (serde_json::from_str(&json).unwrap(), event.redacted),
        other => panic!("{other:?}"),
    };
    page.events.into_iter().map(shown).collect()
}

#[tokio::test]
async fn every_rest_api_and_grpc_show_the_same_public_view_and_keep_all_that_was_sent() {
    let gateway = Gateway::start().await;
    publish(&gateway).await;
    let (sent, public): (Vec<_>, Vec<_>) = cases().into_iter().map(|(_, sent, public)| (sent, public)).unzip();
    for path in ["/api/structure-runs/r/events", "/api/runs/r/events", "/v1/runs/r/events"] {
        assert_eq!(listed(&gateway, path).await, public, "{path}");
        assert_eq!(listed(&gateway, &format!("{path}?view=public")).await, public, "{path}");
        assert_eq!(listed(&gateway, &format!("{path}?view=full")).await, sent, "{path}");
    }
    let differs: Vec<bool> = sent.iter().zip(&public).map(|(sent, public)| sent != public).collect();
    let over_grpc: Vec<_> = public.into_iter().zip(differs).collect();
    assert_eq!(listed_over_grpc(&gateway, pb::EventView::Public).await, over_grpc);
    let in_full = listed_over_grpc(&gateway, pb::EventView::Full).await;
    assert_eq!(in_full, sent.into_iter().map(|payload| (payload, false)).collect::<Vec<_>>());
}

#[tokio::test]
async fn no_byte_of_what_the_public_reads_holds_a_secret_and_the_full_view_holds_them_all() {
    let gateway = Gateway::start().await;
    publish(&gateway).await;
    let text = async |path: &str| {
        let (status, text) = gateway.stream(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        text
    };
    for path in READS {
        let public = text(path).await;
        assert!(!public.contains("SECRET"), "{path}: {public}");
        let full = text(&format!("{path}?view=full")).await;
        // Logs show the beginning of each payload.
        for number in 0..5 {
            assert!(full.contains(&format!("SECRET-{number}")), "{path}: {full}");
        }
        assert_eq!(text(&format!("{path}?view=public")).await, public);
    }
    for path in ["/api/runs/r", "/v1/runs/r", "/api/structure-runs/r", "/api/runs", "/v1/runs"] {
        assert!(!text(path).await.contains("SECRET"), "{path}");
    }
    let run = gateway.runs().await.get_run(pb::GetRunRequest { run_id: "r".to_owned() }).await.unwrap().into_inner();
    assert_eq!(run.run.unwrap().error_json, r#"{"error_type":"E"}"#);
    let (_, page) = gateway.get("/api/structure-runs/r/events?view=full").await;
    let one = format!("/api/events/{}", page["events"][1]["event_id"].as_str().unwrap());
    assert!(!text(&one).await.contains("SECRET") && text(&format!("{one}?view=full")).await.contains("SECRET-1"));
}

#[tokio::test]
async fn an_option_says_what_the_gateway_shows_where_a_request_does_not() {
    let gateway = Gateway::start_with(|options| options.reading.default_view = ViewOption::Full).await;
    publish(&gateway).await;
    for path in READS {
        assert!(gateway.stream(path).await.1.contains("SECRET-1"), "{path}");
        assert!(!gateway.stream(&format!("{path}?view=public")).await.1.contains("SECRET"), "{path}");
        let (status, refusal) = gateway.get(&format!("{path}?view=all")).await;
        assert!(status == 422 && refusal.to_string().contains("view"), "{path}: {refusal}");
    }
}
