//! Every example of the reference, published and read back: equal to the reference. Only the seq is the server's.

use runlog::pb;
use runlog::transport::payload::to_typed;
use serde_json::{Value, json};

use super::Run;
use crate::harness::json_text;

macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../fixtures/golden/public_runs/", $name, ".json")))),*]
    };
}

/// The examples of the reference.
const PAGES: &[(&str, &str)] = pages![
    "run.created",
    "run.worker.started",
    "run.cancelled",
    "run.limit_exceeded",
    "step.progress",
    "step.done",
    "run.tool.invoked",
    "run.coordination.decision",
    "run.awaiting_input",
    "run.signal_applied",
    "run.input_received",
];

/// The payload behind the example: the redacted members are restored.
fn as_sent(page: &Value) -> Value {
    let mut payload = page["payload"]["value"].clone();
    if page["payload"]["redacted"] == json!(true) {
        payload["input"] = json!({"prompt": "secret"});
        payload["metadata"] = json!({"customer": 7});
        payload["attachment_refs"] = json!(["file_1"]);
        payload["sensitivity_tags"] = json!(["pii"]);
    }
    payload
}

/// Reads the run's second event by page and by stream.
async fn read_back(run: &Run) -> [Value; 2] {
    let (status, mut page) = run.get("/events?cursor=1").await;
    assert_eq!(status, 200);
    // The stream closes after the end of the run.
    run.gateway.post(&run.path("/cancel"), "").await;
    let (status, stream) = run.gateway.stream(&run.path("/events/stream?cursor=1")).await;
    assert_eq!(status, 200);
    let data = stream.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    [page["events"][0].take(), serde_json::from_str(data).unwrap()]
}

#[tokio::test]
async fn every_example_of_the_page_reads_back_as_the_page_shows_it() {
    for (name, text) in PAGES {
        let mut page: Value = serde_json::from_str(text).unwrap();
        assert_eq!(page["type"], json!(name));
        let run = Run::create().await;
        run.publish(json!({"type": name, "timestamp": page["timestamp"], "payload": as_sent(&page)})).await;
        page["seq"] = json!(2);
        for read in read_back(&run).await {
            assert_eq!(read, page, "{name}");
        }
    }
}

#[tokio::test]
async fn every_example_published_typed_over_grpc_reads_back_as_the_page_shows_it() {
    for (name, text) in PAGES {
        let mut page: Value = serde_json::from_str(text).unwrap();
        let run = Run::create().await;
        let payload = to_typed(name, &as_sent(&page).to_string());
        assert!(!matches!(payload.variant, Some(pb::payload::Variant::Json(_))), "{name} has a variant");
        let at: jiff::Timestamp = page["timestamp"].as_str().unwrap().parse().unwrap();
        let event = pb::NewEvent {
            r#type: (*name).to_owned(),
            occurred_at: Some(prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }),
            payload: Some(payload),
            ..Default::default()
        };
        let publish = pb::PublishRequest { run_id: run.id.clone(), events: vec![event], ..Default::default() };
        run.gateway.events().await.publish(publish).await.unwrap();
        page["seq"] = json!(2);
        for read in read_back(&run).await {
            assert_eq!(read, page, "{name}");
        }
    }
}

#[tokio::test]
async fn an_event_has_the_documented_members_in_the_documented_order() {
    let run = Run::create().await;
    let sent = r#"{"type":"x","timestamp":"2026-03-25T16:30:00.1239+02:00","event_id":"e","payload":{ "b":1.0, "a":12345678901234567890123 }}"#;
    assert_eq!(run.post("/events", sent).await.0, 201);
    let response = run.gateway.client.get(run.gateway.url(&run.path("/events?cursor=1"))).send().await.unwrap();
    let expected = r#"{"events":[{"seq":2,"type":"x","timestamp":"2026-03-25T14:30:00.123Z","payload":{"redacted":false,"value":{ "b":1.0, "a":12345678901234567890123 }}}],"next_cursor":"2","has_more":false}"#;
    assert_eq!(json_text(response).await, expected);
}
