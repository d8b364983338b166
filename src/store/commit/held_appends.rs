//! Appends that have left the channel of the commit queue ahead of their group.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::group::Request;

/// Appends in the order of their acceptance: deltas that wait for further ones, and the append that ends their wait. They
/// keep their space in the queue.
#[derive(Default)]
pub struct HeldAppends {
    requests: VecDeque<Request>,
    events: usize,
    bytes: usize,
    /// Number of appends that must not wait.
    due: usize,
}

impl HeldAppends {
    /// Adds an append after the others.
    pub fn push(&mut self, request: Request) {
        self.events += request.append.append.events.len();
        self.bytes += request.bytes;
        self.due += usize::from(request.waits_until.is_none());
        self.requests.push_back(request);
    }

    /// Takes the first append.
    pub fn pop(&mut self) -> Option<Request> {
        let request = self.requests.pop_front()?;
        self.events -= request.append.append.events.len();
        self.bytes -= request.bytes;
        self.due -= usize::from(request.waits_until.is_none());
        Some(request)
    }

    /// End of the wait of the first append; `None` if there is nothing to wait for.
    pub fn waits_until(&self) -> Option<Instant> {
        self.requests.front().filter(|_| !self.is_due())?.waits_until
    }

    /// Whether an append must not wait.
    pub fn is_due(&self) -> bool {
        self.due > 0
    }

    /// Number of events.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Approximate memory in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of appends.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether no append is held.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}
