//! Result of one event of `publish`.

use serde::Serialize;

/// Result of a published event.
#[derive(Serialize)]
pub struct Published<'a> {
    /// Line number in stdin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    pub run_id: &'a str,
    /// Sequence number in the run.
    pub seq: u64,
    /// Given or generated id.
    pub event_id: &'a str,
    /// The event was stored before.
    pub duplicate: bool,
    /// Status of the run after the event.
    pub run_status: &'static str,
}
