//! Tasks, text and output of structure runs, as the Griptape framework publishes them.

use crate::domain::json::Members;

use super::event::AgUiEvent;
use super::open_parts::OpenParts;

/// The text of a structure is of no step.
const STRUCTURE: &str = "";

/// `StartTaskEvent`: a task is a step.
pub fn task_begins(open: &mut OpenParts, members: &Members<'_>, out: &mut Vec<AgUiEvent>) {
    if let Some(task) = members.words("task_id") {
        open.start_step(&task, out);
    }
}

/// `FinishTaskEvent`.
pub fn task_ends(open: &mut OpenParts, members: &Members<'_>, out: &mut Vec<AgUiEvent>) {
    if let Some(task) = members.words("task_id") {
        open.finish_step(&task, out);
    }
}

/// `TextChunkEvent`: a part of the answer of a model.
pub fn text(open: &mut OpenParts, seq: u64, members: &Members<'_>, out: &mut Vec<AgUiEvent>) {
    open.say(STRUCTURE, seq, &members.string("token").unwrap_or_default(), out);
}

/// `FinishPromptEvent`: the end of the answer of a model.
pub fn prompt_ends(open: &mut OpenParts, out: &mut Vec<AgUiEvent>) {
    open.end_message(STRUCTURE, out);
}

/// `FinishStructureRunEvent`: the output is a message, unless the structure had one.
pub fn output(open: &mut OpenParts, seq: u64, members: &Members<'_>, out: &mut Vec<AgUiEvent>) {
    if !open.has_spoken() {
        let value = members.object("output_task_output").words("value");
        let text = value.or_else(|| members.words("output_task_output"));
        open.say(STRUCTURE, seq, &text.unwrap_or_default(), out);
    }
    open.end_message(STRUCTURE, out);
}
