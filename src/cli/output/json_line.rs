//! `--json` output: NDJSON, payloads as the published JSON text.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::text::{instant, one_line};
use crate::cli::outcome::{Exit, Failure};
use crate::domain::Removal;
use crate::pb::{self, Origin, RunStatus, payload::Variant};

#[derive(Serialize)]
struct EventLine<'a> {
    run_id: &'a str,
    seq: u64,
    event_id: &'a str,
    r#type: &'a str,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_at: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    agent_name: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    removal: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined_from: Option<u64>,
    payload: &'a RawValue,
}

#[derive(Serialize)]
struct RunLine<'a> {
    run_id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    agent_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    structure_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    last_seq: u64,
    #[serde(skip_serializing_if = "is_first")]
    first_seq: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    held: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_input: Option<PendingLine<'a>>,
}

#[derive(Serialize)]
struct UsageLine<'a> {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    cost_usd: f64,
    model: &'a str,
}

#[derive(Serialize)]
struct PendingLine<'a> {
    question: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a RawValue>,
    channel: &'a str,
    reason_code: &'a str,
    input_kind: &'a str,
    requested_seq: u64,
}

/// One event as a line of NDJSON, without the line break.
pub fn event(event: &pb::Event) -> Result<String, Failure> {
    let payload = one_line(payload_text(event)?);
    let Some(payload) = raw(&payload)? else {
        return Err(not_json("an empty payload"));
    };
    line(&EventLine {
        run_id: &event.run_id,
        seq: event.seq,
        event_id: &event.event_id,
        r#type: &event.r#type,
        origin: origin_name(event.origin),
        occurred_at: time(event.occurred_at.as_ref()),
        recorded_at: time(event.recorded_at.as_ref()),
        agent_name: &event.agent_name,
        redacted: event.redacted,
        removal: removal_name(event.removal),
        joined_from: joined_from(event),
        payload,
    })
}

/// Whether a run begins with its first event, as most do. Older servers do not say.
fn is_first(first_seq: &u64) -> bool {
    *first_seq <= 1
}

/// Name of a removal; `None`: the payload is there.
pub fn removal_name(removal: i32) -> Option<&'static str> {
    Removal::from_number(removal).map(Removal::as_str)
}

/// Seq of the first event whose text the payload holds, too; `None`: no other text.
pub fn joined_from(event: &pb::Event) -> Option<u64> {
    Some(event.joined_from).filter(|seq| *seq > 0)
}

/// One run as a line of NDJSON, without the line break.
pub fn run(run: &pb::Run) -> Result<String, Failure> {
    let (output, error) = (one_line(&run.output_json), one_line(&run.error_json));
    let context = run.pending_input.as_ref().map_or(Cow::Borrowed(""), |pending| one_line(&pending.context_json));
    line(&RunLine {
        run_id: &run.run_id,
        status: status_name(run.status),
        agent_name: &run.agent_name,
        structure_id: &run.structure_id,
        created_at: time(run.created_at.as_ref()),
        updated_at: time(run.updated_at.as_ref()),
        started_at: time(run.started_at.as_ref()),
        completed_at: time(run.completed_at.as_ref()),
        last_seq: run.last_seq,
        first_seq: run.first_seq,
        held: run.held,
        output: raw(&output)?,
        error: raw(&error)?,
        usage: run.usage.as_ref().map(|usage| UsageLine {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens,
            cost_usd: usage.cost_usd,
            model: &usage.model,
        }),
        pending_input: match &run.pending_input {
            None => None,
            Some(pending) => Some(PendingLine {
                question: &pending.question,
                context: raw(&context)?,
                channel: &pending.channel,
                reason_code: &pending.reason_code,
                input_kind: &pending.input_kind,
                requested_seq: pending.requested_seq,
            }),
        },
    })
}

/// JSON text of the payload. All commands request `PAYLOAD_FORMAT_JSON`, so a typed payload is a protocol error.
pub fn payload_text(event: &pb::Event) -> Result<&str, Failure> {
    match event.payload.as_ref().and_then(|payload| payload.variant.as_ref()) {
        Some(Variant::Json(text)) => Ok(text),
        None => Ok("{}"),
        Some(_) => Err(Failure::new(Exit::Protocol, "the server sent a typed payload although JSON was asked for")),
    }
}

/// `SYSTEM` or `USER`; an unknown number is `UNSPECIFIED`.
pub fn origin_name(origin: i32) -> &'static str {
    let origin = Origin::try_from(origin).unwrap_or_default();
    origin.as_str_name().trim_start_matches("ORIGIN_")
}

/// Name of the status, for instance `AWAITING_INPUT`; an unknown number is `UNSPECIFIED`.
pub fn status_name(status: i32) -> &'static str {
    let status = RunStatus::try_from(status).unwrap_or_default();
    status.as_str_name().trim_start_matches("RUN_STATUS_")
}

/// The value as one line of JSON, without the line break.
pub fn line(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::new(Exit::Other, error.to_string()))
}

fn raw(text: &str) -> Result<Option<&RawValue>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(not_json)
}

fn not_json(problem: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Protocol, format!("the server sent a payload that is no JSON: {problem}"))
}

fn time(at: Option<&prost_types::Timestamp>) -> Option<String> {
    instant(at).map(|at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_keeps_its_text() {
        let json = "{ \"b\":12345678901234567890123, \"a\":1e2,\n \"b\":null}".to_owned();
        let payload = pb::Payload { extra_json: String::new(), variant: Some(Variant::Json(json)) };
        let recorded_at = Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 });
        let stored = pb::Event {
            run_id: "r".into(),
            seq: 2,
            event_id: "e".into(),
            r#type: "t".into(),
            origin: 1,
            recorded_at,
            payload: Some(payload),
            ..Default::default()
        };
        assert_eq!(
            event(&stored).unwrap(),
            "{\"run_id\":\"r\",\"seq\":2,\"event_id\":\"e\",\"type\":\"t\",\"origin\":\"SYSTEM\",\
             \"recorded_at\":\"1970-01-01T00:00:01.5Z\",\
             \"payload\":{ \"b\":12345678901234567890123, \"a\":1e2,  \"b\":null}}"
        );
    }

    #[test]
    fn a_run_shows_its_documents_as_json() {
        let stored = pb::Run { run_id: "r".into(), status: 4, output_json: "[1]".into(), ..Default::default() };
        let line = run(&stored).unwrap();
        assert_eq!(line, r#"{"run_id":"r","status":"AWAITING_INPUT","last_seq":0,"output":[1]}"#);
        assert_eq!((status_name(99), origin_name(7)), ("UNSPECIFIED", "UNSPECIFIED"));
    }
}
