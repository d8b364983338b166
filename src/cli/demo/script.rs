//! Demo scripts: the events of one run and the delays between events.

use crate::pb::RunStatus;

/// Script of one demo run.
pub struct Script {
    /// Prefix of the run id.
    pub name: &'static str,
    pub agent: &'static str,
    /// Final status of the run, checked by a test.
    #[cfg_attr(not(test), allow(dead_code, reason = "the tests read it; beside the steps it is documentation"))]
    pub end: RunStatus,
    /// Events in the order of publication.
    pub steps: &'static [Step],
}

/// Event of a script, with a delay.
pub struct Step {
    /// Delay after the previous event, milliseconds. An answer waits for people instead.
    pub after_ms: u64,
    pub event_type: &'static str,
    /// JSON text with the placeholders `$REQUEST` and `$NOW`.
    payload: &'static str,
}

pub const fn step(after_ms: u64, event_type: &'static str, payload: &'static str) -> Step {
    Step { after_ms, event_type, payload }
}

impl Step {
    /// Whether the event answers a question, which a person may do before.
    pub fn is_answer(&self) -> bool {
        matches!(self.event_type, "human_input_received" | "run.signal_applied" | "run.input_received")
    }

    /// JSON text with the placeholders replaced: the request id, and the present time in UTC.
    pub fn payload(&self, request_id: &str) -> String {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        self.payload.replace("$REQUEST", request_id).replace("$NOW", &now)
    }
}
