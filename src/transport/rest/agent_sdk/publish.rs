//! `POST /api/ingest`: one event, or an array of them.

use std::collections::HashMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::domain::{AgentName, Error, EventId, EventType, Limits, NewEvent, Payload, Published, RunId, RunStatus};
use crate::service::Service;
use crate::service::publish::Publish;
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::fields::{self, Fields};
use crate::transport::rest::time::TimeOfEvent;
use crate::transport::rest::{Gateway, HttpError, body, time};

use super::error;
use super::error::ApiError;
use super::status::Status;

/// Header that serves as the event id of a single event, for clients that set headers more easily than members.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// One event, or an array of events.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum IngestBody {
    /// A single event.
    One(IngestEvent),
    /// Events of one run or of several runs.
    Many(IngestArray),
}

/// Events of one run or of several runs.
#[derive(Deserialize, ToSchema)]
#[schema(min_items = 1, max_items = 1000)]
pub struct IngestArray(pub Vec<IngestEvent>);

/// An event as an agent SDK sends it; unknown members are refused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IngestEvent {
    /// Type of the event. `run_start`, `run_end`, `error`, `step`, `tool_call`, `human_input_requested` and
    /// `human_input_received` have the meaning of agent-os ingest; any other type is stored and listed as well.
    #[schema(example = "step", min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    pub event_type: String,
    /// Id of the run. The first event of a run creates the run, of any type.
    #[schema(example = "run_a1b2c3", min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub sdk_run_id: String,
    /// Data of the event, kept byte for byte. In the public view `input_preview` and `output_preview` of a `tool_call`
    /// are cut to 500 characters. Absent: `{}`.
    #[serde(default)]
    #[schema(value_type = HashMap<String, Value>)]
    pub payload: Map<String, Value>,
    /// Time by the producer's clock. Absent, or a number outside the years 1 to 9999: the server's clock.
    pub occurred_at: Option<TimeOfEvent>,
    /// Name of the agent; the first event with a name sets the name of the run's agent.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    pub agent_name: Option<String>,
    /// Makes a retry safe: the same event under the same id is stored once. Must not begin with `runlog:`. Absent: the
    /// server generates an id.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    pub event_id: Option<String>,
}

/// Response: an object for one event, an array in the same order for an array.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum IngestAnswer {
    /// Response to one event.
    One(Ingested),
    /// Response to an array, in the same order.
    Many(Vec<Ingested>),
}

/// A stored event.
#[derive(Serialize, ToSchema)]
pub struct Ingested {
    /// `ok`: the event is stored.
    status: &'static str,
    event_id: String,
    sdk_run_id: String,
    /// Seq in the run: 1, 2, 3 … without a gap. Also the cursor of the following events.
    #[schema(minimum = 1)]
    seq: u64,
    /// Status of the run after the request.
    run_status: Status,
    /// True if an earlier request had stored the event; otherwise absent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl Ingested {
    fn new(run_id: &RunId, status: RunStatus, event: &Published) -> Self {
        Self {
            status: "ok",
            event_id: event.event_id.to_string(),
            sdk_run_id: run_id.to_string(),
            seq: event.seq,
            run_status: status.into(),
            duplicate: event.duplicate,
        }
    }
}

/// Stores events; the response follows when the events are durable.
///
/// All events of an array are checked before any is stored. The events of one run are stored all or none, in order.
/// Events of several runs are not atomic: the error names the run that failed and the runs that are stored.
#[utoipa::path(post, path = "/api/ingest", operation_id = "agent_ingest", tag = "agent SDK", request_body = IngestBody,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 200,
            description = "Event id of a single event without event_id; refused with an array")),
    responses((status = 202, description = "Stored", body = IngestAnswer), error::OfABody, error::OfAnyCall))]
pub async fn ingest(State(gateway): State<Gateway>, request: Request<Body>) -> Result<Response, ApiError> {
    let service = &gateway.service;
    let key = idempotency_key(request.headers())?;
    let text = body::text(request, service.limits().max_request_bytes).await?;
    let answer = if text.trim_ascii_start().starts_with('[') {
        if key.is_some() {
            return Err(ApiError::field(
                "Idempotency-Key",
                "goes with a single event; give each of an array its event_id",
            ));
        }
        IngestAnswer::Many(many(service, &text).await?)
    } else {
        IngestAnswer::One(one(service, &text, key).await?)
    };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<EventId>, ApiError> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(ApiError::field("Idempotency-Key", "must be given once"));
    }
    let key = std::str::from_utf8(key.as_bytes()).map_err(|_| ApiError::field("Idempotency-Key", "must be UTF-8"))?;
    EventId::parse(key).map(Some).map_err(|error| ApiError::named("Idempotency-Key", error))
}

async fn one(service: &Service, text: &str, key: Option<EventId>) -> Result<Ingested, ApiError> {
    let (run_id, mut event) = new_event(Fields::parse(text, "")?, service.limits())?;
    let is_keyed = event.event_id.is_none() && key.is_some();
    event.event_id = event.event_id.or(key);
    let publish = Publish { run_id: run_id.clone(), events: vec![event], expected_last_seq: None };
    let appended = service.publish(publish).await.map_err(|error| match error {
        Error::InvalidField { problem, .. } if is_keyed => HttpError::field("Idempotency-Key", problem),
        other => EventPath::One.respell(other.into(), |index| index),
    })?;
    let [event] = appended.events.as_slice() else { unreachable!("a publish answers each of its events") };
    Ok(Ingested::new(&run_id, appended.status, event))
}

/// Events of one run, with the positions of the events in the array.
struct OfRun {
    run_id: RunId,
    positions: Vec<usize>,
    events: Vec<NewEvent>,
}

async fn many(service: &Service, text: &str) -> Result<Vec<Ingested>, ApiError> {
    let runs = by_run(text, service.limits())?;
    let (several, mut failed) = (runs.len() > 1, None);
    let mut submitted = Vec::with_capacity(runs.len());
    // Submits all runs before waiting for the first, so that the runs share a commit.
    for OfRun { run_id, positions, events } in runs {
        match service.submit(Publish { run_id: run_id.clone(), events, expected_last_seq: None }).await {
            Ok(receipt) => submitted.push((run_id, positions, receipt)),
            Err(error) => {
                failed = Some((run_id, respelled(error, &positions)));
                break;
            }
        }
    }
    let (mut stored, mut answers) = (Vec::new(), Vec::new());
    for (run_id, positions, receipt) in submitted {
        match receipt.stored().await {
            Ok(appended) => {
                let answer = |event: &Published| Ingested::new(&run_id, appended.status, event);
                answers.extend(positions.into_iter().zip(appended.events.iter().map(answer)));
                stored.push(run_id);
            }
            // An unknown outcome takes precedence: any other error claims that only the listed runs are stored.
            Err(error @ Error::OutcomeUnknown) => failed = Some((run_id, error.into())),
            Err(error) => failed = failed.or_else(|| Some((run_id, respelled(error, &positions)))),
        }
    }
    match failed {
        Some((run_id, error)) if several => Err(ApiError::from(error).partly(run_id, stored)),
        Some((_, error)) => Err(error.into()),
        None => {
            answers.sort_unstable_by_key(|(position, _)| *position);
            Ok(answers.into_iter().map(|(_, answer)| answer).collect())
        }
    }
}

/// The error of a run's events, with the position of the event in the array.
fn respelled(error: Error, positions: &[usize]) -> HttpError {
    EventPath::Bare.respell(error.into(), |index| positions.get(index).copied().unwrap_or(index))
}

/// Groups the events of an array by run. The runs are in the order of their first events.
fn by_run(text: &str, limits: &Limits) -> Result<Vec<OfRun>, ApiError> {
    let elements = fields::elements(text)?.unwrap_or_default();
    let (count, max) = (elements.len(), limits.max_request_events);
    if count == 0 || count > max {
        return Err(ApiError::field("body", format!("must hold 1 to {max} events; it has {count}")));
    }
    let (mut runs, mut index_of) = (Vec::new(), HashMap::new());
    for (position, element) in elements.into_iter().enumerate() {
        let (run_id, event) = new_event(Fields::parse(element.get(), EventPath::Bare.of(position))?, limits)?;
        let index = *index_of.entry(run_id.clone()).or_insert(runs.len());
        if index == runs.len() {
            runs.push(OfRun { run_id, positions: Vec::new(), events: Vec::new() });
        }
        runs[index].positions.push(position);
        runs[index].events.push(event);
    }
    Ok(runs)
}

fn new_event(mut fields: Fields<'_>, limits: &Limits) -> Result<(RunId, NewEvent), ApiError> {
    let at = |path: String| move |error| ApiError::named(path, error);
    let run_id = RunId::parse(&fields.required_string("sdk_run_id")?).map_err(at(fields.path_of("sdk_run_id")))?;
    let event_type = fields.required_string("event_type")?;
    let event_type = EventType::parse(&event_type).map_err(at(fields.path_of("event_type")))?;
    let (occurred_at, sent_seconds) = time::take(&mut fields, "occurred_at")?;
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
    let event = NewEvent::new(event_type, payload);
    Ok((run_id, NewEvent { event_id, occurred_at, sent_seconds, agent_name, ..event }))
}
