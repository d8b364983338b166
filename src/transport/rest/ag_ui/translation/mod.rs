//! Translation of the events of a run into AG-UI events: a state machine without I/O.
//!
//! The AG-UI events of a stored event depend on the stored events before it, and on nothing else, so that a reader who resumes gets
//! the same ones. One exception: a text that was joined since is a message of its own for a reader that has a part of it. The state
//! is the status of the run, its open questions, and what is open: at most 64 steps, messages and tool calls each. What is open the
//! longest is closed when there are more.

mod agent_sdk;
mod event;
mod open_parts;
mod public_runs;
mod structure_runs;
mod tool;

use serde_json::value::RawValue;

use crate::domain::json::Members;
use crate::domain::projection::{self, Lifecycle};
use crate::domain::{Event, PendingInput, Run, RunId, RunStatus, Usage};
use crate::service::control::status_name;

pub use event::AgUiEvent;
use event::{OpenQuestion, Outcome, StateOfRun, TokenUsage};
use open_parts::OpenParts;

/// Largest integer that every reader of JSON reads exactly.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// The state after the events so far.
pub struct Translation {
    run: Run,
    open: OpenParts,
    /// The last AG-UI event of the run, after its end, and the seq of its event.
    end: Option<(u64, AgUiEvent)>,
}

impl Translation {
    /// Begins after `last_seq`: 0, or that before the first event that the run keeps. The reader has the events up to `cursor`.
    #[must_use]
    pub fn after(run_id: RunId, last_seq: u64, cursor: u64) -> Self {
        let run = Run { last_seq, ..Run::new(run_id, jiff::Timestamp::UNIX_EPOCH) };
        Self { run, open: OpenParts::for_reader(cursor), end: None }
    }

    /// Seq of the last translated event; 0 before the first one.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.run.last_seq
    }

    /// The AG-UI events of the next event of the run; `payload` is its payload as the reader may see it. One at least, and none after
    /// the end of the run. The last one stands for the event.
    pub fn translate(&mut self, event: &Event, payload: &str) -> Vec<AgUiEvent> {
        let (status, questions) = (self.run.status, self.run.pending_inputs.len());
        // Only the strict lifecycle refuses events. The documents of the run are not part of the state.
        let _ = projection::apply(&mut self.run, event, Lifecycle::Record);
        if self.end.is_some() {
            return Vec::new();
        }
        let members = Members::parse(payload);
        let mut events = Vec::new();
        if status != self.run.status || questions != self.run.pending_inputs.len() {
            events.push(self.snapshot());
        }
        let before = events.len();
        self.parts(event, &members, &mut events);
        if self.run.status.is_final() {
            self.open.close_all(&mut events);
            let end = self.run_end(event.event_type.as_str(), &members);
            self.end = Some((event.seq, end.clone()));
            events.push(end);
        } else if events.len() == before {
            events.push(AgUiEvent::Raw { source: "runlog" });
        }
        events
    }

    /// Appends what the event begins, continues or ends.
    fn parts(&mut self, event: &Event, members: &Members<'_>, out: &mut Vec<AgUiEvent>) {
        let (open, seq) = (&mut self.open, event.seq);
        match event.event_type.as_str() {
            "step" => agent_sdk::step(open, members, out),
            "tool_call" => agent_sdk::tool_call(open, seq, members, out),
            "step.progress" => public_runs::progress(open, (seq, event.joined_from), members, out),
            "step.done" => public_runs::done(open, seq, members, out),
            "run.tool.invoked" => public_runs::tool_invoked(open, seq, members, out),
            "StartTaskEvent" => structure_runs::task_begins(open, members, out),
            "FinishTaskEvent" => structure_runs::task_ends(open, members, out),
            "TextChunkEvent" => structure_runs::text(open, seq, members, out),
            "FinishPromptEvent" => structure_runs::prompt_ends(open, out),
            "FinishStructureRunEvent" => structure_runs::output(open, seq, members, out),
            _ => {}
        }
    }

    /// The AG-UI events with which a connection begins here: the start of the run, and of all that is open.
    #[must_use]
    pub fn prelude(&self) -> Vec<AgUiEvent> {
        let run_id = self.run.run_id.to_string();
        let mut events = vec![AgUiEvent::RunStarted { thread_id: run_id.clone(), run_id, protocol_version: "1.0" }];
        if self.run.last_seq > 0 {
            events.push(self.snapshot());
            self.open.starts(&mut events);
        }
        events
    }

    /// The last AG-UI event of the run, if it stands for an event before `seq`.
    #[must_use]
    pub fn end_before(&self, seq: u64) -> Option<&AgUiEvent> {
        self.end.as_ref().filter(|(ended, _)| *ended < seq).map(|(_, end)| end)
    }

    fn snapshot(&self) -> AgUiEvent {
        let question = |of: &PendingInput| OpenQuestion {
            requested_seq: of.requested_seq,
            question_id: of.question_id.clone().filter(|id| !id.is_empty()),
        };
        let pending_inputs = self.run.pending_inputs.iter().map(question).collect();
        AgUiEvent::StateSnapshot { snapshot: StateOfRun { status: status_name(self.run.status), pending_inputs } }
    }

    fn run_end(&self, event_type: &str, members: &Members<'_>) -> AgUiEvent {
        let run_id = self.run.run_id.to_string();
        let usage = self.run.usage.iter().map(token_usage).collect();
        let result = ["output", "output_task_output"].into_iter().find_map(|name| members.text(name));
        match self.run.status {
            RunStatus::Failed => {
                let (message, code) = failure(event_type, members);
                AgUiEvent::RunError { message, code, usage }
            }
            status => AgUiEvent::RunFinished {
                thread_id: run_id.clone(),
                run_id,
                result: result.and_then(|json| RawValue::from_string(json).ok()),
                outcome: (status == RunStatus::Cancelled).then_some(Outcome::Cancelled),
                usage,
            },
        }
    }
}

/// What went wrong, for a person, and its code, from the members that the documented types have for it.
fn failure(event_type: &str, members: &Members<'_>) -> (String, String) {
    let detail = members.object("status_detail");
    let message = members
        .words("error_message")
        .or_else(|| ["error", "message", "reason"].into_iter().find_map(|name| detail.words(name)))
        .or_else(|| ["reason_code", "limitType"].into_iter().find_map(|name| members.words(name)));
    let code = ["error_type", "reason_code", "limitType"].into_iter().find_map(|name| members.words(name));
    (message.unwrap_or_else(|| event_type.to_owned()), code.unwrap_or_else(|| event_type.to_owned()))
}

fn token_usage(usage: &Usage) -> TokenUsage {
    let exact = |count: u64| Some(count).filter(|count| *count <= MAX_EXACT);
    TokenUsage {
        model: Some(usage.model.clone()).filter(|model| !model.is_empty()),
        input_tokens: exact(usage.prompt_tokens),
        output_tokens: exact(usage.completion_tokens),
        total_tokens: exact(usage.total_tokens),
    }
}

#[cfg(test)]
mod tests;
