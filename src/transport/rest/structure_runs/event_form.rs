//! JSON form of an event in the structure runs API, built as text so that the payload stays as sent.

use serde_json::to_string;

use crate::domain::json::public_view::ShownPayload;
use crate::domain::{Event, Origin, View};
use crate::service::live::recent_events::EncodingKey;
use crate::transport::rest::time;
use crate::transport::sse::EventForm;

/// Form of events in this view.
pub fn form(view: View) -> EventForm {
    EventForm { keys: [EncodingKey::StructureRunsPublic, EncodingKey::StructureRunsFull], view, write }
}

fn write(event: &Event, payload: &ShownPayload<'_>, out: &mut String) {
    let (run_id, event_id) = (string(event.run_id.as_str()), string(event.event_id.as_str()));
    let timestamp =
        to_string(&event.sent_seconds.unwrap_or_else(|| time::unix_seconds(event.occurred_at))).unwrap_or_default();
    let (event_type, payload) = (string(event.event_type.as_str()), never_null(&payload.json));
    let (created_at, origin) = (time::micros(event.recorded_at), origin(event.origin));
    out.push_str(&format!(r#"{{"event_id":{event_id},"timestamp":{timestamp},"type":{event_type},"payload":"#));
    out.push_str(payload);
    out.push_str(&format!(
        r#","created_at":"{created_at}","origin":"{origin}","structure_run":{run_id},"structure_run_id":{run_id}}}"#
    ));
}

/// Replaces null by `{}`, since published clients read members of a payload without a check for null.
pub fn never_null(payload: &str) -> &str {
    match payload.trim() {
        "null" => "{}",
        text => text,
    }
}

/// Name of an origin: `SYSTEM` or `USER`.
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
