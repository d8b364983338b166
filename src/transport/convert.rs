//! Conversion between generated messages and domain values. An invalid value is refused with the path of the field, as
//! spelled in the request.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::time::FIRST_SECOND;
use crate::domain::usage::{UsageGroup, UsageGrouping, UsageKey, UsageReport, UsageTotals};
use crate::domain::{
    AgentName, Error, EventFilter, EventId, EventType, Limits, NewEvent, Origin, Payload, PendingInput, Result, Run,
    RunFilter, RunId, RunStatus, Scope, SearchText, StructureId, Usage, View,
};
use crate::pb;
use crate::service::Service;

use super::payload;
use super::view::Presentation;

/// Events of a publish request, between 1 and the limit for one request.
pub fn new_events(events: Vec<pb::NewEvent>, limits: &Limits) -> Result<Vec<NewEvent>> {
    let (count, max) = (events.len(), limits.max_request_events);
    if count == 0 || count > max {
        return Err(Error::invalid("events", format!("must hold 1 to {max} events; it has {count}")));
    }
    // Not collected in place: the allocation of the decoded messages is several times larger, and would live until the commit.
    let mut converted = Vec::with_capacity(count);
    for (i, event) in events.into_iter().enumerate() {
        converted.push(new_event(event, limits).map_err(|error| error.under(&format!("events[{i}]")))?);
    }
    Ok(converted)
}

/// One event of a publish request. Paths in errors start at the event.
pub fn new_event(event: pb::NewEvent, limits: &Limits) -> Result<NewEvent> {
    let pb::NewEvent { event_id, r#type, origin, occurred_at, agent_name, payload } = event;
    let payload = payload.unwrap_or_default();
    let event_type = event_type(&r#type, &payload)?;
    let payload = stored_payload(&event_type, payload, limits)?;
    let event = NewEvent::new(event_type, payload);
    Ok(NewEvent {
        event_id: optional(&event_id, EventId::parse)?,
        origin: match pb::Origin::try_from(origin) {
            Ok(pb::Origin::Unspecified) => event.origin,
            Ok(pb::Origin::System) => Origin::System,
            Ok(pb::Origin::User) => Origin::User,
            Err(_) => return Err(Error::invalid("origin", format!("{origin} is no known origin"))),
        },
        occurred_at: occurred_at.map(timestamp).transpose()?,
        agent_name: optional(&agent_name, AgentName::parse)?,
        ..event
    })
}

fn event_type(name: &str, payload: &pb::Payload) -> Result<EventType> {
    let event_type = match (name, payload::default_type(payload)) {
        ("", Some(default)) => EventType::parse(default)?,
        _ => EventType::parse(name)?,
    };
    let allowed = payload::allowed_types(payload);
    if !allowed.is_empty() && !allowed.contains(&event_type.as_str()) {
        let problem = format!("this variant belongs to the type {}, not to {event_type}", allowed.join(" or "));
        return Err(Error::invalid("payload", problem));
    }
    Ok(event_type)
}

fn stored_payload(event_type: &EventType, payload: pb::Payload, limits: &Limits) -> Result<Payload> {
    let text = match payload {
        pb::Payload { variant: Some(pb::payload::Variant::Json(text)), extra_json } if extra_json.is_empty() => text,
        typed => {
            let at = |error: payload::PayloadError| Error::invalid(format!("payload.{}", error.field), error.problem);
            payload::to_json(&typed).map_err(at)?
        }
    };
    Payload::parse(event_type, text, limits).map_err(|error| error.under("payload"))
}

/// Parses an optional text. An empty text means absent.
pub fn optional<T>(text: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

fn timestamp(at: prost_types::Timestamp) -> Result<Timestamp> {
    let problem = "must lie between 0001-01-01 and 9999-12-30, with nanos from 0 to 999999999";
    if at.seconds < FIRST_SECOND || !(0..1_000_000_000).contains(&at.nanos) {
        return Err(Error::invalid("occurred_at", problem));
    }
    Timestamp::new(at.seconds, at.nanos).map_err(|_| Error::invalid("occurred_at", problem))
}

/// Filter of runs. The range of times is `created_from` and `created_until`.
pub fn run_filter(
    statuses: &[i32],
    agent_name: &str,
    structure_id: &str,
    [created_from, created_until]: [Option<prost_types::Timestamp>; 2],
    text: &str,
) -> Result<RunFilter> {
    Ok(RunFilter {
        statuses: run_statuses(statuses)?,
        agent_name: optional(agent_name, AgentName::parse)?,
        structure_id: optional(structure_id, StructureId::parse)?,
        created_from: time_bound("created_from", created_from)?,
        created_until: time_bound("created_until", created_until)?,
        text: optional(text, SearchText::parse)?,
    })
}

/// Bound of a time range; `None`: no bound.
fn time_bound(field: &str, at: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>> {
    at.map(|at| timestamp(at).map_err(|error| error.with_field(field))).transpose()
}

/// Scope of a read: one run, or the feed if `run_id` is absent.
pub fn scope(run_id: Option<&str>) -> Result<Scope> {
    match run_id {
        Some(run_id) => RunId::parse(run_id).map(Scope::Run),
        None => Ok(Scope::Feed),
    }
}

/// Error for a read with neither `run_id` nor `all_runs`.
#[must_use]
pub fn no_scope() -> Error {
    Error::invalid("scope", "set run_id or all_runs")
}

/// Filter of a read. An absent filter passes all events.
pub fn filter(filter: Option<pb::EventFilter>) -> Result<EventFilter> {
    let Some(pb::EventFilter { types, origins, run_ids, agent_names }) = filter else {
        return Ok(EventFilter::default());
    };
    let origins = origins.iter().enumerate().map(|(i, number)| match pb::Origin::try_from(*number) {
        Ok(pb::Origin::System) => Ok(Origin::System),
        Ok(pb::Origin::User) => Ok(Origin::User),
        _ => Err(Error::invalid(format!("filter.origins[{i}]"), format!("{number} is no known origin"))),
    });
    let mut wanted = Vec::new();
    for origin in origins {
        let origin = origin?;
        // A request may repeat an origin a million times.
        if !wanted.contains(&origin) {
            wanted.push(origin);
        }
    }
    let named = |field: &'static str, i: usize| move |error: Error| error.with_field(format!("filter.{field}[{i}]"));
    let runs = run_ids.iter().enumerate().map(|(i, id)| RunId::parse(id).map_err(named("run_ids", i)));
    let agents =
        agent_names.iter().enumerate().map(|(i, name)| AgentName::parse(name).map_err(named("agent_names", i)));
    EventFilter::parse(&types, wanted)?.of(runs.collect::<Result<_>>()?, agents.collect::<Result<_>>()?)
}

/// Payload format and view of a read, as far as the caller may have it. Unspecified: typed payloads in the public view.
pub fn presentation(service: &Service, format: i32, view: i32) -> Result<Presentation> {
    let typed = match pb::PayloadFormat::try_from(format) {
        Ok(pb::PayloadFormat::Unspecified | pb::PayloadFormat::Typed) => true,
        Ok(pb::PayloadFormat::Json) => false,
        Err(_) => return Err(Error::invalid("payload_format", format!("{format} is no known format"))),
    };
    let view = match pb::EventView::try_from(view) {
        Ok(pb::EventView::Unspecified | pb::EventView::Public) => View::Public,
        Ok(pb::EventView::Full) => View::Full,
        Err(_) => return Err(Error::invalid("view", format!("{view} is no known view"))),
    };
    Ok(Presentation { typed, view: service.view(Some(view), View::Public)? })
}

/// Page size of a request. A negative size is refused.
pub fn page_size(size: i32) -> Result<usize> {
    usize::try_from(size).map_err(|_| Error::invalid("page_size", format!("must not be negative; it is {size}")))
}

/// Duration of a request field. A negative duration is refused.
pub fn duration(field: &str, duration: prost_types::Duration) -> Result<Duration> {
    Duration::try_from(duration).map_err(|_| Error::invalid(field, "must not be negative"))
}

/// Statuses of a filter, without duplicates. Unknown and unspecified statuses are refused.
fn run_statuses(numbers: &[i32]) -> Result<Vec<RunStatus>> {
    let known = |(i, number): (usize, &i32)| {
        let status = RunStatus::from_number(i64::from(*number)).filter(|status| *status != RunStatus::Unspecified);
        status.ok_or_else(|| Error::invalid(format!("statuses[{i}]"), format!("{number} is no known status")))
    };
    let mut wanted = Vec::new();
    for status in numbers.iter().enumerate().map(known) {
        let status = status?;
        if !wanted.contains(&status) {
            wanted.push(status);
        }
    }
    Ok(wanted)
}

/// Number of a status in `runlog.v1`, equal to the number in the domain.
#[must_use]
pub fn status(status: RunStatus) -> i32 {
    i32::from(status as u8)
}

/// A run as a message of `runlog.v1`.
#[must_use]
pub fn run(run: Run) -> pb::Run {
    pb::Run {
        run_id: run.run_id.to_string(),
        status: status(run.status),
        agent_name: run.agent_name.as_ref().map(AgentName::to_string).unwrap_or_default(),
        structure_id: run.structure_id.as_ref().map(StructureId::to_string).unwrap_or_default(),
        created_at: Some(instant(run.created_at)),
        updated_at: Some(instant(run.updated_at)),
        started_at: run.started_at.map(instant),
        completed_at: run.completed_at.map(instant),
        first_seq: run.first_seq,
        last_seq: run.last_seq,
        held: run.is_held,
        output_json: run.output_json.unwrap_or_default(),
        error_json: run.error_json.unwrap_or_default(),
        usage: run.usage.map(usage),
        pending_input: run.pending_inputs.first().cloned().map(pending_input),
        pending_input_count: u32::try_from(run.pending_inputs.len()).unwrap_or(u32::MAX),
        pending_inputs: run.pending_inputs.into_iter().map(pending_input).collect(),
    }
}

fn usage(usage: Usage) -> pb::Usage {
    let Usage { prompt_tokens, completion_tokens, total_tokens, cost_usd, model } = usage;
    pb::Usage { prompt_tokens, completion_tokens, total_tokens, cost_usd, model }
}

/// Grouping of a sum over runs; `None`: no groups.
pub fn usage_grouping(number: i32) -> Result<Option<UsageGrouping>> {
    match pb::UsageGrouping::try_from(number) {
        Ok(pb::UsageGrouping::Unspecified) => Ok(None),
        Ok(pb::UsageGrouping::Agent) => Ok(Some(UsageGrouping::Agent)),
        Ok(pb::UsageGrouping::Model) => Ok(Some(UsageGrouping::Model)),
        Ok(pb::UsageGrouping::Day) => Ok(Some(UsageGrouping::Day)),
        Ok(pb::UsageGrouping::Status) => Ok(Some(UsageGrouping::Status)),
        Err(_) => Err(Error::invalid("group_by", format!("{number} is no known grouping"))),
    }
}

/// Sums over runs as a message of `runlog.v1`.
#[must_use]
pub fn usage_report(report: UsageReport) -> pb::GetUsageResponse {
    let name = |key| match key {
        UsageKey::Name(name) => name,
        UsageKey::Status(status) => status.to_string(),
    };
    let group = |UsageGroup { key, totals }| pb::UsageGroup { key: key.map(name), totals: Some(usage_totals(totals)) };
    let UsageReport { groups, total, complete } = report;
    let groups = groups.into_iter().map(group).collect();
    pb::GetUsageResponse { groups, total: Some(usage_totals(total)), complete }
}

fn usage_totals(totals: UsageTotals) -> pb::UsageTotals {
    let UsageTotals { runs, prompt_tokens, completion_tokens, total_tokens, cost_usd } = totals;
    pb::UsageTotals { runs, prompt_tokens, completion_tokens, total_tokens, cost_usd }
}

fn pending_input(pending: PendingInput) -> pb::PendingInput {
    let PendingInput { question_id, question, context_json, channel, reason_code, input_kind, requested_seq } = pending;
    let question_id = question_id.unwrap_or_default();
    pb::PendingInput { question, context_json, channel, reason_code, input_kind, requested_seq, question_id }
}

pub(super) fn instant(at: Timestamp) -> prost_types::Timestamp {
    let at_utc = at.as_nanosecond();
    let seconds = i64::try_from(at_utc.div_euclid(1_000_000_000)).unwrap_or_default();
    let nanos = i32::try_from(at_utc.rem_euclid(1_000_000_000)).unwrap_or_default();
    prost_types::Timestamp { seconds, nanos }
}
