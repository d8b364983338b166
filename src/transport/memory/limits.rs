//! Limits of the memory of calls and connections.

use std::time::Duration;

use crate::domain::Error;

/// Memory for one received byte, in bytes: the text, the decoded values, and the encoded events for the store.
pub(super) const BYTES_EACH: usize = 3;

/// A reader without progress for this time is cut if a budget is used up.
pub(super) const MAX_SILENCE_UNDER_PRESSURE: Duration = Duration::from_secs(1);

/// A reader that has not taken one frame in this time is cut if a budget is used up.
pub(super) const MAX_FRAME_UNDER_PRESSURE: Duration = Duration::from_secs(10);

/// Most calls that wait for the end of other calls.
pub(super) const MAX_WAITING_CALLS: usize = 1_000;

/// Most health checks and metrics requests at a time while the budget of calls is used up.
pub(super) const MAX_PROBES: usize = 64;

/// Longest wait of a call for the end of other calls, and of a request for memory.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(5);

/// Size up to which the memory of the call covers the request and the first frame of the answer, bytes. A live frame up to this
/// size is charged only when sent. Most requests and frames are small.
pub const SMALL_BYTES: usize = 4 << 10;

/// Shortest time between two log lines about cut connections.
pub(super) const LOG_PAUSE: Duration = Duration::from_secs(60);

/// Sizes of the budgets, as shares of `--max-memory-bytes`, and the limits of calls and connections.
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    /// Budget of requests, from the first byte to the answer, bytes.
    pub receive_bytes: usize,
    /// Budget of answers, until the last byte is sent, bytes.
    pub send_bytes: usize,
    /// Budget of open calls, without requests and answers, bytes.
    pub calls_bytes: usize,
    /// Divisor of each budget for the limit of one connection: no fewer connections can use up a budget.
    pub connections_at_least: usize,
    /// Approximate memory of an open call, bytes.
    pub call_bytes: usize,
    /// Approximate memory of an open connection, bytes, for the metrics.
    pub connection_bytes: usize,
    /// Longest time without progress for a request or an answer.
    pub max_silence: Duration,
}

/// The error of a request that finds no room.
pub(super) fn no_room_for_requests() -> Error {
    const WHAT: &str = "requests take all the memory that they may; nothing of this request was stored";
    Error::Overloaded { what: WHAT, retry_after: Duration::from_secs(1) }
}
