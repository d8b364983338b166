//! The agent SDK API: ingest and reads.

mod arrays;
mod golden;
mod grpc;
mod previews;
mod refusals;
mod streaming;

use serde_json::{Value, json};

use crate::harness::Gateway;

const INGEST: &str = "/api/ingest";

/// Ingests one event; a failure fails the test.
async fn ingest(gateway: &Gateway, event: &Value) -> Value {
    let (status, answer) = gateway.post(INGEST, &event.to_string()).await;
    assert_eq!(status, 202, "{answer}");
    answer
}

/// An event of the run `r` with an empty payload.
fn event(event_type: &str) -> Value {
    json!({ "event_type": event_type, "sdk_run_id": "r" })
}
