//! Steps and tool calls of the agent SDK.

use crate::domain::json::Members;

use super::event::AgUiEvent;
use super::open_parts::OpenParts;
use super::tool;

/// `step`: the begin or the end of a node.
pub fn step(open: &mut OpenParts, members: &Members<'_>, out: &mut Vec<AgUiEvent>) {
    let name = members.words("node_name").or_else(|| members.words("node")).unwrap_or_else(|| "step".to_owned());
    match members.string("phase").as_deref() {
        Some("start") => open.start_step(&name, out),
        Some("end") => open.finish_step(&name, out),
        _ => {}
    }
}

/// `tool_call`: the begin or the end of a call; without a phase the whole call.
pub fn tool_call(open: &mut OpenParts, seq: u64, members: &Members<'_>, out: &mut Vec<AgUiEvent>) {
    let name = members.words("tool_name").or_else(|| members.words("name")).unwrap_or_else(|| "tool".to_owned());
    let id = ["tool_call_id", "call_id", "id"].into_iter().find_map(|name| members.words(name));
    let arguments =
        tool::arguments(members, ["input", "tool_input"], ("input_preview", members.words("input_preview")));
    let phase = members.string("phase");
    match phase.as_deref() {
        Some("start") => {
            if let Some(call) = open.start_call(id.as_deref(), &name, seq, out) {
                call.arguments(arguments, out);
            }
        }
        Some("end") | None => {
            let content = tool::result(members, ["output", "tool_output"], members.words("output_preview"));
            if let Some(mut call) = open.take_or_start_call(id.as_deref(), &name, seq, out) {
                call.arguments(arguments, out);
                call.end(out);
                call.result(seq, content, out);
            }
        }
        Some(_) => {}
    }
}
