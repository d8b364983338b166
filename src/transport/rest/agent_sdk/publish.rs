//! `POST /api/ingest`: one event, or an array of them.

use crate::transport::rest::json::Json;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::domain::{Error, EventId, Published};
use crate::service::Service;
use crate::service::publish::{Publish, Sequence};
use crate::transport::rest::body;
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::query::no_parameters;

use super::error;
use super::error::ApiError;
use super::params::IdempotencyHeader;
use super::request::{IngestArray, IngestBody, IngestEvent, OfRun};
use super::schema::{IngestAnswer, Ingested};

/// Stores events; the response follows when the events are durable.
///
/// All events of an array are checked before any is stored. The events of one run are stored all or none, in order.
/// Events of several runs are not atomic: the error names the run that failed and the runs that are stored.
///
/// The body may also be one event, without an array; so is the answer then.
#[utoipa::path(post, path = "/api/ingest", operation_id = "agent_ingest", tag = "agent SDK", request_body = IngestArray,
    params(IdempotencyHeader),
    responses((status = 202, description = "Stored: an answer to each event, in the same order", body = Vec<Ingested>),
        error::OfABody, error::OfAnyCall))]
pub async fn ingest(gateway: Gateway, request: Request<Body>) -> Result<Response, ApiError> {
    let service = &gateway.service;
    no_parameters(request.uri())?;
    let IdempotencyHeader { idempotency_key: key } = IdempotencyHeader::read(request.headers())?;
    let text = body::text(request, service.limits().max_request_bytes).await?;
    let answer = match IngestBody::parse(&text, key.is_some(), service.limits())? {
        IngestBody::One(event) => IngestAnswer::One(one(service, event, key, EventPath::One).await?),
        IngestBody::Many(IngestArray(mut events)) if events.len() == 1 => {
            IngestAnswer::Many(vec![one(service, events.remove(0), key, EventPath::Bare).await?])
        }
        IngestBody::Many(events) => IngestAnswer::Many(many(service, events).await?),
    };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

async fn one(
    service: &Service,
    event: IngestEvent,
    key: Option<EventId>,
    path: EventPath,
) -> Result<Ingested, ApiError> {
    let (run_id, mut event) = event.into_event();
    let is_keyed = event.event_id.is_none() && key.is_some();
    event.event_id = event.event_id.or(key);
    let publish = Publish { run_id: run_id.clone(), events: vec![event], expected_last_seq: None };
    let appended = service.publish(publish).await.map_err(|error| match error {
        Error::InvalidField { problem, .. } if is_keyed => HttpError::field("Idempotency-Key", problem),
        other => path.respell(other.into(), |index| index),
    })?;
    let [event] = appended.events.as_slice() else { unreachable!("a publish answers each of its events") };
    Ok(Ingested::new(&run_id, appended.status, event))
}

async fn many(service: &Service, events: IngestArray) -> Result<Vec<Ingested>, ApiError> {
    let runs = events.by_run();
    let (several, mut failed) = (runs.len() > 1, None);
    let (mut submitted, sequence) = (Vec::with_capacity(runs.len()), Sequence::begin());
    // Submits all runs before waiting for the first, so that the runs share a commit where they can.
    for OfRun { run_id, positions, events } in runs {
        let publish = Publish { run_id: run_id.clone(), events, expected_last_seq: None };
        match service.submit(publish, Some(sequence)).await {
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
