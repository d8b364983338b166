//! The rules that turn the events of a run into its status, output, error, usage and pending question. The table in the
//! README is this file in words.

mod questions;
mod usage;

use super::error::{Error, Result};
use super::event::{Event, Origin};
use super::json::Members;
use super::run::{PendingInput, Run, RunStatus};
use super::time;

pub use questions::{MAX_OPEN_QUESTIONS, named_question, question_id};

/// Most characters of a word that is kept with a run: the name of a model, a channel, a reason.
const MAX_WORD_CHARS: usize = 200;

fn short(word: &str) -> String {
    cut(word, MAX_WORD_CHARS).to_owned()
}

/// The first `max` characters.
fn cut(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

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
    /// Questions that were opened or closed, each once.
    pub questions: Vec<QuestionChange>,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum QuestionChange {
    /// It was asked.
    Opened(PendingInput),
    /// It is open no more; only its [`reference`](PendingInput::reference) is known.
    Closed(PendingInput),
}

impl QuestionChange {
    /// The question, as far as it is known.
    #[must_use]
    pub fn question(&self) -> &PendingInput {
        match self {
            Self::Opened(question) | Self::Closed(question) => question,
        }
    }
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
        for change in later.questions {
            let seq = change.question().requested_seq;
            self.questions.retain(|before| before.question().requested_seq != seq);
            self.questions.push(change);
        }
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.output_json.is_none()
            && self.error_json.is_none()
            && self.status_detail_json.is_none()
            && self.questions.is_empty()
    }
}

/// Applies the next event of the run. `run.last_seq + 1 == event.seq`. The documents of `run` are left alone; what
/// changes in them comes back. Under [`Lifecycle::Strict`] nothing is changed when the event is refused.
///
/// An event after the end of the run changes nothing but its last seq and time: what the run came to stays.
pub fn apply(run: &mut Run, event: &Event, lifecycle: Lifecycle) -> Result<Documents> {
    assert_eq!(run.last_seq + 1, event.seq, "events are applied in the order of their seq");
    let members = members(event);
    let target = target_status(run, event, &members);
    let was_final = run.status.is_final();
    if let Some(to) = target
        && was_final
        && to != run.status
        && lifecycle == Lifecycle::Strict
    {
        let (run_id, event_type) = (event.run_id.to_string(), event.event_type.to_string());
        return Err(Error::FinalStatus { run_id, from: run.status, to, event_type, index: None });
    }
    run.last_seq = event.seq;
    run.updated_at = event.recorded_at;
    if was_final {
        return Ok(Documents::default());
    }
    if run.agent_name.is_none() {
        run.agent_name.clone_from(&event.agent_name);
    }
    usage::add(run, event, &members);
    let mut documents = Documents {
        output_json: output(event, &members),
        error_json: error(event, &members, target),
        status_detail_json: status_detail(event, &members),
        questions: questions::apply(run, event, &members),
    };
    if documents.output_json.is_some() {
        run.output_at = Some(event.recorded_at);
    }
    if let Some(to) = target {
        set_status(run, event, to, &mut documents);
    }
    set_reported_times(run, event, &members);
    Ok(documents)
}

/// When a structure run started and ended, as its runtime says: its events come seconds later.
fn set_reported_times(run: &mut Run, event: &Event, members: &Members<'_>) {
    if !event.event_type.as_str().starts_with("StructureRun") {
        return;
    }
    let reported = |name| members.string(name).and_then(|text| time::parse(&text).ok());
    run.started_at = reported("started_at").or(run.started_at);
    if run.status.is_final() {
        run.completed_at = reported("completed_at").or(run.completed_at);
    }
}

/// The members of its payload, where the event may change more of its run than the last seq. Steps, tool calls and deltas are
/// most of what is published and change nothing: they are not parsed.
fn members(event: &Event) -> Members<'_> {
    match event.event_type.as_str() {
        "StructureRunStarting"
        | "StructureRunRunning"
        | "StructureRunCompleted"
        | "StructureRunError"
        | "FinishStructureRunEvent"
        | "run_end"
        | "human_input_requested"
        | "human_input_received"
        | "run.resumed"
        | "run.awaiting_input"
        | "run.signal_applied"
        | "run.input_received" => Members::parse(event.payload.as_str()),
        other if other.starts_with("run.worker.") => Members::parse(event.payload.as_str()),
        _ => Members::default(),
    }
}

fn set_status(run: &mut Run, event: &Event, to: RunStatus, documents: &mut Documents) {
    run.status = to;
    if matches!(to, RunStatus::Starting | RunStatus::Running) && run.started_at.is_none() {
        run.started_at = Some(event.occurred_at);
    }
    if to.is_final() {
        run.completed_at = Some(event.occurred_at);
        run.ended_by = Some(event.event_type.clone());
        documents.merge(Documents { questions: questions::close_all(run), ..Documents::default() });
    }
}

/// The status that an event asks for; `None` leaves it as it is.
fn target_status(run: &Run, event: &Event, members: &Members<'_>) -> Option<RunStatus> {
    use RunStatus::{AwaitingInput, Cancelled, Failed, Queued, Running, Stalled, Starting, Succeeded};
    let told = |default| Some(members.string("to_status").and_then(|s| status_named(&s)).unwrap_or(default));
    match event.event_type.as_str() {
        "StructureRunStarting" => Some(Starting),
        "StructureRunRunning" | "run_start" => Some(Running),
        "StructureRunCompleted" => Some(completed_status(members).unwrap_or(Failed)),
        "StructureRunError" | "error" | "run.limit_exceeded" => Some(Failed),
        "run_end" => Some(Succeeded),
        "human_input_requested" | "run.awaiting_input" => Some(AwaitingInput),
        // The run waits until no question is open.
        "human_input_received" => Some(if questions::stays_open(run, members) { AwaitingInput } else { Running }),
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

/// StructureRunCompleted: by `status`, else by the exit code, which may also be a string of digits; where there is neither, the
/// completion counts. None: the status is a word that is no end of a run, and no exit code of 0 stands against it.
fn completed_status(members: &Members<'_>) -> Option<RunStatus> {
    let word = members.raw("status");
    let named = members.string("status").and_then(|word| status_named(&word)).filter(|status| status.is_final());
    if named.is_some() {
        return named;
    }
    let detail = members.object("status_detail");
    match (detail.number("exit_code").or_else(|| members.number("exit_code")), word) {
        (Some(0.0), _) | (None, None) => Some(RunStatus::Succeeded),
        (Some(_), None) => Some(RunStatus::Failed),
        (_, Some(_)) => None,
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

fn output(event: &Event, members: &Members<'_>) -> Option<String> {
    match event.event_type.as_str() {
        "FinishStructureRunEvent" if event.origin == Origin::User => members.text("output_task_output"),
        "run_end" => members.text("output"),
        _ => None,
    }
}

/// What went wrong: the platform's detail, or the whole payload, which also has the status where that is a word that nobody
/// knows.
fn error(event: &Event, members: &Members<'_>, target: Option<RunStatus>) -> Option<String> {
    if target != Some(RunStatus::Failed) {
        return None;
    }
    let is_known = event.event_type.as_str() != "StructureRunCompleted" || completed_status(members).is_some();
    let detail = members.text("status_detail").filter(|_| is_known);
    detail.or_else(|| Some(event.payload.as_str().to_owned()))
}

fn status_detail(event: &Event, members: &Members<'_>) -> Option<String> {
    match event.event_type.as_str() {
        "StructureRunCompleted" | "StructureRunError" => members.text("status_detail"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
