//! Steps and tools of public run events. A task is a step.

use crate::domain::json::Members;

use super::event::AgUiEvent;
use super::open_parts::OpenParts;
use super::tool;

fn task(members: &Members<'_>) -> String {
    members.words("task_id").unwrap_or_else(|| "step".to_owned())
}

/// Name and id of the tool call of an event.
fn call_of(members: &Members<'_>) -> (String, Option<String>) {
    (members.words("tool_name").unwrap_or_else(|| "tool".to_owned()), members.words("tool_call_id"))
}

/// `step.progress`: text, or the begin or the end of a tool call.
pub fn progress(
    open: &mut OpenParts,
    (seq, joined_from): (u64, Option<u64>),
    members: &Members<'_>,
    out: &mut Vec<AgUiEvent>,
) {
    let (task, (name, id)) = (task(members), call_of(members));
    match members.string("kind").as_deref() {
        Some("content_delta") => {
            open.start_step(&task, out);
            let text = members.string("content_delta").unwrap_or_default();
            match joined_from {
                Some(from) => open.say_joined(&task, (from, seq), &text, out),
                None => open.say(&task, seq, &text, out),
            }
        }
        Some("tool_call_start") => {
            open.start_step(&task, out);
            open.end_message(&task, out);
            open.start_call(id.as_deref(), &name, seq, out);
        }
        Some("tool_call_done") => {
            if let Some(call) = open.take_or_start_call(id.as_deref(), &name, seq, out) {
                call.end(out);
                open.await_result(call);
            }
        }
        _ => {}
    }
}

/// `step.done`: the end of the step, with its text unless that came in parts.
pub fn done(open: &mut OpenParts, seq: u64, members: &Members<'_>, out: &mut Vec<AgUiEvent>) {
    let task = task(members);
    open.start_step(&task, out);
    if !open.step_has_spoken(&task) {
        open.say(&task, seq, &members.string("content").unwrap_or_default(), out);
    }
    open.end_message(&task, out);
    open.finish_step(&task, out);
}

/// `run.tool.invoked`: the result of a tool call.
pub fn tool_invoked(open: &mut OpenParts, seq: u64, members: &Members<'_>, out: &mut Vec<AgUiEvent>) {
    let (name, id) = call_of(members);
    let preview = |summary: &str| members.object(summary).words("preview");
    let content = tool::result(members, ["tool_output", "output"], preview("tool_output_summary"));
    if let Some(call) = open.take_unanswered(id.as_deref(), &name) {
        return call.result(seq, content, out);
    }
    let arguments = tool::arguments(members, ["tool_input", "input"], ("preview", preview("tool_input_summary")));
    if let Some(mut call) = open.take_or_start_call(id.as_deref(), &name, seq, out) {
        call.arguments(arguments, out);
        call.end(out);
        call.result(seq, content, out);
    }
}
