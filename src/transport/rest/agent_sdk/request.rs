//! Bodies of requests of the agent SDK API. The fields are what the parser fills and what `/openapi.json` describes.

use std::collections::HashMap;

use utoipa::ToSchema;

use crate::domain::{AgentName, EventId, EventType, Limits, NewEvent, Payload, RunId};
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::fields::{self, Fields};
use crate::transport::rest::time::{self, SentTime};

use super::error::ApiError;

/// One event, or an array of events, which is the form in `/openapi.json`: a choice of forms is more than generators of clients can
/// type.
pub enum IngestBody {
    /// A single event.
    One(IngestEvent),
    /// Events of one run or of several runs.
    Many(IngestArray),
}

impl IngestBody {
    /// Parses a body. `Idempotency-Key` names one event, so several under such a key are refused.
    pub fn parse(text: &str, is_keyed: bool, limits: &Limits) -> Result<Self, ApiError> {
        if !text.trim_ascii_start().starts_with('[') {
            return Ok(Self::One(IngestEvent::parse(Fields::parse(text, "")?, limits)?));
        }
        let events = IngestArray::parse(text, limits)?;
        if is_keyed && events.0.len() > 1 {
            return Err(ApiError::field("Idempotency-Key", "goes with one event; give each of several its event_id"));
        }
        Ok(Self::Many(events))
    }
}

/// Events of one run or of several runs.
#[derive(ToSchema)]
#[schema(min_items = 1, max_items = 1000)]
pub struct IngestArray(pub Vec<IngestEvent>);

/// Events of one run, with the positions of the events in the array.
pub struct OfRun {
    /// Id of the run.
    pub run_id: RunId,
    /// Positions in the array, counted from 0.
    pub positions: Vec<usize>,
    /// Events in the order of the array.
    pub events: Vec<NewEvent>,
}

impl IngestArray {
    fn parse(text: &str, limits: &Limits) -> Result<Self, ApiError> {
        let elements = fields::elements(text)?.unwrap_or_default();
        let (count, max) = (elements.len(), limits.max_request_events);
        if count == 0 || count > max {
            return Err(ApiError::field("body", format!("must hold 1 to {max} events; it has {count}")));
        }
        let event = |(position, element): (usize, &serde_json::value::RawValue)| {
            IngestEvent::parse(Fields::parse(element.get(), EventPath::Bare.of(position))?, limits)
        };
        Ok(Self(elements.into_iter().enumerate().map(event).collect::<Result<_, _>>()?))
    }

    /// Groups the events by run. The runs are in the order of their first events.
    #[must_use]
    pub fn by_run(self) -> Vec<OfRun> {
        let (mut runs, mut index_of) = (Vec::new(), HashMap::new());
        for (position, event) in self.0.into_iter().enumerate() {
            let (run_id, event) = event.into_event();
            let index = *index_of.entry(run_id.clone()).or_insert(runs.len());
            if index == runs.len() {
                runs.push(OfRun { run_id, positions: Vec::new(), events: Vec::new() });
            }
            runs[index].positions.push(position);
            runs[index].events.push(event);
        }
        runs
    }
}

/// An event as an agent SDK sends it; unknown members are refused.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IngestEvent {
    /// Type of the event. `run_start`, `run_end`, `error`, `step`, `tool_call`, `human_input_requested` and
    /// `human_input_received` have the meaning of agent-os ingest; any other type is stored and listed as well.
    #[schema(value_type = String, example = "step", min_length = 1, max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    pub event_type: EventType,
    /// Id of the run. The first event of a run creates the run, of any type.
    #[schema(value_type = String, example = "run_a1b2c3", min_length = 1, max_length = 200,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub sdk_run_id: RunId,
    /// Data of the event, kept byte for byte. In the public view `input_preview` and `output_preview` of a `tool_call`
    /// are cut to 500 characters. Absent: `{}`.
    #[schema(value_type = HashMap<String, Value>, additional_properties, required = false)]
    pub payload: Payload,
    /// Time by the producer's clock; a number of seconds since 1970 is taken, too. Absent, or a number outside the years 1 to 9999:
    /// the server's clock.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-04-02T10:00:00Z")]
    pub occurred_at: SentTime,
    /// Name of the agent; the first event with a name sets the name of the run's agent.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    pub agent_name: Option<AgentName>,
    /// Makes a retry safe: the same event under the same id is stored once. Must not begin with `runlog:`. Absent: the
    /// server generates an id.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    pub event_id: Option<EventId>,
}

impl IngestEvent {
    fn parse(mut fields: Fields<'_>, limits: &Limits) -> Result<Self, ApiError> {
        let at = |path: String| move |error| ApiError::named(path, error);
        let sdk_run_id = fields.required_string("sdk_run_id")?;
        let sdk_run_id = RunId::parse(&sdk_run_id).map_err(at(fields.path_of("sdk_run_id")))?;
        let event_type = fields.required_string("event_type")?;
        let event_type = EventType::parse(&event_type).map_err(at(fields.path_of("event_type")))?;
        let occurred_at = time::take(&mut fields, "occurred_at")?;
        let agent_name = fields.string("agent_name")?.map(|name| AgentName::parse(&name));
        let agent_name = agent_name.transpose().map_err(at(fields.path_of("agent_name")))?;
        let event_id = fields.string("event_id")?.map(|id| EventId::parse(&id));
        let event_id = event_id.transpose().map_err(at(fields.path_of("event_id")))?;
        let payload = fields.raw("payload").unwrap_or("{}");
        if !payload.starts_with('{') {
            return Err(ApiError::field(fields.path_of("payload"), "must be an object"));
        }
        let payload = Payload::parse(&event_type, payload, limits).map_err(at(fields.path_of("payload")))?;
        fields.finish()?;
        Ok(Self { event_type, sdk_run_id, payload, occurred_at, agent_name, event_id })
    }

    /// The event, and the id of its run.
    #[must_use]
    pub fn into_event(self) -> (RunId, NewEvent) {
        let Self { event_type, sdk_run_id, payload, occurred_at: SentTime { at, seconds }, agent_name, event_id } =
            self;
        let event = NewEvent::new(event_type, payload);
        (sdk_run_id, NewEvent { event_id, occurred_at: at, sent_seconds: seconds, agent_name, ..event })
    }
}
