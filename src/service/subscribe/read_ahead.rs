//! What a subscription that replays has read before it is asked for: while one frame is on its way to the reader, the store
//! reads what follows. Bounded for each reader, and for all of them together; who finds no room reads when it is asked.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::codec::Chunk;
use crate::domain::{Result, Scope};
use crate::service::live::recent_events::{EventSlice, RecentEvents};
use crate::store::{Page, Range, SharedStore};

/// What is read at once: so much that the store's own work outweighs the way to it.
const READ_EVENTS: usize = 2_048;
const READ_BYTES: usize = 1 << 20;

/// What one reader may hold, about: what was read and is not told yet, and what is being read. An event that was stored alone
/// takes half a kilobyte beside its record.
const SHARE_BYTES: u32 = 4 << 20;

/// Events read ahead by one reader.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    window: RecentEvents,
    /// The read under way: of what follows on the window.
    reading: Option<AbortOnDropHandle<Result<Page>>>,
    share: Option<OwnedSemaphorePermit>,
}

impl ReadAhead {
    /// The next frame, if it was read.
    pub fn take(&self, next: u64, max_events: usize, max_bytes: usize) -> Result<Option<EventSlice>> {
        self.window.take(next, max_events, max_bytes)
    }

    /// Waits for the read that is under way, if there is one. One that failed is none: it may have been long ago. Dropping
    /// the future loses nothing.
    pub async fn arrived(&mut self) -> Option<Page> {
        let page = self.reading.as_mut()?.await;
        self.reading = None;
        page.ok()?.ok()
    }

    /// Takes in what was read. It is kept beyond the next frame if there is `room`.
    pub fn fill(&mut self, chunks: Vec<Chunk>, room: &Arc<Semaphore>) {
        chunks.into_iter().for_each(|chunk| self.window.push(chunk));
        self.share = self.share.take().or_else(|| Arc::clone(room).try_acquire_many_owned(SHARE_BYTES).ok());
    }

    /// Begins to read what comes after `last`, where the window ends, if there was room.
    pub fn read(&mut self, store: &SharedStore, scope: &Scope, last: u64) {
        if self.share.is_none() {
            return;
        }
        let range = Range { from: last, descending: false, max_events: READ_EVENTS, max_bytes: READ_BYTES };
        let (store, scope) = (Arc::clone(store), scope.clone());
        self.reading = Some(AbortOnDropHandle::new(tokio::spawn(async move { store.read(&scope, range).await })));
    }

    /// Forgets what lies before `next`, and what there is no room for; with the last of it the room is given back.
    pub fn forget_before(&mut self, next: u64) {
        self.window.forget_before(next);
        if self.window.bytes() == 0 || self.share.is_none() {
            // Its buffer too: an idle reader holds nothing.
            self.window = RecentEvents::default();
            self.share = self.share.take().filter(|_| self.reading.is_some());
        }
    }
}
