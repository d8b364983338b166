//! Read-ahead of a replaying subscription: while one frame is sent, the store reads the next events. The memory is limited per
//! subscription and for all subscriptions together; a subscription without a share reads one frame at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::codec::Chunk;
use crate::domain::{Result, Scope};
use crate::service::live::recent_events::{EventSlice, RecentEvents};
use crate::store::{Page, Range, ReadFrom, SharedStore};

/// Limits of one read, large enough that the work of the store outweighs the overhead of a call.
const READ_EVENTS: usize = 2_048;
const READ_BYTES: usize = 1 << 20;

/// Approximate memory of one subscription, bytes: events that are read and not sent yet, and the read under way. An event that
/// was stored alone takes 512 bytes beside the record.
const SHARE_BYTES: u32 = 4 << 20;

/// Events read ahead for one subscription.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    window: RecentEvents,
    /// The read under way, of the events after the window.
    reading: Option<AbortOnDropHandle<Result<Page>>>,
    share: Option<OwnedSemaphorePermit>,
}

impl ReadAhead {
    /// The events of the next frame; `None` if not read yet.
    pub fn take(&self, next: u64, max_events: usize, max_bytes: usize) -> Result<Option<EventSlice>> {
        self.window.take(next, max_events, max_bytes)
    }

    /// Waits for the read under way, if any. A failed read counts as no read, since the failure may be long past. Dropping the
    /// future loses no page.
    pub async fn arrived(&mut self) -> Option<Page> {
        let page = self.reading.as_mut()?.await;
        self.reading = None;
        page.ok()?.ok()
    }

    /// Adds a page to the window. The window outlives the next frame only with a share of `room`.
    pub fn fill(&mut self, chunks: Vec<Chunk>, room: &Arc<Semaphore>) {
        chunks.into_iter().for_each(|chunk| self.window.push(chunk));
        self.share = self.share.take().or_else(|| Arc::clone(room).try_acquire_many_owned(SHARE_BYTES).ok());
    }

    /// Begins to read the events after `last`, the end of the window. Does nothing without a share.
    pub fn read(&mut self, store: &SharedStore, scope: &Scope, last: u64) {
        if self.share.is_none() {
            return;
        }
        let range = Range { from: ReadFrom::After(last), max_events: READ_EVENTS, max_bytes: READ_BYTES };
        let (store, scope) = (Arc::clone(store), scope.clone());
        self.reading = Some(AbortOnDropHandle::new(tokio::spawn(async move { store.read(&scope, range).await })));
    }

    /// Drops events before `next`; without a share, drops all events. An empty window without a read under way returns the
    /// share.
    pub fn forget_before(&mut self, next: u64) {
        self.window.forget_before(next);
        if self.window.bytes() == 0 || self.share.is_none() {
            // Releases the buffer, too: a subscription at the end of the log holds no memory.
            self.window = RecentEvents::default();
            self.share = self.share.take().filter(|_| self.reading.is_some());
        }
    }
}
