//! Where a subscription stands, for its transport.

use std::sync::Arc;

use super::Subscription;
use crate::domain::{Cursor, Error, Result};
use crate::service::live::recent_events::EncodedEvents;
use crate::service::subscribe::frame;
use crate::store::ScopeEnd;

impl Subscription {
    /// Largest frame of more than one event, bytes.
    pub fn max_frame_bytes(&self) -> usize {
        self.service.shared.options.max_batch_bytes
    }

    /// Resolves when the stream has to end, with the reason.
    pub async fn closed(&mut self) -> Error {
        (&mut self.closed).await
    }

    /// Whether the next frame needs events of the store or of the read-ahead.
    pub fn would_read(&self) -> bool {
        !self.would_wait() && self.may_have_more()
    }

    /// Whether the next frame waits for an announcement or a heartbeat.
    pub fn would_wait(&self) -> bool {
        self.caught_up && self.due_end().is_none() && self.scope_end.is_none_or(|scope_end| scope_end.last < self.next)
    }

    /// Whether the run has ended and no event is left.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.due_end().is_some()
    }

    /// Whether events from `next` on may be stored; without a known end they may.
    pub(super) fn may_have_more(&self) -> bool {
        self.scope_end.is_none_or(|scope_end| scope_end.last >= self.next)
    }

    /// The end of the run, after its last event is sent and before the end itself is.
    pub(super) fn due_end(&self) -> Option<ScopeEnd> {
        self.scope_end.filter(|end| end.status.is_final() && end.last < self.next && !self.end_sent)
    }

    /// The cursor of the last of these events, which are those of the latest frame. With a filter, [`cursor`](Self::cursor) may
    /// be further on, after events that do not match.
    pub fn last_id(&self, batches: &[Arc<EncodedEvents>]) -> Result<String> {
        if self.request.filter.passes_all() {
            return Ok(self.cursor());
        }
        Ok(frame::last_seq(batches)?.to_string())
    }

    /// The epoch of the frames, to send back with a cursor: returned once, and again after each change.
    pub fn new_epoch(&mut self) -> Option<String> {
        let is_new = self.marked != Some(self.generation);
        self.marked = Some(self.generation);
        is_new.then(|| self.mark.to_string())
    }

    /// The last offset that was sent, or that before the first one to send.
    #[must_use]
    pub fn last_offset(&self) -> u64 {
        self.next - 1
    }

    /// The cursor to continue from, if the subscription breaks off now.
    pub fn cursor(&self) -> String {
        Cursor(self.next - 1).to_text(&self.request.scope, &self.service.store.history())
    }
}
