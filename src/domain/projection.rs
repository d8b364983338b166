//! The rules that turn the events of a run into its status, output, error, usage and pending question. The table in the
//! README is this file in words.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::error::{Error, Result};
use super::event::{Event, Origin};
use super::run::{PendingInput, Run, RunStatus};

/// What to do with an event that would change a final status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifecycle {
    /// Store it, change no status: an agent's last batch may come late.
    #[default]
    Record,
    /// Refuse it.
    Strict,
}

/// The documents of a run that an event changed. They may be large, so they do not live in the cached [`Run`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    /// A new output.
    pub output_json: Option<String>,
    /// A new error.
    pub error_json: Option<String>,
    /// What the platform newly says about how the run ended.
    pub status_detail_json: Option<String>,
    /// A new question (`Some(Some)`) or none any more (`Some(None)`).
    pub pending_input: Option<Option<PendingInput>>,
}

impl Documents {
    /// Takes over what `later` changed.
    pub fn merge(&mut self, later: Self) {
        if later.is_empty() {
            return;
        }
        self.output_json = later.output_json.or(self.output_json.take());
        self.error_json = later.error_json.or(self.error_json.take());
        self.status_detail_json = later.status_detail_json.or(self.status_detail_json.take());
        self.pending_input = later.pending_input.or(self.pending_input.take());
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.output_json.is_none()
            && self.error_json.is_none()
            && self.status_detail_json.is_none()
            && self.pending_input.is_none()
    }
}

/// Applies the next event of the run. `run.last_seq + 1 == event.seq`. The documents of `run` are left alone; what
/// changes in them comes back. Under [`Lifecycle::Strict`] nothing is changed when the event is refused.
pub fn apply(run: &mut Run, event: &Event, lifecycle: Lifecycle) -> Result<Documents> {
    assert_eq!(run.last_seq + 1, event.seq, "events are applied in the order of their seq");
    let fields = Fields::of(event);
    let was_final = run.status.is_final();
    let target = target_status(event, &fields);
    if let Some(to) = target
        && was_final
        && to != run.status
        && lifecycle == Lifecycle::Strict
    {
        let (run_id, event_type) = (event.run_id.to_string(), event.event_type.to_string());
        return Err(Error::FinalStatus { run_id, from: run.status, to, event_type });
    }
    run.last_seq = event.seq;
    run.updated_at = event.recorded_at;
    if run.agent_name.is_none() {
        run.agent_name.clone_from(&event.agent_name);
    }
    add_usage(run, event, &fields);
    let mut documents = Documents {
        output_json: output(event, &fields),
        error_json: error(event, &fields, target),
        status_detail_json: status_detail(event, &fields),
        pending_input: pending_input(event, &fields, was_final),
    };
    if documents.output_json.is_some() {
        run.output_at = Some(event.recorded_at);
    }
    if let Some(to) = target
        && !was_final
    {
        set_status(run, event, to, &mut documents);
    }
    Ok(documents)
}

fn set_status(run: &mut Run, event: &Event, to: RunStatus, documents: &mut Documents) {
    run.status = to;
    if matches!(to, RunStatus::Starting | RunStatus::Running) && run.started_at.is_none() {
        run.started_at = Some(event.occurred_at);
    }
    if to.is_final() {
        run.completed_at = Some(event.occurred_at);
        run.ended_by = Some(event.event_type.clone());
        documents.pending_input = Some(None);
    }
}

/// The status that an event asks for; `None` leaves it as it is.
fn target_status(event: &Event, fields: &Fields<'_>) -> Option<RunStatus> {
    use RunStatus::{AwaitingInput, Cancelled, Failed, Queued, Running, Stalled, Starting, Succeeded};
    let told = |default| Some(fields.string("to_status").and_then(|s| status_named(&s)).unwrap_or(default));
    match event.event_type.as_str() {
        "StructureRunStarting" => Some(Starting),
        "StructureRunRunning" | "run_start" | "human_input_received" => Some(Running),
        "StructureRunCompleted" => Some(completed_status(fields)),
        "StructureRunError" | "error" | "run.limit_exceeded" => Some(Failed),
        "run_end" => Some(Succeeded),
        "human_input_requested" | "run.awaiting_input" => Some(AwaitingInput),
        "run.created" => Some(Queued),
        "run.worker.started" | "run.resumed" => told(Running),
        "run.worker.succeeded" => told(Succeeded),
        "run.worker.failed" => told(Failed),
        "run.worker.stalled" => told(Stalled),
        "run.worker.retry_scheduled" => told(Queued),
        "run.cancelled" => Some(Cancelled),
        _ => None,
    }
}

/// StructureRunCompleted: by `status`; without a known one by the exit code; without that the completion counts.
fn completed_status(fields: &Fields<'_>) -> RunStatus {
    if let Some(status) = fields.string("status").and_then(|s| status_named(&s)).filter(|s| s.is_final()) {
        return status;
    }
    let detail = fields.object("status_detail");
    match detail.number("exit_code").or_else(|| fields.number("exit_code")) {
        Some(code) if code != 0.0 => RunStatus::Failed,
        _ => RunStatus::Succeeded,
    }
}

/// The names that the three reference pages use for a status, in any letter case.
#[must_use]
pub fn status_named(name: &str) -> Option<RunStatus> {
    Some(match name.to_ascii_lowercase().as_str() {
        "queued" => RunStatus::Queued,
        "starting" => RunStatus::Starting,
        "running" => RunStatus::Running,
        "awaiting_input" | "waiting_for_input" => RunStatus::AwaitingInput,
        "stalled" => RunStatus::Stalled,
        "succeeded" | "success" => RunStatus::Succeeded,
        "failed" | "error" => RunStatus::Failed,
        "cancelled" | "canceled" => RunStatus::Cancelled,
        _ => return None,
    })
}

fn output(event: &Event, fields: &Fields<'_>) -> Option<String> {
    match event.event_type.as_str() {
        "FinishStructureRunEvent" if event.origin == Origin::User => fields.text("output_task_output"),
        "run_end" => fields.text("output"),
        _ => None,
    }
}

fn error(event: &Event, fields: &Fields<'_>, target: Option<RunStatus>) -> Option<String> {
    if target != Some(RunStatus::Failed) {
        return None;
    }
    fields.text("status_detail").or_else(|| Some(event.payload.as_str().to_owned()))
}

fn status_detail(event: &Event, fields: &Fields<'_>) -> Option<String> {
    match event.event_type.as_str() {
        "StructureRunCompleted" | "StructureRunError" => fields.text("status_detail"),
        _ => None,
    }
}

fn pending_input(event: &Event, fields: &Fields<'_>, was_final: bool) -> Option<Option<PendingInput>> {
    let string = |name| fields.string(name).unwrap_or_default();
    match event.event_type.as_str() {
        "human_input_requested" | "run.awaiting_input" if !was_final => Some(Some(PendingInput {
            question: string("question"),
            context_json: fields.text("context").unwrap_or_default(),
            channel: string("channel"),
            reason_code: string("reason_code"),
            input_kind: string("input_kind"),
            requested_seq: event.seq,
        })),
        "human_input_received" | "run.signal_applied" | "run.input_received" => Some(None),
        _ => None,
    }
}

fn add_usage(run: &mut Run, event: &Event, fields: &Fields<'_>) {
    if event.event_type.as_str() != "run_end" {
        return;
    }
    let count = |name| fields.raw(name).and_then(|raw| raw.parse::<u64>().ok());
    let (prompt, completion, total) = (count("prompt_tokens"), count("completion_tokens"), count("total_tokens"));
    let (cost, model) = (fields.number("cost_usd"), fields.string("model"));
    if prompt.is_none() && completion.is_none() && total.is_none() && cost.is_none() && model.is_none() {
        return;
    }
    let usage = run.usage.get_or_insert_default();
    usage.prompt_tokens = usage.prompt_tokens.saturating_add(prompt.unwrap_or(0));
    usage.completion_tokens = usage.completion_tokens.saturating_add(completion.unwrap_or(0));
    usage.total_tokens = usage.total_tokens.saturating_add(total.unwrap_or(0));
    usage.cost_usd += cost.filter(|c| c.is_finite()).unwrap_or(0.0);
    if let Some(model) = model {
        usage.model = model;
    }
}

/// The members of a payload that is an object; no members where it is something else or cannot be decoded.
#[derive(Default)]
struct Fields<'a>(HashMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    fn of(event: &'a Event) -> Self {
        // Steps, tool calls and deltas are most of what is published and change nothing: they are not parsed.
        match event.event_type.as_str() {
            "StructureRunCompleted"
            | "StructureRunError"
            | "FinishStructureRunEvent"
            | "run_end"
            | "human_input_requested"
            | "run.resumed"
            | "run.awaiting_input" => Self::parse(event.payload.as_str()),
            other if other.starts_with("run.worker.") => Self::parse(event.payload.as_str()),
            _ => Self::default(),
        }
    }

    fn parse(json: &'a str) -> Self {
        Self(serde_json::from_str(json).unwrap_or_default())
    }

    /// The member's JSON text; `None` when absent or null.
    fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|raw| raw.get()).filter(|text| *text != "null")
    }

    fn text(&self, name: &str) -> Option<String> {
        self.raw(name).map(ToOwned::to_owned)
    }

    fn string(&self, name: &str) -> Option<String> {
        self.raw(name).and_then(|raw| serde_json::from_str(raw).ok())
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.raw(name).and_then(|raw| serde_json::from_str(raw).ok())
    }

    fn object(&self, name: &str) -> Self {
        self.raw(name).map(Self::parse).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "projection_tests.rs"]
mod tests;
