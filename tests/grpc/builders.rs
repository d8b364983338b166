//! Builders of events.

use runlog::pb;
use runlog::pb::payload::Variant;

/// An event with a payload as JSON text.
pub fn json_event(event_type: &str, json: &str) -> pb::NewEvent {
    let payload = pb::Payload { extra_json: String::new(), variant: Some(Variant::Json(json.to_owned())) };
    pb::NewEvent { r#type: event_type.to_owned(), payload: Some(payload), ..Default::default() }
}

/// An event with a typed payload; the server derives the type.
pub fn typed_event(variant: Variant) -> pb::NewEvent {
    let payload = pb::Payload { extra_json: String::new(), variant: Some(variant) };
    pb::NewEvent { payload: Some(payload), ..Default::default() }
}

/// An event with a number in the payload.
pub fn numbered(number: usize) -> pb::NewEvent {
    json_event("note", &format!("{{\"n\":{number}}}"))
}

/// This number of events: 1, 2, 3 …
pub fn notes(count: usize) -> Vec<pb::NewEvent> {
    (1..=count).map(numbered).collect()
}

/// The event with an id.
pub fn with_id(event_id: &str, event: pb::NewEvent) -> pb::NewEvent {
    pb::NewEvent { event_id: event_id.to_owned(), ..event }
}

/// The event that ends a run successfully.
pub fn the_end() -> pb::NewEvent {
    json_event("run_end", "{}")
}

/// A publish without a condition.
pub fn publish_request(run_id: &str, events: Vec<pb::NewEvent>) -> pb::PublishRequest {
    pb::PublishRequest { run_id: run_id.to_owned(), events, expected_last_seq: None }
}
