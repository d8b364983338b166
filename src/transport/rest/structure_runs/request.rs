//! Requests of the structure runs API: path, query parameters, headers and bodies.

use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request};
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Builder;

use super::env_var::StructureEnvVar;
use super::error::ApiError;
use crate::domain::json::{Members, canonical};
use crate::domain::{Error, EventId, EventType, Limits, NewEvent, Payload, RunId, StructureId};
use crate::service::runs;
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::fields::{Fields, elements};
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::headers::one;
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::query::Query;
use crate::transport::rest::{body, time};

/// The single variable of the path.
pub struct Variable(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Variable {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(_) => Err(HttpError::malformed("the path is not UTF-8").into()),
        }
    }
}

/// Query parameters; the handler takes the known parameters and refuses the rest by `finish`.
pub struct Parameters(pub Query);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self(Query::parse(parts.uri.query())))
    }
}

/// Extractor of a route without parameters; refuses any.
pub struct NoParameters;

impl<S: Send + Sync> FromRequestParts<S> for NoParameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Query::parse(parts.uri.query()).finish()?;
        Ok(Self)
    }
}

/// Run id of the path, checked.
pub fn run_id(text: &str) -> Result<RunId, ApiError> {
    RunId::parse(text).map_err(|error| renamed(error, "run_id", "structure_run_id").into())
}

/// Text of a required body.
pub async fn text(gateway: &Gateway, request: Request<Body>) -> Result<String, HttpError> {
    body::text(request, gateway.service.limits().max_request_bytes).await
}

/// Text of an optional JSON object; no body and null read as an empty object.
pub async fn optional_object(gateway: &Gateway, request: Request<Body>) -> Result<String, HttpError> {
    let text = text(gateway, request).await?;
    Ok(if matches!(text.trim(), "" | "null") { "{}".to_owned() } else { text })
}

/// Refuses a body with members, for routes that take none.
pub fn no_members(text: &str) -> Result<(), HttpError> {
    Fields::parse(text, "")?.finish()
}

/// The error with the field `ours` under the name of this API, `theirs`.
pub fn renamed(error: Error, ours: &str, theirs: &str) -> Error {
    match error {
        Error::InvalidField { field, problem } if field == ours => Error::invalid(theirs, problem),
        other => other,
    }
}

/// Value of `Idempotency-Key`, visible ASCII characters; `None` when absent.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, HttpError> {
    let key = one(headers, "Idempotency-Key")?;
    if key.as_ref().is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(HttpError::field("Idempotency-Key", "must be visible ASCII characters without space"));
    }
    Ok(key)
}

/// `run.created` with the arguments and environment variables of a create request, secrets masked.
pub fn created_event(gateway: &Gateway, text: &str) -> Result<NewEvent, HttpError> {
    let mut fields = Fields::parse(text, "")?;
    let mut args = Vec::new();
    for (i, arg) in fields.array("args")?.unwrap_or_default().into_iter().enumerate() {
        let not_text = |_| HttpError::field(format!("args[{i}]"), "must be a string");
        args.push(serde_json::from_str::<String>(arg.get()).map_err(not_text)?);
    }
    let mut env_vars = Vec::new();
    for (i, variable) in fields.array("env_vars")?.unwrap_or_default().into_iter().enumerate() {
        env_vars.push(StructureEnvVar::parse(variable, format!("env_vars[{i}]"))?.masked());
    }
    fields.finish()?;
    let payload = json!({ "args": args, "env_vars": env_vars }).to_string();
    Ok(runs::created_event(payload, gateway.service.limits()).map_err(|error| error.under("body"))?)
}

/// Run id of a key. The structure id is part of the hash, so that structures do not share keys.
pub fn run_id_of(structure_id: &StructureId, key: &str) -> Result<RunId, Error> {
    let digest = Sha256::new().chain_update(structure_id.as_str()).chain_update([0]).chain_update(key).finalize();
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    RunId::parse(&format!("run_{hex}"))
}

/// Content of a request body.
pub enum Posted<'a> {
    /// A single object, with these members.
    One(Fields<'a>),
    /// Several objects, with the path of the array.
    Several(EventPath, Vec<&'a RawValue>),
}

impl<'a> Posted<'a> {
    /// Parses one object, an array, or an array under the member `name`, which is also the noun in error messages. An
    /// array holds 1 to `max` elements.
    pub fn parse(text: &'a str, name: &'static str, max: usize) -> Result<Self, HttpError> {
        let (path, posted) = match elements(text)? {
            Some(bare) => (EventPath::Bare, bare),
            None => {
                let mut fields = Fields::parse(text, "")?;
                let Some(named) = fields.raw(name) else { return Ok(Self::One(fields)) };
                fields.finish()?;
                let named = elements(named)?.ok_or_else(|| HttpError::field(name, "must be an array"))?;
                (EventPath::Named(name), named)
            }
        };
        let count = posted.len();
        if count == 0 || count > max {
            return Err(HttpError::field(name, format!("must hold 1 to {max} {name}; it has {count}")));
        }
        Ok(Self::Several(path, posted))
    }
}

/// Events of a body in any of the three shapes.
pub fn new_events(run_id: &RunId, text: &str, limits: &Limits) -> Result<(EventPath, Vec<NewEvent>), HttpError> {
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
    let event_type =
        EventType::parse(&fields.required_string("type")?).map_err(|error| renamed(error, "type", &type_path))?;
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
