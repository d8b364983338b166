//! One log, several APIs: events published over gRPC are read here, and the reverse.

use runlog::pb;
use serde_json::{Value, json};

use super::{INGEST, ingest};
use crate::harness::Gateway;

fn json_event(event_type: &str, payload: &str) -> pb::NewEvent {
    let variant = Some(pb::payload::Variant::Json(payload.to_owned()));
    let payload = Some(pb::Payload { variant, ..pb::Payload::default() });
    pb::NewEvent { r#type: event_type.to_owned(), payload, ..pb::NewEvent::default() }
}

async fn publish(gateway: &Gateway, events: Vec<pb::NewEvent>) -> pb::PublishResponse {
    let request = pb::PublishRequest { run_id: "r".to_owned(), events, ..pb::PublishRequest::default() };
    gateway.events().await.publish(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn what_grpc_publishes_reads_here_with_any_payload() {
    let gateway = Gateway::start().await;
    let payloads = ["null", "[1, 2]", "\"text\"", "12345678901234567890123", r#"{"kept":{"input":1},"b":1,"b":2}"#];
    publish(&gateway, payloads.iter().map(|payload| json_event("anything", payload)).collect()).await;
    let response = gateway.client.get(gateway.url("/api/runs/r/events")).send().await.unwrap();
    let text = response.text().await.unwrap();
    for payload in payloads {
        assert!(text.contains(&format!(r#""payload":{payload}}}"#)), "{payload}: {text}");
    }
}

#[tokio::test]
async fn a_run_of_another_system_is_shown_in_the_terms_of_this_api() {
    let gateway = Gateway::start().await;
    let steps = [
        ("note", "{}", "pending"),
        ("run.created", "{}", "queued"),
        ("StructureRunStarting", "{}", "starting"),
        ("StructureRunRunning", "{}", "running"),
        ("run.worker.stalled", "{}", "stalled"),
        ("run.awaiting_input", r#"{"reason_code":"approval","input_kind":"choice"}"#, "waiting_for_input"),
        ("run.cancelled", "{}", "cancelled"),
    ];
    for (event_type, payload, status) in steps {
        publish(&gateway, vec![json_event(event_type, payload)]).await;
        let (_, run) = gateway.get("/api/runs/r").await;
        assert_eq!(run["status"], status, "{event_type}");
        let (_, page) = gateway.get(&format!("/api/runs?status={status}")).await;
        assert_eq!(page["runs"], json!([run]), "{status}");
        if status == "waiting_for_input" {
            let pending = &run["pending_input"];
            assert_eq!((&pending["reason_code"], &pending["input_kind"]), (&json!("approval"), &json!("choice")));
            assert_eq!((&pending["question"], &pending["requested_seq"]), (&Value::Null, &json!(6)));
        }
    }
    let (_, page) = gateway.get("/api/runs/r/events").await;
    let origins: Vec<_> = page["events"].as_array().unwrap().iter().map(|event| &event["origin"]).collect();
    assert_eq!(origins, ["user", "system", "system", "system", "system", "system", "system"]);
}

#[tokio::test]
async fn what_is_ingested_here_reads_over_grpc() {
    let gateway = Gateway::start().await;
    let payload = r#"{ "z":1,"a":{"q":12345678901234567890123} }"#;
    let body = format!(
        r#"{{"event_type":"step","sdk_run_id":"r","agent_name":"a","event_id":"e","occurred_at":"2026-04-02T12:00:00.123456789+02:00","payload":{payload}}}"#
    );
    assert_eq!(gateway.post(INGEST, &body).await.0, 202);
    let request = pb::ListEventsRequest {
        scope: Some(pb::list_events_request::Scope::RunId("r".to_owned())),
        payload_format: pb::PayloadFormat::Json.into(),
        view: pb::EventView::Full.into(),
        ..pb::ListEventsRequest::default()
    };
    let listed = gateway.events().await.list_events(request).await.unwrap().into_inner();
    let [event] = listed.events.as_slice() else { panic!("{listed:?}") };
    assert_eq!((event.event_id.as_str(), event.agent_name.as_str(), event.r#type.as_str()), ("e", "a", "step"));
    let at = event.occurred_at.unwrap();
    assert_eq!((at.seconds, at.nanos), (1_775_124_000, 123_456_789));
    let payload_back = event.payload.clone().unwrap().variant;
    assert_eq!(payload_back, Some(pb::payload::Variant::Json(payload.to_owned())));
    // Here the time is the sent instant.
    let (_, page) = gateway.get("/api/runs/r/events").await;
    assert_eq!(page["events"][0]["occurred_at"], "2026-04-02T10:00:00.123456789Z");
}

#[tokio::test]
async fn a_run_that_is_ingested_here_is_the_same_run_over_grpc() {
    let gateway = Gateway::start().await;
    let usage = json!({ "output": { "a": 1 }, "prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5,
        "cost_usd": 0.25, "model": "m" });
    for (event_type, payload) in [("run_start", json!({})), ("run_end", usage)] {
        let event = json!({ "event_type": event_type, "sdk_run_id": "r", "agent_name": "a", "payload": payload });
        ingest(&gateway, &event).await;
    }
    let request = pb::GetRunRequest { run_id: "r".to_owned() };
    let there = gateway.runs().await.get_run(request).await.unwrap().into_inner().run.unwrap();
    let (_, here) = gateway.get("/api/runs/r").await;
    assert_eq!((there.status(), &here["status"]), (pb::RunStatus::Succeeded, &json!("success")));
    assert_eq!((there.output_json.as_str(), &here["output"]), (r#"{"a":1}"#, &json!({ "a": 1 })));
    assert_eq!((there.agent_name.as_str(), &here["agent_name"]), ("a", &json!("a")));
    assert_eq!((there.last_seq, &here["last_seq"]), (2, &json!(2)));
    let usage = there.usage.unwrap();
    assert_eq!(
        (&here["tokens"], &here["cost_usd"], &here["model"]),
        (&json!({ "prompt": 2, "completion": 3, "total": 5 }), &json!(usage.cost_usd), &json!(usage.model))
    );
}

#[tokio::test]
async fn the_same_event_over_both_apis_is_stored_once() {
    let gateway = Gateway::start().await;
    let text = format!(r#"{{"input_preview":"{}"}}"#, "x".repeat(501));
    let event = pb::NewEvent { event_id: "e".to_owned(), ..json_event("tool_call", &text) };
    publish(&gateway, vec![event.clone()]).await;
    let payload: Value = serde_json::from_str(&text).unwrap();
    let here = json!({ "event_type": "tool_call", "sdk_run_id": "r", "event_id": "e", "payload": payload });
    assert_eq!(ingest(&gateway, &here).await["duplicate"], json!(true));
    assert!(publish(&gateway, vec![event]).await.events[0].duplicate);
    assert_eq!(gateway.get("/api/runs/r").await.1["last_seq"], 1);
}

#[tokio::test]
async fn what_was_ingested_is_there_after_a_restart() {
    let gateway = Gateway::start().await;
    ingest(
        &gateway,
        &json!({ "event_type": "human_input_requested", "sdk_run_id": "r", "payload": { "question": "?" } }),
    )
    .await;
    let (before, events) = (gateway.get("/api/runs/r").await, gateway.get("/api/runs/r/events").await);
    let gateway = gateway.restart().await;
    assert_eq!(gateway.get("/api/runs/r").await, before);
    assert_eq!(gateway.get("/api/runs/r/events").await, events);
}
