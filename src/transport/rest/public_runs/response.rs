//! JSON forms of events and runs in the public runs API.

use std::fmt::Write;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::codec::record;
use crate::domain::json::public_view::ShownPayload;
use crate::domain::{Error, Event, Origin, PendingInput, Result, Run, Usage, View};
use crate::service::control::status_name;
use crate::service::list::EventsPage;
use crate::service::live::recent_events::EncodingKey;
use crate::transport::rest::removal::push_removal;
use crate::transport::rest::time;
use crate::transport::sse::{EventForm, LineIds};

use super::schema::{PublicPendingInput, PublicRun, PublicUsage};

/// Form of events in this view.
#[must_use]
pub fn form(view: View) -> EventForm {
    EventForm { keys: [EncodingKey::PublicRunsPublic, EncodingKey::PublicRunsFull], view, write, ids: LineIds::Seqs }
}

/// Appends a `PublicRunEvent`, with no members beyond that schema.
fn write(event: &Event, payload: &ShownPayload<'_>, out: &mut String) {
    let (seq, event_type, timestamp) =
        (event.seq, Value::from(event.event_type.as_str()), time::millis(event.occurred_at));
    let ShownPayload { json, redacted } = payload;
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        r#"{{"seq":{seq},"type":{event_type},"timestamp":"{timestamp}","payload":{{"redacted":{redacted},"value":{json}}}"#
    );
    push_removal(event, out);
    out.push('}');
}

/// Form of events in the stream of all runs, in this view.
#[must_use]
pub fn feed_form(view: View) -> EventForm {
    let keys = [EncodingKey::FeedPublic, EncodingKey::FeedFull];
    EventForm { keys, view, write: write_feed, ids: LineIds::FeedCursors }
}

/// Appends a `PublicFeedEvent`.
fn write_feed(event: &Event, payload: &ShownPayload<'_>, out: &mut String) {
    let origin = match event.origin {
        Origin::System => "system",
        Origin::User => "user",
    };
    let (run_id, event_type) = (Value::from(event.run_id.as_str()), Value::from(event.event_type.as_str()));
    let (seq, timestamp) = (event.seq, time::millis(event.occurred_at));
    let agent = event
        .agent_name
        .as_ref()
        .map_or_else(String::new, |name| format!(r#","agent_name":{}"#, Value::from(name.as_str())));
    let ShownPayload { json, redacted } = payload;
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        r#"{{"run_id":{run_id},"seq":{seq},"type":{event_type},"origin":"{origin}"{agent},"timestamp":"{timestamp}","payload":{{"redacted":{redacted},"value":{json}}}"#
    );
    push_removal(event, out);
    out.push('}');
}

/// A page as the schema `PublicRunEvents`. Payloads are copied as text and stay as sent.
pub fn page_json(page: EventsPage, form: EventForm) -> Result<String> {
    let mut json = String::from(r#"{"events":["#);
    for (index, record) in page.records.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        form.append(&record::decode(record.bytes)?, record.sensitive, &mut json);
    }
    json.push_str(&format!(r#"],"next_cursor":{},"has_more":{}}}"#, Value::from(page.next_cursor), page.has_more));
    Ok(json)
}

/// A run as the schema `PublicRun`.
pub fn run(run: Run) -> Result<PublicRun> {
    Ok(PublicRun {
        id: run.run_id.to_string(),
        status: status_name(run.status),
        created_at: time::millis(run.created_at),
        updated_at: time::millis(run.updated_at),
        started_at: run.started_at.map(time::millis),
        completed_at: run.completed_at.map(time::millis),
        last_seq: run.last_seq,
        output: run.output_json.map(stored).transpose()?,
        error: run.error_json.map(stored).transpose()?,
        agent_name: run.agent_name.map(|name| name.to_string()),
        structure_id: run.structure_id.map(|id| id.to_string()),
        usage: run.usage.map(usage),
        pending_input: run.pending_inputs.first().cloned().map(pending_input).transpose()?,
        pending_input_count: run.pending_inputs.len(),
        pending_inputs: run.pending_inputs.into_iter().map(pending_input).collect::<Result<_>>()?,
    })
}

fn usage(usage: Usage) -> PublicUsage {
    let Usage { prompt_tokens, completion_tokens, total_tokens, cost_usd, model } = usage;
    PublicUsage { prompt_tokens, completion_tokens, total_tokens, cost_usd, model: said(model) }
}

fn pending_input(pending: PendingInput) -> Result<PublicPendingInput> {
    let PendingInput { question_id, question, context_json, channel, reason_code, input_kind, requested_seq } = pending;
    Ok(PublicPendingInput {
        requested_seq,
        question_id: question_id.and_then(said),
        question: said(question),
        context: said(context_json).map(stored).transpose()?,
        channel: said(channel),
        reason_code: said(reason_code),
        input_kind: said(input_kind),
    })
}

fn said(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Stored JSON text, checked at the publish.
fn stored(text: String) -> Result<Box<RawValue>> {
    RawValue::from_string(text).map_err(|cause| {
        tracing::error!(%cause, "a stored document of a run does not read");
        Error::StoreDamaged
    })
}
