//! Sample events.

use jiff::Timestamp;
use runlog::domain::{Event, EventId, EventType, Limits, NewEvent, Origin, Payload, RunId};
use runlog::pb;
use runlog::store::Append;

/// A step of about 260 bytes.
pub fn json() -> String {
    let head = r#"{"node_name":"search_web","phase":"end","duration_ms":890,"output":{"results":[""#;
    format!("{head}{}\"]}}}}", "x".repeat(176))
}

/// The event of [`json`] as a `NewEvent` with a JSON payload.
pub fn on_the_wire() -> pb::NewEvent {
    let payload = pb::Payload { extra_json: String::new(), variant: Some(pb::payload::Variant::Json(json())) };
    pb::NewEvent { r#type: "step".to_owned(), payload: Some(payload), ..pb::NewEvent::default() }
}

/// A tool call with a typed payload.
pub fn typed_on_the_wire() -> pb::NewEvent {
    let tool_call = pb::ToolCall {
        tool_name: Some("web_search".to_owned()),
        phase: Some("end".to_owned()),
        duration_ms: Some(740.0),
        ..pb::ToolCall::default()
    };
    let payload =
        pb::Payload { extra_json: String::new(), variant: Some(pb::payload::Variant::ToolCall(tool_call.into())) };
    pb::NewEvent { payload: Some(payload), ..pb::NewEvent::default() }
}

pub fn run_id(number: usize) -> RunId {
    RunId::parse(&format!("run-{number}")).unwrap()
}

pub fn new_event(event_type: &str) -> NewEvent {
    let event_type = EventType::parse(event_type).unwrap();
    let payload = Payload::parse(&event_type, json(), &Limits::default()).unwrap();
    NewEvent {
        event_id: None,
        event_type,
        origin: Origin::User,
        occurred_at: None,
        sent_seconds: None,
        agent_name: None,
        payload,
        removal: None,
        joined_from: None,
    }
}

pub fn append(run: usize, events: usize) -> Append {
    Append::new(run_id(run), vec![new_event("step"); events])
}

/// The stored record of a step.
pub fn stored(seq: u64) -> Event {
    let NewEvent { event_type, origin, payload, .. } = new_event("step");
    let now = Timestamp::now();
    Event {
        run_id: run_id(0),
        seq,
        event_id: EventId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
        event_type,
        origin,
        occurred_at: now,
        sent_seconds: None,
        recorded_at: now,
        agent_name: None,
        payload,
        removal: None,
        joined_from: None,
    }
}
