//! Bodies of requests of the public runs API. The fields are what the parser fills and what `/openapi.json` describes.

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::{AgentName, Error, EventId, EventType, Limits, NewEvent, Payload};
use crate::service::control::Control;
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::fields::{self, Fields};
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::query::word;
use crate::transport::rest::time::{self, SentTime};

/// One event, or an array of events, which is the form in `/openapi.json`: a choice of forms is more than generators of clients can
/// type.
#[derive(Debug)]
pub enum PublicNewEvents {
    /// A single event.
    One(PublicNewEvent),
    /// Several events, stored all or none.
    Many(PublicNewEventList),
}

impl PublicNewEvents {
    /// Parses one event, or an array of events.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, HttpError> {
        let Some(elements) = fields::elements(text)? else {
            return Ok(Self::One(PublicNewEvent::parse(Fields::parse(text, "")?, "", limits)?));
        };
        let (count, max) = (elements.len(), limits.max_request_events);
        if count == 0 || count > max {
            return Err(HttpError::field("events", format!("must hold 1 to {max} events; it has {count}")));
        }
        let event = |(i, element): (usize, &RawValue)| {
            let path = EventPath::Bare.of(i);
            PublicNewEvent::parse(Fields::parse(element.get(), &path)?, &path, limits)
        };
        Ok(Self::Many(PublicNewEventList(elements.into_iter().enumerate().map(event).collect::<Result<_, _>>()?)))
    }

    /// The events, with their path in the body.
    #[must_use]
    pub fn into_events(self) -> (EventPath, Vec<NewEvent>) {
        match self {
            Self::One(event) => (EventPath::One, vec![event.into()]),
            Self::Many(PublicNewEventList(events)) => (EventPath::Bare, events.into_iter().map(Into::into).collect()),
        }
    }
}

/// Several events, stored all or none.
#[derive(Debug, ToSchema)]
#[schema(min_items = 1, max_items = 1000)]
pub struct PublicNewEventList(pub Vec<PublicNewEvent>);

/// An event to publish.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicNewEvent {
    /// Type of the event.
    #[schema(value_type = String, min_length = 1, max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub r#type: EventType,
    /// Payload of the event, any JSON.
    #[schema(value_type = Value, required = true)]
    pub payload: Payload,
    /// Time by the producer's clock. Absent, or a number outside the years 1 to 9999: the server's clock.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-04-02T10:00:00Z")]
    pub timestamp: SentTime,
    /// Makes a retry safe: the same id with the same content is stored once.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub event_id: Option<EventId>,
    /// Name of the agent.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub agent_name: Option<AgentName>,
}

impl PublicNewEvent {
    fn parse(mut fields: Fields<'_>, path: &str, limits: &Limits) -> Result<Self, HttpError> {
        let at = |error: Error| HttpError::from(if path.is_empty() { error } else { error.under(path) });
        let r#type = EventType::parse(&fields.required_string("type")?).map_err(at)?;
        let payload = fields.raw("payload").ok_or_else(|| at(Error::invalid("payload", "must be set")))?;
        let timestamp = time::take(&mut fields, "timestamp")?;
        let event_id = fields.string("event_id")?.map(|text| EventId::parse(&text)).transpose().map_err(at)?;
        let agent_name = fields.string("agent_name")?.map(|text| AgentName::parse(&text)).transpose().map_err(at)?;
        fields.finish()?;
        let payload = Payload::parse(&r#type, payload, limits).map_err(|error| at(error.under("payload")))?;
        Ok(Self { r#type, payload, timestamp, event_id, agent_name })
    }
}

impl From<PublicNewEvent> for NewEvent {
    fn from(event: PublicNewEvent) -> Self {
        let PublicNewEvent { r#type, payload, timestamp: SentTime { at, seconds }, event_id, agent_name } = event;
        Self { event_id, occurred_at: at, sent_seconds: seconds, agent_name, ..Self::new(r#type, payload) }
    }
}

/// An answer to an open question of a run.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicSignal {
    /// Kind of the answer.
    pub action: PublicAction,
    /// Data of the answer, any JSON.
    #[schema(value_type = Value, required = false)]
    pub payload: Option<String>,
}

impl PublicSignal {
    /// Parses a signal: `{"action":…,"payload"?}`.
    pub fn parse(text: &str) -> Result<Self, HttpError> {
        let mut fields = Fields::parse(text, "")?;
        let action = fields.required_string("action")?;
        let payload = fields.raw("payload").map(ToOwned::to_owned);
        fields.finish()?;
        let problem = || HttpError::field("action", "must be approve, reject or submit_input");
        Ok(Self { action: word(&action).ok_or_else(problem)?, payload })
    }
}

impl From<PublicSignal> for Control {
    fn from(PublicSignal { action, payload }: PublicSignal) -> Self {
        match action {
            PublicAction::Approve => Self::Approve { payload },
            PublicAction::Reject => Self::Reject { payload },
            PublicAction::SubmitInput => Self::SubmitInput { payload },
        }
    }
}

/// Kinds of answers to an open question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words say it")]
pub enum PublicAction {
    Approve,
    Reject,
    SubmitInput,
}

/// An object without members.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicNothing {}

impl PublicNothing {
    /// Parses no body, null, or an object without members.
    pub fn parse(text: &str) -> Result<Self, HttpError> {
        Fields::parse(or_empty(text), "")?.finish()?;
        Ok(Self {})
    }
}

/// The body, or an empty object for no body and null.
pub fn or_empty(text: &str) -> &str {
    if matches!(text.trim(), "" | "null") { "{}" } else { text }
}
