//! Requests of the agent SDK API: path, query parameters, headers and bodies.

use std::collections::{BTreeSet, HashMap};

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as NotAWord;

use crate::domain::{AgentName, EventFilter, EventId, EventType, Limits, NewEvent, Payload, RunId, RunStatus};
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::fields::{self, Fields};
use crate::transport::rest::query::Query;
use crate::transport::rest::time;

use super::error::ApiError;
use super::schema::Status;

/// Header that serves as the event id of a single event, for clients that set headers more easily than members.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Run id of the path. 422 for an invalid id.
pub fn run_id(path: Result<Path<String>, PathRejection>) -> Result<RunId, ApiError> {
    let Path(run_id) = path.map_err(|_| ApiError::field("sdk_run_id", "must be UTF-8, percent-encoded"))?;
    RunId::parse(&run_id).map_err(|error| ApiError::named("sdk_run_id", error))
}

/// Takes `types`, given once and separated by commas, or repeated with one type each.
pub fn types(query: &mut Query) -> Result<EventFilter, ApiError> {
    EventFilter::parse(&query.several("types"), Vec::new()).map_err(|error| ApiError::named("types", error))
}

/// Takes `status`, given once and separated by commas, or repeated.
pub fn statuses(query: &mut Query) -> Result<Vec<RunStatus>, ApiError> {
    // A set, since a query may repeat a status a thousand times.
    let statuses: Option<BTreeSet<_>> = query.several("status").iter().map(|word| from_word(word)).collect();
    Ok(statuses.ok_or_else(no_status)?.into_iter().collect())
}

/// Status of this name; `None` for any other spelling.
fn from_word(word: &str) -> Option<RunStatus> {
    let status = Status::deserialize(IntoDeserializer::<NotAWord>::into_deserializer(word)).ok()?;
    RunStatus::ALL.into_iter().find(|known| Status::from(*known) == status)
}

fn no_status() -> ApiError {
    let words: Vec<_> = RunStatus::ALL
        .into_iter()
        .filter_map(|status| serde_json::to_value(Status::from(status)).ok())
        .filter_map(|word| word.as_str().map(ToOwned::to_owned))
        .collect();
    ApiError::field("status", format!("must be one of {}", words.join(", ")))
}

/// Event id of the header `Idempotency-Key`; `None` when absent.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<EventId>, ApiError> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(ApiError::field("Idempotency-Key", "must be given once"));
    }
    let key = std::str::from_utf8(key.as_bytes()).map_err(|_| ApiError::field("Idempotency-Key", "must be UTF-8"))?;
    EventId::parse(key).map(Some).map_err(|error| ApiError::named("Idempotency-Key", error))
}

/// Events of one run, with the positions of the events in the array.
pub struct OfRun {
    /// Id of the run.
    pub run_id: RunId,
    /// Positions in the array, counted from 0.
    pub positions: Vec<usize>,
    /// Events in the order of the array.
    pub events: Vec<NewEvent>,
}

/// Groups the events of an array by run. The runs are in the order of their first events.
pub fn by_run(text: &str, limits: &Limits) -> Result<Vec<OfRun>, ApiError> {
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

/// An event of a body, with the id of its run.
pub fn new_event(mut fields: Fields<'_>, limits: &Limits) -> Result<(RunId, NewEvent), ApiError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_word_that_reads_back() {
        for status in RunStatus::ALL {
            let word = serde_json::to_value(Status::from(status)).unwrap();
            assert_eq!(from_word(word.as_str().unwrap()), Some(status));
        }
        for other in ["", "RUNNING", "succeeded", "unspecified"] {
            assert_eq!(from_word(other), None);
        }
    }
}
