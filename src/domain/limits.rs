//! The bounds at the door. Each is an option of `runlog serve`.

/// What a request may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest payload of one event, bytes of JSON text.
    pub max_payload_bytes: usize,
    /// Largest request message, bytes.
    pub max_request_bytes: usize,
    /// Most events in one publish.
    pub max_request_events: usize,
    /// Deepest nesting of a payload's objects and arrays.
    pub max_json_depth: usize,
    /// Most events in one page.
    pub max_page_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload_bytes: 1 << 20,
            max_request_bytes: 4 << 20,
            max_request_events: 1_000,
            max_json_depth: 64,
            max_page_size: 1_000,
        }
    }
}
