//! Limits of requests. Each is an option of `runlog serve`.

/// Limits that the service checks, independent of the transport.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum size of one event's payload, in bytes of JSON text.
    pub max_payload_bytes: usize,
    /// Maximum size of a request message, in bytes.
    pub max_request_bytes: usize,
    /// Maximum number of events in one publish.
    pub max_request_events: usize,
    /// Maximum nesting depth of a payload's objects and arrays.
    pub max_json_depth: usize,
    /// Maximum number of events in one page.
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
