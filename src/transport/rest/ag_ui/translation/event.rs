//! Events of the AG-UI protocol, version 1.0, without the members that all events have.

use serde::Serialize;
use serde_json::value::RawValue;

/// An event of the AG-UI protocol.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
#[allow(missing_docs, reason = "the protocol describes them")]
pub enum AgUiEvent {
    RunStarted {
        thread_id: String,
        run_id: String,
        protocol_version: &'static str,
    },
    RunFinished {
        thread_id: String,
        run_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        outcome: Option<Outcome>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        usage: Vec<TokenUsage>,
    },
    RunError {
        message: String,
        code: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        usage: Vec<TokenUsage>,
    },
    StepStarted {
        step_name: String,
    },
    StepFinished {
        step_name: String,
    },
    TextMessageStart {
        message_id: String,
        role: &'static str,
    },
    TextMessageContent {
        message_id: String,
        delta: String,
    },
    TextMessageEnd {
        message_id: String,
    },
    ToolCallStart {
        tool_call_id: String,
        tool_call_name: String,
    },
    ToolCallArgs {
        tool_call_id: String,
        delta: String,
    },
    ToolCallEnd {
        tool_call_id: String,
    },
    ToolCallResult {
        message_id: String,
        tool_call_id: String,
        content: String,
        role: &'static str,
    },
    StateSnapshot {
        snapshot: StateOfRun,
    },
    /// Any other event. The stored event is its member `event`.
    Raw {
        source: &'static str,
    },
}

/// Outcome of a run that did not fail; absent: success.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Outcome {
    /// The run was cancelled.
    Cancelled,
}

/// Tokens of the run; a count that is not exact as a double is absent.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenUsage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
}

/// State of the run, in the names of the public runs API.
#[derive(Clone, Debug, Serialize)]
pub struct StateOfRun {
    pub status: String,
    pub pending_inputs: Vec<OpenQuestion>,
}

/// An open question. Its texts are in the event with this seq.
#[derive(Clone, Debug, Serialize)]
pub struct OpenQuestion {
    pub requested_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question_id: Option<String>,
}

impl AgUiEvent {
    /// JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = self.open_json();
        json.push('}');
        json
    }

    /// JSON text without the last brace, so that members can follow.
    #[must_use]
    pub fn open_json(&self) -> String {
        // Strings, numbers and checked JSON texts: this cannot fail.
        let mut json = serde_json::to_string(self).unwrap_or_default();
        json.pop();
        json
    }
}
