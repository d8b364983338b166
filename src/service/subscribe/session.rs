//! The loop of a subscription: replay, then live. One rule covers the hand-over, lag, lost signals, restarts and other
//! replicas: `next` is the only position. Events from `next` on come from the hub, or else from the store.

mod position;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Fuse};
use tokio::time::Instant;

use crate::codec::Chunk;
use crate::domain::history::Mark;
use crate::domain::{Cursor, Error, Result, Scope};
use crate::store::{Range, ReadFrom, ScopeEnd};

use super::Subscribe;
use super::filter::filtered;
use super::frame::{Frame, FrameKind, Step};
use super::place::Place;
use super::read_ahead::ReadAhead;
use crate::service::Service;
use crate::service::live::hub::Subscriber;
use crate::service::live::recent_events::EncodedEvents;

/// Events that a filter examines in one read, even if one frame holds fewer.
const FILTERED_READ: usize = 500;

/// A running subscription. Holds its permits, and the read-ahead of a slow reader.
pub struct Subscription {
    service: Service,
    request: Subscribe,
    subscriber: Subscriber,
    /// Generation and epoch of the store's history at the last check of the sent events.
    generation: u64,
    mark: Mark,
    /// Count of the hub's removals when the read-ahead was empty last.
    removals: u64,
    /// Generation of the epoch that the reader has received.
    marked: Option<u64>,
    /// The offset of the next event to examine.
    next: u64,
    /// The last offset that was stored at the start of the subscription.
    replay_end: u64,
    /// The latest known end of the scope; all events up to this end are stored. `None`: the run has no event yet.
    scope_end: Option<ScopeEnd>,
    caught_up: bool,
    end_sent: bool,
    heartbeat: Duration,
    silent_until: Instant,
    ahead: ReadAhead,
    /// Resolves when the stream has to end. Kept, since each wait of a live stream polls it.
    closed: Fuse<BoxFuture<'static, Error>>,
    _place: Place,
}

impl Subscription {
    /// Begins at the offset `next` of a scope that ends at `scope_end`.
    pub(crate) fn begin(
        service: Service,
        request: Subscribe,
        heartbeat: Duration,
        subscriber: Subscriber,
        (scope_end, generation, mark): (Option<ScopeEnd>, u64, Mark),
        next: u64,
        place: Place,
    ) -> Self {
        let caller = service.clone();
        let closed = async move { caller.closed().await }.boxed().fuse();
        Self {
            service,
            request,
            subscriber,
            generation,
            mark,
            removals: 0,
            marked: None,
            next,
            replay_end: scope_end.map_or(0, |scope_end| scope_end.last),
            scope_end,
            caught_up: false,
            end_sent: false,
            heartbeat,
            silent_until: Instant::now() + heartbeat,
            ahead: ReadAhead::default(),
            closed,
            _place: place,
        }
    }

    /// Begins again with the first event, in the same place among the open subscriptions. Before the first frame only.
    pub async fn rewind(&mut self) -> Result<()> {
        self.next = self.service.store.extent(&self.request.scope).await?.first;
        Ok(())
    }

    /// The next frame that needs no wait for an announcement, if any. [`Step::End`] after [`FrameKind::Ended`], unless the
    /// request keeps the subscription open. Dropping the future loses no frame.
    pub async fn step(&mut self) -> Result<Step<Frame>> {
        loop {
            if self.end_sent && !self.request.keep_open {
                return Ok(Step::End);
            }
            self.service.check_open()?;
            self.compare_history().await?;
            self.forget_removed();
            if !self.caught_up && self.next > self.replay_end {
                self.caught_up = true;
                let last_seq = if matches!(self.request.scope, Scope::Run(_)) { self.next - 1 } else { 0 };
                return Ok(Step::Frame(self.frame(FrameKind::CaughtUp { last_seq })));
            }
            let announced = self.subscriber.seen();
            if self.scope_end.is_some_and(|scope_end| scope_end.last < announced.last) {
                self.scope_end = Some(announced);
            }
            if self.may_have_more() {
                let before = self.next;
                if let Some(batches) = self.advance().await? {
                    return Ok(Step::Frame(self.frame(FrameKind::Events(batches))));
                }
                if Instant::now() >= self.silent_until {
                    return Ok(Step::Frame(self.frame(FrameKind::Heartbeat)));
                }
                if self.next > before || self.service.store.generation() != self.generation {
                    // No event matched the filter, or the history has changed: more events may follow, or the end is due.
                    continue;
                }
            }
            return Ok(self.at_the_end().map_or(Step::Nothing, Step::Frame));
        }
    }

    /// After a change of the store's history: fails if sent events are not in the new history, else continues with the new one.
    async fn compare_history(&mut self) -> Result<()> {
        let generation = self.service.store.generation();
        if generation == self.generation {
            return Ok(());
        }
        self.service.check_history(&self.request.scope, self.next - 1, &self.mark).await?;
        self.mark = self.service.store.history().mark();
        self.ahead = ReadAhead::default();
        self.scope_end = self.service.extent_of(&self.request).await?.map(|extent| extent.end);
        self.generation = generation;
        Ok(())
    }

    /// Drops events that were read before a removal of payloads, or may have been.
    fn forget_removed(&mut self) {
        let removals = self.service.shared.hub.removals();
        if removals != self.removals || !self.service.store.may_serve_memory() {
            self.removals = removals;
            self.ahead = ReadAhead::default();
        }
    }

    /// Advances from `next`, with events of the read-ahead, the hub's window or the store; returns the matching events.
    async fn advance(&mut self) -> Result<Option<Vec<Arc<EncodedEvents>>>> {
        let max_events = if self.request.filter.passes_all() {
            self.request.max_batch
        } else {
            self.request.max_batch.max(FILTERED_READ)
        };
        let max_bytes = self.service.shared.options.max_batch_bytes;
        if let Some(taken) = self.ahead.take(self.next, max_events, max_bytes)? {
            return self.pass(taken.batches, taken.last);
        }
        let page = match self.ahead.arrived().await {
            Some(page) => page,
            None => {
                if self.scope_end.is_some()
                    && self.service.store.may_serve_memory()
                    && let Some(taken) = self.subscriber.take(self.next, max_events, max_bytes)?
                {
                    return self.pass(taken.batches, taken.last);
                }
                let range = Range { from: ReadFrom::After(self.next - 1), max_events, max_bytes };
                match self.service.store.read(&self.request.scope, range).await {
                    Err(Error::RunNotFound { .. }) if self.request.wait_for_run => return Ok(None),
                    Err(Error::EventsExpired { first }) => {
                        return Err(self.service.expired(&self.request.scope, self.cursor(), first));
                    }
                    page => page?,
                }
            }
        };
        if self.service.store.generation() != self.generation {
            // The page may be from another history.
            return Ok(None);
        }
        let last = page.chunks.last().map(Chunk::last);
        if last.is_none() && page.scope_end.last >= self.next {
            tracing::error!(scope = %self.request.scope, next = self.next, "the store lacks events before the scope's end");
            return Err(Error::StoreDamaged);
        }
        if self.scope_end.is_none_or(|scope_end| scope_end.last <= page.scope_end.last) {
            self.scope_end = Some(page.scope_end);
        }
        let Some(last) = last else { return Ok(None) };
        self.ahead.fill(page.chunks, &self.service.shared.read_ahead);
        if page.scope_end.last > last && self.service.store.may_serve_memory() && !self.subscriber.has(last + 1) {
            self.ahead.read(&self.service.store, &self.request.scope, last);
        }
        match self.ahead.take(self.next, max_events, max_bytes)? {
            Some(taken) => self.pass(taken.batches, taken.last),
            None => Err(Error::StoreDamaged),
        }
    }

    /// Moves `next` past these events, up to `last`, or as far as one frame holds; returns the matching events.
    fn pass(&mut self, batches: Vec<Arc<EncodedEvents>>, last: u64) -> Result<Option<Vec<Arc<EncodedEvents>>>> {
        let kept = if self.request.filter.passes_all() {
            self.next = last + 1;
            Some(batches)
        } else {
            let (kept, looked_at) = filtered(&self.request.filter, &batches, self.request.max_batch)?;
            self.next += looked_at;
            kept.map(|batch| vec![Arc::new(batch)])
        };
        self.ahead.forget_before(self.next);
        Ok(kept)
    }

    /// The frame for the end of the run: once, after the run has ended and all known events are sent.
    fn at_the_end(&mut self) -> Option<Frame> {
        let scope_end = self.due_end()?;
        self.end_sent = true;
        // A page may hold events past its own `scope_end`, which was read first.
        let last_seq = scope_end.last.max(self.next - 1);
        Some(self.frame(FrameKind::Ended { status: scope_end.status, last_seq }))
    }

    /// Waits after a [`Step::Nothing`] for an announcement; returns a heartbeat once the silence has lasted for the interval.
    pub async fn wait(&mut self) -> Result<Option<Frame>> {
        let is_silent = self.waits_in_vain().await?;
        Ok(is_silent.then(|| self.frame(FrameKind::Heartbeat)))
    }

    async fn waits_in_vain(&mut self) -> Result<bool> {
        tokio::select! {
            biased;
            end = &mut self.closed => Err(end),
            () = self.subscriber.changed() => {
                if self.scope_end.is_none() {
                    // The awaited run has begun.
                    self.scope_end = Some(self.subscriber.seen());
                }
                Ok(false)
            }
            () = tokio::time::sleep_until(self.silent_until) => {
                // An announcement may have been lost: ask the store.
                self.scope_end = self.service.extent_of(&self.request).await?.map(|extent| extent.end);
                Ok(self.scope_end.is_none_or(|scope_end| scope_end.last < self.next))
            }
        }
    }

    fn frame(&mut self, kind: FrameKind) -> Frame {
        self.silent_until = Instant::now() + self.heartbeat;
        let cursor = Cursor(self.next - 1).to_text(&self.request.scope, &self.service.store.history());
        Frame { cursor, kind }
    }
}
