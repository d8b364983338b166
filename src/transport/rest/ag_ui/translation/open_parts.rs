//! What is open in a run: steps, text messages and tool calls, at most [`MAX_OPEN`] of each.

use super::event::AgUiEvent;

/// Most open parts of each kind. What is open the longest is closed when there would be more.
pub const MAX_OPEN: usize = 64;

/// Longest name and id, characters. The rest is cut.
const MAX_CHARS: usize = 200;

/// Open parts, the oldest first.
#[derive(Default)]
pub struct OpenParts {
    /// The last seq that the reader has; 0: none.
    cursor: u64,
    steps: Vec<Step>,
    messages: Vec<Message>,
    calls: Vec<ToolCall>,
    /// Tool calls that ended without a result.
    unanswered: Vec<ToolCall>,
    /// Whether the run had a text message.
    has_spoken: bool,
}

struct Step {
    name: String,
    /// Seq of the last text of the step, of a joined one the first; 0: none.
    said: u64,
}

struct Message {
    /// The step that speaks.
    step: String,
    id: String,
    /// Seq of the last joined text; 0: none.
    joined: u64,
}

/// A tool call.
#[derive(Clone)]
pub struct ToolCall {
    /// Id given by the producer, else made of the seq of its first event.
    pub id: String,
    name: String,
    /// Whether the arguments are sent.
    has_arguments: bool,
}

/// Id or name within the bound.
fn short(text: &str) -> String {
    text.chars().take(MAX_CHARS).collect()
}

/// Makes room for one more part; returns the oldest one if there are too many.
fn evict<T>(parts: &mut Vec<T>) -> Option<T> {
    (parts.len() >= MAX_OPEN).then(|| parts.remove(0))
}

/// Takes the call with this id out, or without an id the oldest one of this name.
fn take(calls: &mut Vec<ToolCall>, id: Option<&str>, name: &str) -> Option<ToolCall> {
    let (id, name) = (id.map(short), short(name));
    let is_it = |call: &ToolCall| id.as_ref().map_or(call.name == name, |id| call.id == *id);
    let at = calls.iter().position(is_it)?;
    Some(calls.remove(at))
}

impl OpenParts {
    /// Nothing is open yet, for a reader that has the events up to `cursor`.
    pub fn for_reader(cursor: u64) -> Self {
        Self { cursor, ..Self::default() }
    }

    /// Begins a step. Does nothing if a step of this name is open.
    pub fn start_step(&mut self, name: &str, out: &mut Vec<AgUiEvent>) {
        let name = short(name);
        if self.steps.iter().any(|step| step.name == name) {
            return;
        }
        if let Some(oldest) = evict(&mut self.steps) {
            out.push(AgUiEvent::StepFinished { step_name: oldest.name });
        }
        out.push(AgUiEvent::StepStarted { step_name: name.clone() });
        self.steps.push(Step { name, said: 0 });
    }

    /// Ends a step, after its start if it is not open.
    pub fn finish_step(&mut self, name: &str, out: &mut Vec<AgUiEvent>) {
        self.start_step(name, out);
        let step_name = short(name);
        self.steps.retain(|step| step.name != step_name);
        out.push(AgUiEvent::StepFinished { step_name });
    }

    /// Appends text to the open message of the step, after the start of a message if none is open. Empty text does nothing.
    pub fn say(&mut self, step: &str, seq: u64, text: &str, out: &mut Vec<AgUiEvent>) {
        if text.is_empty() {
            return;
        }
        let step = short(step);
        self.has_spoken = true;
        self.steps.iter_mut().filter(|open| open.name == step).for_each(|open| open.said = seq);
        let open = self.messages.iter().find(|message| message.step == step);
        let message_id = open.map(|message| message.id.clone()).unwrap_or_else(|| {
            let message_id = format!("message-{seq}");
            if let Some(oldest) = evict(&mut self.messages) {
                out.push(AgUiEvent::TextMessageEnd { message_id: oldest.id });
            }
            out.push(AgUiEvent::TextMessageStart { message_id: message_id.clone(), role: "assistant" });
            self.messages.push(Message { step, id: message_id.clone(), joined: 0 });
            message_id
        });
        out.push(AgUiEvent::TextMessageContent { message_id, delta: text.to_owned() });
    }

    /// Appends a text that a compaction joined, `from` its first seq on, where its first part was. Who may have a part of it, and not
    /// the whole, gets it as a message of its own: how much that part has is not known any more.
    pub fn say_joined(&mut self, step: &str, (from, seq): (u64, u64), text: &str, out: &mut Vec<AgUiEvent>) {
        let name = short(step);
        let said = self.steps.iter().find(|open| open.name == name).map_or(0, |open| open.said);
        let is_open = |message: &&mut Message| message.step == name;
        let joined = self.messages.iter_mut().find(is_open).map_or(0, |message| message.joined);
        let is_new = seq > self.cursor;
        let has_part = is_new && from <= self.cursor.max(said);
        // The reader may have an earlier joined text as a message of its own.
        if has_part || (is_new && (1..=self.cursor).contains(&joined)) {
            self.end_message(step, out);
        }
        self.say(step, if has_part { seq } else { from }, text, out);
        if let Some(message) = self.messages.iter_mut().find(is_open) {
            message.joined = seq;
        }
    }

    /// Ends the open message of the step, if there is one.
    pub fn end_message(&mut self, step: &str, out: &mut Vec<AgUiEvent>) {
        let step = short(step);
        if let Some(at) = self.messages.iter().position(|message| message.step == step) {
            out.push(AgUiEvent::TextMessageEnd { message_id: self.messages.remove(at).id });
        }
    }

    /// Whether the open step of this name had a message.
    #[must_use]
    pub fn step_has_spoken(&self, name: &str) -> bool {
        let name = short(name);
        self.steps.iter().any(|step| step.name == name && step.said > 0)
    }

    /// Whether the run had a message.
    #[must_use]
    pub fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// Begins a tool call. `None`: a call with this id is open.
    pub fn start_call(
        &mut self,
        id: Option<&str>,
        name: &str,
        seq: u64,
        out: &mut Vec<AgUiEvent>,
    ) -> Option<&mut ToolCall> {
        let id = id.map_or_else(|| format!("call-{seq}"), short);
        if self.calls.iter().any(|call| call.id == id) {
            return None;
        }
        if let Some(oldest) = evict(&mut self.calls) {
            out.push(AgUiEvent::ToolCallEnd { tool_call_id: oldest.id });
        }
        let name = short(name);
        out.push(AgUiEvent::ToolCallStart { tool_call_id: id.clone(), tool_call_name: name.clone() });
        self.calls.push(ToolCall { id, name, has_arguments: false });
        self.calls.last_mut()
    }

    /// Takes the open call with this id out, or without an id the oldest one of this name.
    pub fn take_call(&mut self, id: Option<&str>, name: &str) -> Option<ToolCall> {
        take(&mut self.calls, id, name)
    }

    /// Takes a call out as [`take_call`](Self::take_call) does, after its start if it is not open. `None`: the id that would be made
    /// is open as one of the producer.
    pub fn take_or_start_call(
        &mut self,
        id: Option<&str>,
        name: &str,
        seq: u64,
        out: &mut Vec<AgUiEvent>,
    ) -> Option<ToolCall> {
        if let Some(call) = self.take_call(id, name) {
            return Some(call);
        }
        let id = self.start_call(id, name, seq, out)?.id.clone();
        self.take_call(Some(&id), name)
    }

    /// Notes that the call has ended and that its result may follow.
    pub fn await_result(&mut self, call: ToolCall) {
        evict(&mut self.unanswered);
        self.unanswered.push(call);
    }

    /// Takes the ended call with this id out, if it had no result yet; without an id the oldest such call of this name.
    pub fn take_unanswered(&mut self, id: Option<&str>, name: &str) -> Option<ToolCall> {
        take(&mut self.unanswered, id, name)
    }

    /// Starts of all open parts.
    pub fn starts(&self, out: &mut Vec<AgUiEvent>) {
        out.extend(self.steps.iter().map(|step| AgUiEvent::StepStarted { step_name: step.name.clone() }));
        let message =
            |message: &Message| AgUiEvent::TextMessageStart { message_id: message.id.clone(), role: "assistant" };
        out.extend(self.messages.iter().map(message));
        let call = |call: &ToolCall| AgUiEvent::ToolCallStart {
            tool_call_id: call.id.clone(),
            tool_call_name: call.name.clone(),
        };
        out.extend(self.calls.iter().map(call));
    }

    /// Ends all open parts.
    pub fn close_all(&mut self, out: &mut Vec<AgUiEvent>) {
        out.extend(self.messages.drain(..).map(|message| AgUiEvent::TextMessageEnd { message_id: message.id }));
        out.extend(self.calls.drain(..).map(|call| AgUiEvent::ToolCallEnd { tool_call_id: call.id }));
        out.extend(self.steps.drain(..).map(|step| AgUiEvent::StepFinished { step_name: step.name }));
    }
}

impl ToolCall {
    /// Sends the arguments, JSON text, unless they are sent.
    pub fn arguments(&mut self, json: Option<String>, out: &mut Vec<AgUiEvent>) {
        if let Some(delta) = json.filter(|_| !self.has_arguments) {
            self.has_arguments = true;
            out.push(AgUiEvent::ToolCallArgs { tool_call_id: self.id.clone(), delta });
        }
    }

    /// Sends the end.
    pub fn end(&self, out: &mut Vec<AgUiEvent>) {
        out.push(AgUiEvent::ToolCallEnd { tool_call_id: self.id.clone() });
    }

    /// Sends the result, which the event with this seq has.
    pub fn result(&self, seq: u64, content: String, out: &mut Vec<AgUiEvent>) {
        let (message_id, tool_call_id) = (format!("result-{seq}"), self.id.clone());
        out.push(AgUiEvent::ToolCallResult { message_id, tool_call_id, content, role: "tool" });
    }
}
