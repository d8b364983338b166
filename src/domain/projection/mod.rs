//! Projection of the events of a run to its status, output, error, usage and open questions. `event_types` has the rule of
//! each type, and `proto/README.md` has the rules as a table.

mod documents;
mod questions;
mod text;
mod usage;

use super::error::{Error, Result};
use super::event::{Event, Origin};
use super::event_types::{Effect, Reads, StatusRule};
use super::json::Members;
use super::run::Run;
use super::run_status::RunStatus;
use super::time;

pub use documents::{Documents, QuestionChange};
pub use questions::{MAX_OPEN_QUESTIONS, named_question, question_id};

/// Handling of an event that would change a final status; the option `--lifecycle`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifecycle {
    /// Store the event and leave the status, since an agent's last batch may be late.
    #[default]
    Record,
    /// Refuse the event with `FinalStatus`.
    Strict,
}

/// The documents that this event sets in a run that has not ended: what an event sets depends on no other.
#[must_use]
pub fn documents_of(event: &Event) -> Documents {
    let mut before = Run { last_seq: event.seq - 1, ..Run::new(event.run_id.clone(), event.recorded_at) };
    // Only the strict lifecycle refuses events.
    apply(&mut before, event, Lifecycle::Record).unwrap_or_default()
}

/// Applies the next event of the run; `event.seq` must be `run.last_seq + 1`. Changed texts are returned and not written to
/// `run`.
///
/// After a final status an event only advances `last_seq` and `updated_at`.
///
/// # Errors
/// `FinalStatus` under [`Lifecycle::Strict`], with `run` unchanged.
pub fn apply(run: &mut Run, event: &Event, lifecycle: Lifecycle) -> Result<Documents> {
    assert_eq!(run.last_seq + 1, event.seq, "events are applied in the order of their seq");
    let effect = Effect::of(&event.event_type);
    let members = members(event, effect.reads);
    let target = target_status(run, effect.status, &members);
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
    usage::add(run, effect.reads, &members);
    let mut documents = Documents {
        output_json: output(event, effect.reads, &members),
        error_json: error(event, effect.status, &members, target),
        status_detail_json: status_detail(effect.reads, &members),
        questions: questions::apply(run, event.seq, effect.reads, &members),
    };
    if documents.output_json.is_some() {
        run.output_at = Some(event.recorded_at);
    }
    if let Some(to) = target {
        set_status(run, event, to, &mut documents);
    }
    set_reported_times(run, effect.reads, &members);
    Ok(documents)
}

/// Start and end of a structure run as reported by its runtime. The events arrive seconds later, so their times are less
/// exact.
fn set_reported_times(run: &mut Run, reads: Reads, members: &Members<'_>) {
    if !matches!(reads, Reads::StructureRun | Reads::StructureRunEnd) {
        return;
    }
    let reported = |name| members.string(name).and_then(|text| time::parse(&text).ok());
    run.started_at = reported("started_at").or(run.started_at);
    if run.status.is_final() {
        run.completed_at = reported("completed_at").or(run.completed_at);
    }
}

/// Members of the payload, if the projection reads any. Steps, tool calls and deltas are most of all events and are not
/// parsed.
fn members(event: &Event, reads: Reads) -> Members<'_> {
    match reads {
        Reads::Nothing => Members::default(),
        _ => Members::parse(event.payload.as_str()),
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

/// The status that an event sets; `None`: unchanged.
fn target_status(run: &Run, rule: StatusRule, members: &Members<'_>) -> Option<RunStatus> {
    let to_status = || members.string("to_status").and_then(|name| status_named(&name));
    Some(match rule {
        StatusRule::Unchanged => return None,
        StatusRule::Fixed(status) => status,
        StatusRule::ToStatusOr(default) => to_status().unwrap_or(default),
        StatusRule::Completion => completed_status(members).unwrap_or(RunStatus::Failed),
        StatusRule::RunningIfAnswered if questions::stays_open(run, members) => RunStatus::AwaitingInput,
        StatusRule::RunningIfAnswered => RunStatus::Running,
    })
}

/// Status after StructureRunCompleted: `status` if final, else by the exit code, which may also be a string of digits.
/// SUCCEEDED if both are absent. `None`: `status` is not a final status and the exit code is not 0.
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

/// Parses the name of a status in any of the three protocols, in any letter case.
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

fn output(event: &Event, reads: Reads, members: &Members<'_>) -> Option<String> {
    match reads {
        Reads::TaskOutput if event.origin == Origin::User => members.text("output_task_output"),
        Reads::RunEnd => members.text("output"),
        _ => None,
    }
}

/// Error of a failed run: `status_detail`, else the whole payload. For a StructureRunCompleted with an unknown `status` the
/// payload, since it contains that text.
fn error(event: &Event, rule: StatusRule, members: &Members<'_>, target: Option<RunStatus>) -> Option<String> {
    if target != Some(RunStatus::Failed) {
        return None;
    }
    let is_known = rule != StatusRule::Completion || completed_status(members).is_some();
    let detail = members.text("status_detail").filter(|_| is_known);
    detail.or_else(|| Some(event.payload.as_str().to_owned()))
}

fn status_detail(reads: Reads, members: &Members<'_>) -> Option<String> {
    match reads {
        Reads::StructureRunEnd => members.text("status_detail"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
