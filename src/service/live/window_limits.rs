//! Limits of the recent events in memory.

/// Limits of the recent events in memory.
#[derive(Clone, Copy, Debug)]
pub struct WindowLimits {
    /// Most events of one scope.
    pub events: usize,
    /// Most record bytes of one scope; the newest chunk is kept in any case.
    pub bytes: usize,
    /// Most bytes of all scopes together, with all encodings.
    pub all_bytes: usize,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self { events: 4_096, bytes: 4 << 20, all_bytes: 256 << 20 }
    }
}
