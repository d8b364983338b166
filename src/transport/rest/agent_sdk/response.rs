//! Events and runs as the agent SDK API writes them.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::codec::record;
use crate::domain::json::public_view::ShownPayload;
use crate::domain::{
    AgentName, Error, Event, Origin, PendingInput, Published, Result, Run, RunId, RunStatus, Usage, View,
};
use crate::service::list::EventsPage;
use crate::service::live::recent_events::EncodingKey;
use crate::transport::rest::removal::push_removal;
use crate::transport::sse::{EventForm, LineIds};

use super::schema::{Envelope, EventOrigin, Ingested, PageEnd, PendingInputView, RunView, Status, Tokens};

impl Ingested {
    /// A stored event; `status` is the status of the run after the request.
    pub(super) fn new(run_id: &RunId, status: RunStatus, event: &Published) -> Self {
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

/// JSON form of events in this API.
pub fn form(view: View) -> EventForm {
    EventForm { keys: [EncodingKey::AgentSdkPublic, EncodingKey::AgentSdkFull], view, write, ids: LineIds::Seqs }
}

/// Appends an event. The payload is inserted as text and stays as sent.
fn write(event: &Event, payload: &ShownPayload<'_>, out: &mut String) {
    let envelope = Envelope {
        event_type: event.event_type.as_str(),
        sdk_run_id: event.run_id.as_str(),
        seq: event.seq,
        event_id: event.event_id.as_str(),
        occurred_at: event.occurred_at,
        recorded_at: event.recorded_at,
        agent_name: event.agent_name.as_ref().map(AgentName::as_str),
        origin: match event.origin {
            Origin::System => EventOrigin::System,
            Origin::User => EventOrigin::User,
        },
        redacted: payload.redacted,
    };
    out.push_str(&json(&envelope));
    // Reopens the object: the payload goes before the closing brace.
    out.pop();
    push_removal(event, out);
    out.push_str(r#","payload":"#);
    out.push_str(&payload.json);
    out.push('}');
}

/// A page of events.
pub fn page_json(page: EventsPage, form: EventForm) -> Result<String> {
    let mut body = String::from(r#"{"events":["#);
    for (index, stored) in page.records.into_iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        form.append(&record::decode(stored.bytes)?, stored.sensitive, &mut body);
    }
    let end = PageEnd { next_cursor: page.next_cursor, has_more: page.has_more, last_seq: page.last_seq };
    body.push_str("],");
    body.push_str(&json(&end)[1..]);
    Ok(body)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| unreachable!("text, numbers and times are JSON"))
}

impl RunView {
    /// State of a run.
    pub(super) fn new(run: Run) -> Result<Self> {
        let (tokens, cost_usd, model) = match run.usage {
            None => (None, None, None),
            Some(Usage {
                prompt_tokens: prompt,
                completion_tokens: completion,
                total_tokens: total,
                cost_usd,
                model,
            }) => {
                // Zero counts were not reported.
                let tokens = Some(Tokens { prompt, completion, total })
                    .filter(|tokens| tokens.prompt.max(tokens.completion).max(tokens.total) > 0);
                (tokens, Some(cost_usd).filter(|cost| *cost > 0.0), said(model))
            }
        };
        Ok(Self {
            sdk_run_id: run.run_id.to_string(),
            status: run.status.into(),
            agent_name: run.agent_name.map(|name| name.to_string()),
            output: raw(run.output_json)?,
            error: raw(run.error_json)?,
            tokens,
            cost_usd,
            model,
            pending_input: run.pending_inputs.first().cloned().map(PendingInputView::new).transpose()?,
            pending_input_count: run.pending_inputs.len(),
            pending_inputs: run.pending_inputs.into_iter().map(PendingInputView::new).collect::<Result<_>>()?,
            created_at: run.created_at,
            updated_at: run.updated_at,
            started_at: run.started_at,
            completed_at: run.completed_at,
            last_seq: run.last_seq,
        })
    }
}

impl PendingInputView {
    fn new(pending: PendingInput) -> Result<Self> {
        let PendingInput { question_id, question, context_json, channel, reason_code, input_kind, requested_seq } =
            pending;
        Ok(Self {
            question_id: question_id.and_then(said),
            question: said(question),
            context: raw(said(context_json))?,
            channel: said(channel),
            reason_code: said(reason_code),
            input_kind: said(input_kind),
            requested_seq,
        })
    }
}

fn said(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Stored JSON text, as sent.
fn raw(json: Option<String>) -> Result<Option<Box<RawValue>>> {
    json.map(RawValue::from_string).transpose().map_err(|cause| {
        tracing::error!(%cause, "a stored document of a run is no JSON");
        Error::StoreDamaged
    })
}

impl From<RunStatus> for Status {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Unspecified => Self::Pending,
            RunStatus::Queued => Self::Queued,
            RunStatus::Starting => Self::Starting,
            RunStatus::Running => Self::Running,
            RunStatus::AwaitingInput => Self::WaitingForInput,
            RunStatus::Stalled => Self::Stalled,
            RunStatus::Succeeded => Self::Success,
            RunStatus::Failed => Self::Error,
            RunStatus::Cancelled => Self::Cancelled,
        }
    }
}
