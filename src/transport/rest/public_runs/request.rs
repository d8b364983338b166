//! Request bodies of the public runs API.

use serde_json::Value;

use crate::domain::{AgentName, Error, EventId, EventType, Limits, NewEvent, Payload, RunId};
use crate::service::control::Control;
use crate::service::runs;
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::fields::{self, Fields};
use crate::transport::rest::{HttpError, time};

/// Members of a create request in the order of the payload of `run.created`, with the JSON type of each.
const CREATE_MEMBERS: [(&str, &str); 9] = [
    ("input", ""),
    ("metadata", "an object"),
    ("attachment_refs", "an array"),
    ("sensitivity_tags", "an array"),
    ("streaming", "true or false"),
    ("routing_hint", "a string"),
    ("routing", "an object"),
    ("workspace_id", NAME),
    ("subject_id", NAME),
];

/// Type of the names of a workspace and a subject; limited, since runs will be searched by these names.
const NAME: &str = "a string of at most 200 characters";

/// `run.created` with the members as sent, null included, and the run id if the client chose one. No body and null read
/// as an empty object.
pub fn run_created(text: &str, request_id: &str, limits: &Limits) -> Result<(Option<RunId>, NewEvent), HttpError> {
    let mut payload = format!(r#"{{"request_id":{}"#, Value::from(request_id));
    let mut fields = Fields::parse(or_empty(text), "")?;
    let id = fields.string("id")?.map(|id| RunId::parse(&id)).transpose().map_err(|error| error.with_field("id"))?;
    for (name, kind) in CREATE_MEMBERS {
        if let Some(raw) = fields.raw(name) {
            if !is_kind(raw, kind) {
                return Err(HttpError::field(name, format!("must be {kind}")));
            }
            payload.push_str(&format!(r#","{name}":{raw}"#));
        }
    }
    fields.finish()?;
    payload.push('}');
    Ok((id, runs::created_event(payload, limits).map_err(|error| error.under("body"))?))
}

/// Whether a valid JSON text has this type, mostly by the first character. Null is allowed for each type.
fn is_kind(raw: &str, kind: &str) -> bool {
    let first = raw.bytes().next().unwrap_or_default();
    raw == "null"
        || match kind {
            "an object" => first == b'{',
            "an array" => first == b'[',
            "a string" => first == b'"',
            NAME => serde_json::from_str::<String>(raw).is_ok_and(|name| name.chars().count() <= 200),
            "true or false" => matches!(first, b't' | b'f'),
            _ => true,
        }
}

/// Parses one event, or an array of events.
pub fn new_events(text: &str, limits: &Limits) -> Result<(EventPath, Vec<NewEvent>), HttpError> {
    let Some(elements) = fields::elements(text)? else {
        return Ok((EventPath::One, vec![new_event(Fields::parse(text, "")?, "", limits)?]));
    };
    let (count, max) = (elements.len(), limits.max_request_events);
    if count == 0 || count > max {
        return Err(HttpError::field("events", format!("must hold 1 to {max} events; it has {count}")));
    }
    let event = |(i, element): (usize, &serde_json::value::RawValue)| {
        let path = EventPath::Bare.of(i);
        new_event(Fields::parse(element.get(), &path)?, &path, limits)
    };
    let events = elements.into_iter().enumerate().map(event).collect::<Result<_, _>>()?;
    Ok((EventPath::Bare, events))
}

fn new_event(mut fields: Fields<'_>, path: &str, limits: &Limits) -> Result<NewEvent, HttpError> {
    let at = |error: Error| HttpError::from(if path.is_empty() { error } else { error.under(path) });
    let event_type = EventType::parse(&fields.required_string("type")?).map_err(at)?;
    let payload = fields.raw("payload").ok_or_else(|| at(Error::invalid("payload", "must be set")))?;
    let (occurred_at, sent_seconds) = time::take(&mut fields, "timestamp")?;
    let event_id = fields.string("event_id")?.map(|text| EventId::parse(&text)).transpose().map_err(at)?;
    let agent_name = fields.string("agent_name")?.map(|text| AgentName::parse(&text)).transpose().map_err(at)?;
    fields.finish()?;
    let payload = Payload::parse(&event_type, payload, limits).map_err(|error| at(error.under("payload")))?;
    Ok(NewEvent { event_id, occurred_at, sent_seconds, agent_name, ..NewEvent::new(event_type, payload) })
}

/// Parses a signal: `{"action":…,"payload"?}`.
pub fn signal(text: &str) -> Result<Control, HttpError> {
    let mut fields = Fields::parse(text, "")?;
    let action = fields.required_string("action")?;
    let payload = fields.raw("payload").map(ToOwned::to_owned);
    fields.finish()?;
    match action.as_str() {
        "approve" => Ok(Control::Approve { payload }),
        "reject" => Ok(Control::Reject { payload }),
        "submit_input" => Ok(Control::SubmitInput { payload }),
        _ => Err(HttpError::field("action", "must be approve, reject or submit_input")),
    }
}

/// Accepts no body, null, and an object without members.
pub fn nothing(text: &str) -> Result<(), HttpError> {
    Fields::parse(or_empty(text), "")?.finish()
}

fn or_empty(text: &str) -> &str {
    if matches!(text.trim(), "" | "null") { "{}" } else { text }
}
