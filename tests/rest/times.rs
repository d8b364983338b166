//! Times of clients: in any usual form, and as doubles that are returned exactly.

use runlog::pb;
use runlog::pb::list_events_request::Scope;
use serde_json::{Value, json};

use crate::harness::Gateway;

/// Texts of common SDKs, and their instants. Without an offset the time is UTC.
const TEXTS: [(&str, &str); 8] = [
    ("2026-04-02T10:00:00.123456", "2026-04-02T10:00:00.123Z"),
    ("2026-04-02 10:00:00", "2026-04-02T10:00:00.000Z"),
    ("2026-04-02T12:00:00+0200", "2026-04-02T10:00:00.000Z"),
    ("2026-04-02", "2026-04-02T00:00:00.000Z"),
    ("2026-W14-4", "2026-04-02T00:00:00.000Z"),
    ("2026-092T10:00:00.123456789987Z", "2026-04-02T10:00:00.123Z"),
    ("2026-04-01T24:00:00Z", "2026-04-02T00:00:00.000Z"),
    ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
];

const APIS: [&str; 3] = ["structure_runs", "agent_sdk", "public_runs"];

async fn publish(gateway: &Gateway, api: &str, run: &str, time: &Value) -> (u16, Value) {
    let (path, body) = match api {
        "structure_runs" => (format!("/api/structure-runs/{run}/events"), json!({"type": "note", "timestamp": time})),
        "agent_sdk" => {
            ("/api/ingest".to_owned(), json!({"event_type": "note", "sdk_run_id": run, "occurred_at": time}))
        }
        _ => (format!("/v1/runs/{run}/events"), json!({"type": "note", "timestamp": time, "payload": {}})),
    };
    gateway.post(&path, &body.to_string()).await
}

/// The time of the only event, in the public runs API.
async fn public_time(gateway: &Gateway, run: &str) -> Value {
    let (_, page) = gateway.get(&format!("/v1/runs/{run}/events")).await;
    page["events"][0]["timestamp"].clone()
}

#[tokio::test]
async fn every_api_reads_iso_8601_in_its_usual_forms_and_refuses_only_what_is_no_time() {
    let gateway = Gateway::start().await;
    for api in APIS {
        for (index, (sent, shown)) in TEXTS.iter().enumerate() {
            let run = format!("{api}{index}");
            let (status, answer) = publish(&gateway, api, &run, &json!(sent)).await;
            assert!(matches!(status, 201 | 202), "{api} {sent}: {answer}");
            assert_eq!(public_time(&gateway, &run).await, json!(shown), "{api} {sent}");
        }
        for no_time in [json!("yesterday"), json!("2026-13-01"), json!(true), json!({"at": 1}), json!("")] {
            let (status, refusal) = publish(&gateway, api, "none", &no_time).await;
            let field = if api == "agent_sdk" { "occurred_at" } else { "timestamp" };
            assert!(status == 422 && refusal.to_string().contains(field), "{api} {no_time}: {refusal}");
        }
    }
    for api in APIS {
        for out_of_range in ["9999-12-31T00:00:00Z", "0000-12-31", "+010000-01-01"] {
            let (status, refusal) = publish(&gateway, api, "none", &json!(out_of_range)).await;
            let is_named = refusal.to_string().contains("must lie between 0001-01-01T00:00:00Z");
            assert!(status == 422 && is_named, "{api} {out_of_range}: {refusal}");
        }
    }
    assert_eq!(gateway.get("/v1/runs/none").await.0, 404, "nothing of it was stored");
}

#[tokio::test]
async fn a_double_comes_back_as_sent_in_its_own_api_and_is_the_nearest_microsecond_everywhere_else() {
    let gateway = Gateway::start().await;
    let cases: [(f64, Option<&str>); 8] = [
        // For half of all milliseconds, the nearest double lies below.
        (1_726_096_542.083, Some("2024-09-11T23:15:42.083000Z")),
        (1_726_096_554.707_17, Some("2024-09-11T23:15:54.707170Z")),
        (1_726_096_550.251_234_5, Some("2024-09-11T23:15:50.251235Z")),
        (1_726_096_542.0, Some("2024-09-11T23:15:42.000000Z")),
        (-0.5, Some("1969-12-31T23:59:59.500000Z")),
        // Clocks that count from the start of a machine, and numbers out of range.
        (12_345.678_901_234_5, Some("1970-01-01T03:25:45.678901Z")),
        (1.7e18, None),
        (-1e18, None),
    ];
    for (index, (sent, micros)) in cases.into_iter().enumerate() {
        let run = format!("r{index}");
        assert_eq!(publish(&gateway, "structure_runs", &run, &json!(sent)).await.0, 202, "{sent}");
        // As text, since JSON parsers may miss the nearest double by one.
        let (_, page) = gateway.stream(&format!("/api/structure-runs/{run}/events")).await;
        let lexeme = page.split("\"timestamp\":").nth(1).unwrap().split(',').next().unwrap();
        assert_eq!(lexeme.parse::<f64>().map(f64::to_bits), Ok(sent.to_bits()), "{lexeme}");
        let page: Value = serde_json::from_str(&page).unwrap();
        let event = &page["events"][0];
        let (_, agent) = gateway.get(&format!("/api/runs/{run}/events")).await;
        let at: jiff::Timestamp = agent["events"][0]["occurred_at"].as_str().unwrap().parse().unwrap();
        let expected = micros.unwrap_or_else(|| event["created_at"].as_str().unwrap());
        assert_eq!(format!("{at:.6}"), expected, "{sent}");
        assert_eq!(public_time(&gateway, &run).await, json!(format!("{at:.3}")), "{sent}");
        let request = pb::ListEventsRequest { scope: Some(Scope::RunId(run)), ..Default::default() };
        let listed = gateway.events().await.list_events(request).await.unwrap().into_inner().events.remove(0);
        let over_grpc = listed.occurred_at.unwrap();
        let over_grpc = jiff::Timestamp::new(over_grpc.seconds, over_grpc.nanos).unwrap();
        assert_eq!((over_grpc, over_grpc.subsec_nanosecond() % 1_000), (at, 0));
        assert!(listed.sent_seconds.is_none_or(|seconds| seconds.to_bits() == sent.to_bits()));
    }
    let (status, refusal) = gateway.post("/api/structure-runs/n/events", r#"{"type":"note","timestamp":1e999}"#).await;
    assert!(status == 422 && refusal.to_string().contains("timestamp"), "{refusal}");
}

#[tokio::test]
async fn the_documented_structure_run_lasts_three_seconds() {
    let gateway = Gateway::start().await;
    let events = json!([
        {"type": "StructureRunStarting", "timestamp": 1_726_096_542.716_88, "payload": {"status": "STARTING"}},
        {"type": "StructureRunRunning", "timestamp": 1_726_096_548.683_578,
            "payload": {"status": "RUNNING", "started_at": "2024-09-11T23:15:47"}},
        {"type": "FinishStructureRunEvent", "payload": {"output_task_output": {"value": "x"}}},
        {"type": "StructureRunCompleted", "timestamp": 1_726_096_554.707_17, "payload": {"status": "SUCCEEDED",
            "started_at": "2024-09-11T23:15:47", "completed_at": "2024-09-11T23:15:50"}},
    ]);
    assert_eq!(gateway.post("/api/structure-runs/r/events", &events.to_string()).await.0, 202);
    let (_, run) = gateway.get("/api/structure-runs/r").await;
    assert_eq!(run["started_at"], json!("2024-09-11T23:15:47.000000Z"));
    assert_eq!(run["completed_at"], json!("2024-09-11T23:15:50.000000Z"));
    assert!(run["output_timestamp"].as_f64().is_some_and(|seconds| seconds > 1.7e9), "{run}");
    let (_, public) = gateway.get("/v1/runs/r").await;
    assert_eq!(public["completed_at"], json!("2024-09-11T23:15:50.000Z"));
}
