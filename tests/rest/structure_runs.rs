//! The structure runs API, compatible with Griptape Cloud's reference and published clients.

mod events;
mod golden;
mod refusals;
mod runs;
mod spans;
mod stream;

use runlog::pb;
use serde_json::Value;

use crate::harness::Gateway;

/// All events of a run, as this API lists them.
async fn listed(gateway: &Gateway, run: &str) -> Vec<Value> {
    let (status, page) = gateway.get(&format!("/api/structure-runs/{run}/events?limit=1000")).await;
    assert_eq!(status, 200, "{page}");
    page["events"].as_array().unwrap().clone()
}

/// Posts events; a failure fails the test.
async fn posted(gateway: &Gateway, run: &str, body: &str) {
    let (status, answer) = gateway.post(&format!("/api/structure-runs/{run}/events"), body).await;
    assert_eq!((status, &answer), (202, &Value::Null), "{body}");
}

/// Publishes events over gRPC: types and payloads.
async fn published(gateway: &Gateway, run: &str, events: &[(&str, &str)]) {
    let event = |(kind, json): &(&str, &str)| {
        let variant = Some(pb::payload::Variant::Json((*json).to_owned()));
        let payload = Some(pb::Payload { variant, ..pb::Payload::default() });
        pb::NewEvent { r#type: (*kind).to_owned(), payload, ..pb::NewEvent::default() }
    };
    let events = events.iter().map(event).collect();
    let request = pb::PublishRequest { run_id: run.to_owned(), events, expected_last_seq: None };
    gateway.events().await.publish(request).await.unwrap();
}
