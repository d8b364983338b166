//! Publishing events: one event, an array, or an array under `events`.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Builder;

use super::ApiError;
use super::error::{BodyRefusals, Refusals};
use super::posted::Posted;
use super::request::{NoParameters, Variable, run_id, text};
use super::schema::PostedStructureEvents;
use crate::domain::json::{Members, canonical};
use crate::domain::{EventId, EventType, Limits, NewEvent, Payload, RunId};
use crate::service::publish::Publish;
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::fields::Fields;
use crate::transport::rest::{Gateway, HttpError, time};

/// Post events, stored in order, all or none. The response follows when the events are durable. The first event of a
/// run creates the run.
///
/// An event with a string member `id` in the payload is stored once, however often it is posted: the same run, type and
/// payload are the same event; the same `id` with another type or payload is another event. An event without `id` is
/// stored at each post.
#[utoipa::path(post, path = "/api/structure-runs/{structure_run_id}/events", tag = "structure runs",
    operation_id = "post_structure_run_events",
    params(("structure_run_id" = String, Path, description = "The run", min_length = 1, max_length = 200,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")),
    request_body = PostedStructureEvents,
    responses((status = 202, description = "Stored"), Refusals, BodyRefusals))]
pub async fn post_events(
    State(gateway): State<Gateway>,
    Variable(id): Variable,
    _: NoParameters,
    request: Request<Body>,
) -> Result<StatusCode, ApiError> {
    let run_id = run_id(&id)?;
    let text = text(&gateway, request).await?;
    let (path, events) = new_events(&run_id, &text, gateway.service.limits())?;
    let published = gateway.service.publish(Publish { run_id, events, expected_last_seq: None }).await;
    published.map_err(|error| path.respell(error.into(), |index| index))?;
    Ok(StatusCode::ACCEPTED)
}

/// Events of a body in any of the three shapes.
fn new_events(run_id: &RunId, text: &str, limits: &Limits) -> Result<(EventPath, Vec<NewEvent>), HttpError> {
    match Posted::parse(text, "events", limits.max_request_events)? {
        Posted::One(fields) => Ok((EventPath::One, vec![new_event(run_id, fields, limits)?])),
        Posted::Several(path, events) => {
            let event =
                |(i, text): (usize, &RawValue)| new_event(run_id, Fields::parse(text.get(), path.of(i))?, limits);
            Ok((path, events.into_iter().enumerate().map(event).collect::<Result<_, _>>()?))
        }
    }
}

fn new_event(run_id: &RunId, mut fields: Fields<'_>, limits: &Limits) -> Result<NewEvent, HttpError> {
    let (type_path, payload_path) = (fields.path_of("type"), fields.path_of("payload"));
    let event_type = EventType::parse(&fields.required_string("type")?)
        .map_err(|error| super::request::renamed(error, "type", &type_path))?;
    let (occurred_at, sent_seconds) = time::take(&mut fields, "timestamp")?;
    let payload = fields.raw("payload").filter(|text| *text != "null").unwrap_or("{}");
    fields.finish()?;
    let payload = Payload::parse(&event_type, payload, limits).map_err(|error| error.under(&payload_path))?;
    let event_id = event_id(run_id, &event_type, payload.as_str());
    Ok(NewEvent { event_id, occurred_at, sent_seconds, ..NewEvent::new(event_type, payload) })
}

/// Event id for a payload with a string member `id`; `None` for other payloads.
fn event_id(run_id: &RunId, event_type: &EventType, payload: &str) -> Option<EventId> {
    Members::parse(payload).string("id").filter(|id| !id.is_empty())?;
    content_id(run_id, event_type, payload)
}

/// Event id derived from run, type and payload; the formatting of the JSON makes no difference. The same `id` with
/// other content is another event. A UUID of version 5; ids that the store generates have version 8.
pub fn content_id(run_id: &RunId, event_type: &EventType, payload: &str) -> Option<EventId> {
    let mut hash = Sha256::new();
    // Run ids and types hold no NUL, so the separator is unambiguous. The payload includes the member `id`.
    for part in [run_id.as_str().as_bytes(), event_type.as_str().as_bytes(), &canonical(payload)] {
        hash.update(part);
        hash.update([0]);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    EventId::parse(&Builder::from_sha1_bytes(bytes).into_uuid().hyphenated().to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(run: &str, event_type: &str, payload: &str) -> Option<EventId> {
        event_id(&RunId::parse(run).unwrap(), &EventType::parse(event_type).unwrap(), payload)
    }

    #[test]
    fn the_same_run_id_type_and_payload_are_the_same_event_and_nothing_else_is() {
        let first = id("r", "T", r#"{"id":"a","x":1}"#).unwrap();
        assert_eq!(id("r", "T", r#"{"id":"a","x":1}"#).unwrap(), first);
        assert_eq!(id("r", "T", "{ \"x\" : 1.0, \"\\u0069d\":\"a\" }").unwrap(), first, "another encoding");
        assert!(id("r", "T", r#"{"id":"a","\ud83d":"\ud83d"}"#).is_some(), "a lone surrogate hides nothing beside it");
        for (run, event_type, payload) in [
            ("s", "T", r#"{"id":"a","x":1}"#),
            ("r", "U", r#"{"id":"a","x":1}"#),
            ("r", "T", r#"{"id":"a","x":2}"#),
            ("r", "T", r#"{"id":"b","x":1}"#),
        ] {
            assert_ne!(id(run, event_type, payload).unwrap(), first);
        }
        assert_eq!(uuid::Uuid::try_parse(first.as_str()).unwrap().get_version_num(), 5);
    }

    #[test]
    fn only_a_string_named_id_names_an_event() {
        for payload in ["{}", r#"["a"]"#, r#"{"id":1}"#, r#"{"id":null}"#, r#"{"id":""}"#, r#"{"x":{"id":"a"}}"#, "1"] {
            assert_eq!(id("r", "T", payload), None, "{payload}");
        }
    }
}
