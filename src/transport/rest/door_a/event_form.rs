//! How an event looks at this door. Written as text, so that the payload stays as it was sent.

use serde_json::to_string;

use crate::domain::{Event, Origin};
use crate::transport::rest::time;
use crate::transport::sse::EventForm;

/// In event streams. 0 to 2 are gRPC's.
pub const FORM: EventForm = EventForm { number: 3, write };

/// Appends the event as JSON.
pub fn write(event: &Event, out: &mut String) {
    let (run_id, event_id) = (string(event.run_id.as_str()), string(event.event_id.as_str()));
    let timestamp = to_string(&time::float_seconds(event.occurred_at)).unwrap_or_default();
    let (event_type, payload) = (string(event.event_type.as_str()), payload(event));
    let (created_at, origin) = (time::micros(event.recorded_at), origin(event.origin));
    out.push_str(&format!(r#"{{"event_id":{event_id},"timestamp":{timestamp},"type":{event_type},"payload":"#));
    out.push_str(payload);
    out.push_str(&format!(
        r#","created_at":"{created_at}","origin":"{origin}","structure_run":{run_id},"structure_run_id":{run_id}}}"#
    ));
}

/// The payload as stored. Clients read members of it unasked, so it is never null.
pub fn payload(event: &Event) -> &str {
    match event.payload.as_str().trim() {
        "null" => "{}",
        text => text,
    }
}

/// The origin's name.
pub fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::System => "SYSTEM",
        Origin::User => "USER",
    }
}

fn string(text: &str) -> String {
    // A string always serializes.
    to_string(text).unwrap_or_default()
}
