//! Bodies of requests of the structure runs API. The fields are what the parser fills and what `/openapi.json` describes.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::env_var::StructureEnvVar;
use super::ids;
use super::params::renamed;
use crate::domain::{EventType, Limits, NewEvent, Payload, RunId};
use crate::service::runs;
use crate::transport::rest::body;
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::fields::{Fields, elements};
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::time::{self, SentTime};

/// Text of a required body.
pub async fn text(gateway: &Gateway, request: Request<Body>) -> Result<String, HttpError> {
    body::text(request, gateway.service.limits().max_request_bytes).await
}

/// Text of an optional JSON object; no body and null read as an empty object.
pub async fn optional_object(gateway: &Gateway, request: Request<Body>) -> Result<String, HttpError> {
    let text = text(gateway, request).await?;
    Ok(if matches!(text.trim(), "" | "null") { "{}".to_owned() } else { text })
}

/// An object without members.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StructureNothing {}

impl StructureNothing {
    /// Refuses a body with members.
    pub fn parse(text: &str) -> Result<Self, HttpError> {
        Fields::parse(text, "")?.finish()?;
        Ok(Self {})
    }
}

/// A run to create.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateStructureRun {
    /// Arguments of the run, any strings.
    #[schema(value_type = Option<Vec<String>>)]
    pub args: Vec<String>,
    /// Environment variables of the run.
    #[schema(value_type = Option<Vec<StructureEnvVar>>)]
    pub env_vars: Vec<StructureEnvVar>,
}

impl CreateStructureRun {
    /// Parses the body of a create request, and masks secrets.
    pub fn parse(text: &str) -> Result<Self, HttpError> {
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
        Ok(Self { args, env_vars })
    }

    /// `run.created` with the arguments and environment variables.
    pub fn into_event(self, limits: &Limits) -> Result<NewEvent, HttpError> {
        let payload = json!({ "args": self.args, "env_vars": self.env_vars }).to_string();
        Ok(runs::created_event(payload, limits).map_err(|error| error.under("body"))?)
    }
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

/// One event, an array of events, or an array under `events`, which is the form in `/openapi.json`: a choice of forms is more than
/// generators of clients can type.
#[derive(Debug)]
pub enum PostedStructureEvents {
    /// A single event.
    One(PostedStructureEvent),
    /// An array of events.
    Array(Vec<PostedStructureEvent>),
    /// An array under `events`.
    Named(StructureEventBatch),
}

/// Events to store, in order, all or none.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StructureEventBatch {
    /// Events of the request, in order.
    #[schema(min_items = 1, max_items = 1000)]
    pub events: Vec<PostedStructureEvent>,
}

impl PostedStructureEvents {
    /// Parses a body in any of the three shapes.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, HttpError> {
        let (path, events) = match Posted::parse(text, "events", limits.max_request_events)? {
            Posted::One(fields) => return Ok(Self::One(PostedStructureEvent::parse(fields, limits)?)),
            Posted::Several(path, events) => (path, events),
        };
        let event =
            |(i, text): (usize, &RawValue)| PostedStructureEvent::parse(Fields::parse(text.get(), path.of(i))?, limits);
        let events = events.into_iter().enumerate().map(event).collect::<Result<_, _>>()?;
        Ok(match path {
            EventPath::Named(_) => Self::Named(StructureEventBatch { events }),
            _ => Self::Array(events),
        })
    }

    /// The events for this run, with their path in the body.
    #[must_use]
    pub fn into_events(self, run_id: &RunId) -> (EventPath, Vec<NewEvent>) {
        let (path, events) = match self {
            Self::One(event) => return (EventPath::One, vec![event.into_event(run_id)]),
            Self::Array(events) => (EventPath::Bare, events),
            Self::Named(StructureEventBatch { events }) => (EventPath::Named("events"), events),
        };
        (path, events.into_iter().map(|event| event.into_event(run_id)).collect())
    }
}

/// An event to store.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostedStructureEvent {
    /// Type of the event; no control characters.
    #[schema(rename = "type", value_type = String, min_length = 1, max_length = 200,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub r#type: EventType,
    /// Time by the producer's clock in seconds since 1970; text of ISO 8601 is taken, too. Absent, or a number outside the years 1
    /// to 9999: the server's clock.
    #[schema(value_type = Option<f64>)]
    pub timestamp: SentTime,
    /// Any JSON, kept as sent; absent or null is stored as `{}`.
    #[schema(value_type = Option<Value>)]
    pub payload: Payload,
}

impl PostedStructureEvent {
    fn parse(mut fields: Fields<'_>, limits: &Limits) -> Result<Self, HttpError> {
        let (type_path, payload_path) = (fields.path_of("type"), fields.path_of("payload"));
        let r#type =
            EventType::parse(&fields.required_string("type")?).map_err(|error| renamed(error, "type", &type_path))?;
        let timestamp = time::take(&mut fields, "timestamp")?;
        let payload = fields.raw("payload").filter(|text| *text != "null").unwrap_or("{}");
        fields.finish()?;
        let payload = Payload::parse(&r#type, payload, limits).map_err(|error| error.under(&payload_path))?;
        Ok(Self { r#type, timestamp, payload })
    }

    fn into_event(self, run_id: &RunId) -> NewEvent {
        let Self { r#type, timestamp: SentTime { at, seconds }, payload } = self;
        let event_id = ids::event_id(run_id, &r#type, payload.as_str());
        NewEvent { event_id, occurred_at: at, sent_seconds: seconds, ..NewEvent::new(r#type, payload) }
    }
}
