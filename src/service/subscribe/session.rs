//! The loop of a subscription: replay, then live. One rule covers the hand-over, lag, lost signals, restarts and other
//! replicas: `next` is the only position; what the hub has from there on is taken, for anything else the store is read.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::codec::{Chunk, record};
use crate::domain::history::Mark;
use crate::domain::{Cursor, Error, Result, RunStatus, Scope};
use crate::store::{Range, ScopeEnd};

use super::Subscribe;
use super::filter::filtered;
use super::read_ahead::ReadAhead;
use crate::service::Service;
use crate::service::live::hub::Subscriber;
use crate::service::live::recent_events::EncodedEvents;

/// Events that a filter looks at in one read, however few may go into one frame.
const FILTERED_READ: usize = 500;

/// What a subscription tells, with the cursor to go on right after it.
#[derive(Clone, Debug)]
pub struct Frame {
    /// See [`Cursor`].
    pub cursor: String,
    /// What it is.
    pub kind: FrameKind,
}

/// Kinds of frames.
#[derive(Clone, Debug)]
pub enum FrameKind {
    /// Events, in order.
    Events(Vec<Arc<EncodedEvents>>),
    /// Once: all that was stored when the subscription began is told; what follows is live. 0 over all runs.
    CaughtUp {
        /// The run's last seq; 0 over all runs.
        last_seq: u64,
    },
    /// Nothing new, or nothing that the filter lets through.
    Heartbeat,
    /// Once: the run ended and all of it is told. The last frame, unless the reader keeps the subscription open.
    Ended {
        /// How it ended.
        status: RunStatus,
        /// The run's last seq.
        last_seq: u64,
    },
}

/// What comes next in a subscription.
#[derive(Debug)]
pub enum Step<T> {
    /// This.
    Frame(T),
    /// Nothing before something new happens.
    Nothing,
    /// Nothing any more.
    End,
}

/// A running subscription. A slow reader holds its place and what was read ahead for it.
pub struct Subscription {
    service: Service,
    request: Subscribe,
    subscriber: Subscriber,
    /// Generation and epoch of the store's history with which all that was sent was compared last.
    generation: u64,
    mark: Mark,
    /// The generation of which the reader has the epoch.
    marked: Option<u64>,
    /// The coordinate of the next event to look at.
    next: u64,
    /// The last coordinate that was stored when the subscription began.
    replay_end: u64,
    /// The latest end of the scope that is known; all up to it is stored.
    scope_end: Option<ScopeEnd>,
    caught_up: bool,
    end_told: bool,
    heartbeat: Duration,
    silent_until: Instant,
    ahead: ReadAhead,
    _place: Place,
}

/// A place among the subscriptions that may be open.
struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn take(permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!("runlog_subscriptions").increment(1);
        Self { _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!("runlog_subscriptions").decrement(1);
    }
}

impl Subscription {
    /// A subscription that stands before `next`; the scope ends at `scope_end`.
    pub(crate) fn begin(
        service: Service,
        request: Subscribe,
        heartbeat: Duration,
        subscriber: Subscriber,
        (scope_end, generation, mark): (Option<ScopeEnd>, u64, Mark),
        next: u64,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            service,
            request,
            subscriber,
            generation,
            mark,
            marked: None,
            next,
            replay_end: scope_end.map_or(0, |scope_end| scope_end.last),
            scope_end,
            caught_up: false,
            end_told: false,
            heartbeat,
            silent_until: Instant::now() + heartbeat,
            ahead: ReadAhead::default(),
            _place: Place::take(permit),
        }
    }

    /// The next frame; `None` after [`FrameKind::Ended`], unless it is kept open. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            match self.step().await? {
                Step::Frame(frame) => return Ok(Some(frame)),
                Step::End => return Ok(None),
                Step::Nothing => {
                    if let Some(heartbeat) = self.wait().await? {
                        return Ok(Some(heartbeat));
                    }
                }
            }
        }
    }

    /// The next frame, if there is one before something new happens.
    pub async fn step(&mut self) -> Result<Step<Frame>> {
        loop {
            if self.end_told && !self.request.keep_open {
                return Ok(Step::End);
            }
            if self.service.draining.is_cancelled() {
                return Err(Error::ShuttingDown);
            }
            self.compare_history().await?;
            if !self.caught_up && self.next > self.replay_end {
                self.caught_up = true;
                let last_seq = if matches!(self.request.scope, Scope::Run(_)) { self.next - 1 } else { 0 };
                return Ok(Step::Frame(self.frame(FrameKind::CaughtUp { last_seq })));
            }
            let told = self.subscriber.seen();
            if self.scope_end.is_some_and(|scope_end| scope_end.last < told.last) {
                self.scope_end = Some(told);
            }
            if self.scope_end.is_none_or(|scope_end| scope_end.last >= self.next) {
                let before = self.next;
                if let Some(batches) = self.advance().await? {
                    return Ok(Step::Frame(self.frame(FrameKind::Events(batches))));
                }
                if Instant::now() >= self.silent_until {
                    return Ok(Step::Frame(self.frame(FrameKind::Heartbeat)));
                }
                if self.next > before {
                    // The filter held all of it back. There may be more, or the end of the replay to tell.
                    continue;
                }
            }
            return Ok(self.at_the_end().map_or(Step::Nothing, Step::Frame));
        }
    }

    /// Where the store has another history than before: fails if what was sent is not in it, else goes on from here by it.
    async fn compare_history(&mut self) -> Result<()> {
        let generation = self.service.store.generation();
        if generation == self.generation {
            return Ok(());
        }
        self.service.check_history(&self.request.scope, self.next - 1, &self.mark).await?;
        self.mark = self.service.store.history().mark();
        self.ahead = ReadAhead::default();
        self.scope_end = match self.service.store.scope_end(&self.request.scope).await {
            Err(Error::RunNotFound { .. }) if self.request.wait_for_run => None,
            scope_end => Some(scope_end?),
        };
        self.generation = generation;
        Ok(())
    }

    /// Moves on from `next`, by the hub's window or by the store; returns what the filter lets through.
    async fn advance(&mut self) -> Result<Option<Vec<Arc<EncodedEvents>>>> {
        let max_events = if self.request.filter.passes_all() {
            self.request.max_batch
        } else {
            self.request.max_batch.max(FILTERED_READ)
        };
        let max_bytes = self.service.options.max_batch_bytes;
        if let Some(taken) = self.ahead.take(self.next, max_events, max_bytes)? {
            return self.pass(taken.batches, taken.last);
        }
        let page = match self.ahead.arrived().await {
            Some(page) => page,
            None => {
                if self.scope_end.is_some()
                    && let Some(taken) = self.subscriber.take(self.next, max_events, max_bytes)?
                {
                    return self.pass(taken.batches, taken.last);
                }
                let range = Range { from: self.next - 1, descending: false, max_events, max_bytes };
                match self.service.store.read(&self.request.scope, range).await {
                    Err(Error::RunNotFound { .. }) if self.request.wait_for_run => return Ok(None),
                    page => page?,
                }
            }
        };
        if self.service.store.generation() != self.generation {
            // It may have been read of another history.
            return Ok(None);
        }
        let last = page.chunks.last().map(Chunk::last);
        if last.is_none() && page.scope_end.last >= self.next {
            tracing::error!(scope = %self.request.scope, next = self.next, "the store lacks events before its scope_end");
            return Err(Error::StoreDamaged);
        }
        if self.scope_end.is_none_or(|scope_end| scope_end.last <= page.scope_end.last) {
            self.scope_end = Some(page.scope_end);
        }
        let Some(last) = last else { return Ok(None) };
        self.ahead.fill(page.chunks, &self.service.read_ahead);
        if page.scope_end.last > last && !self.subscriber.has(last + 1) {
            self.ahead.read(&self.service.store, &self.request.scope, last);
        }
        match self.ahead.take(self.next, max_events, max_bytes)? {
            Some(taken) => self.pass(taken.batches, taken.last),
            None => Err(Error::StoreDamaged),
        }
    }

    /// Moves `next` past these events, the latest of which is `last`, or as far as one frame holds; returns what the filter
    /// lets through.
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

    /// The end of the run, once, when it has ended and all that is known has been told.
    fn at_the_end(&mut self) -> Option<Frame> {
        let scope_end = self.scope_end.filter(|scope_end| scope_end.status.is_final() && !self.end_told)?;
        self.end_told = true;
        // Events may have been read past the end of the scope that came with them.
        let last_seq = scope_end.last.max(self.next - 1);
        Some(self.frame(FrameKind::Ended { status: scope_end.status, last_seq }))
    }

    /// Waits for something to do, after a [`Step::Nothing`]; a heartbeat when the silence has lasted long enough for one.
    pub async fn wait(&mut self) -> Result<Option<Frame>> {
        let is_silent = self.waits_in_vain().await?;
        Ok(is_silent.then(|| self.frame(FrameKind::Heartbeat)))
    }

    async fn waits_in_vain(&mut self) -> Result<bool> {
        let draining = self.service.draining.clone();
        tokio::select! {
            biased;
            () = draining.cancelled() => Err(Error::ShuttingDown),
            () = self.subscriber.changed() => {
                if self.scope_end.is_none() {
                    // The run that was waited for has begun.
                    self.scope_end = Some(self.subscriber.seen());
                }
                Ok(false)
            }
            () = tokio::time::sleep_until(self.silent_until) => {
                // The signal may have been lost: ask the store.
                match self.service.store.scope_end(&self.request.scope).await {
                    Err(Error::RunNotFound { .. }) if self.request.wait_for_run => return Ok(true),
                    scope_end => self.scope_end = Some(scope_end?),
                }
                Ok(self.scope_end.is_some_and(|scope_end| scope_end.last < self.next))
            }
        }
    }

    fn frame(&mut self, kind: FrameKind) -> Frame {
        self.silent_until = Instant::now() + self.heartbeat;
        let cursor = Cursor(self.next - 1).to_text(&self.request.scope, &self.service.store.history());
        Frame { cursor, kind }
    }

    /// Bytes of the largest frame of more than one event.
    #[must_use]
    pub fn max_frame_bytes(&self) -> usize {
        self.service.options.max_batch_bytes
    }

    /// Waits until the server drains.
    pub async fn draining(&self) {
        self.service.draining.cancelled().await;
    }

    /// Whether [`next`](Self::next) has nothing to tell before something new happens.
    #[must_use]
    pub fn would_wait(&self) -> bool {
        let has_ended = |scope_end: ScopeEnd| scope_end.status.is_final() && !self.end_told;
        self.caught_up && self.scope_end.is_none_or(|scope_end| scope_end.last < self.next && !has_ended(scope_end))
    }

    /// The cursor of the last of these events, which the latest frame had: behind it the filter may have held more back.
    pub fn last_id(&self, batches: &[Arc<EncodedEvents>]) -> Result<String> {
        if self.request.filter.passes_all() {
            return Ok(self.cursor());
        }
        let mut last = 0;
        if let Some(batch) = batches.last() {
            let mut rest = batch.data.clone();
            while !rest.is_empty() {
                last = record::header(&record::split_entry(&mut rest)?)?.seq;
            }
        }
        Ok(last.to_string())
    }

    /// The epoch in which frames are given out, for readers to give back with their cursors: once, and once again whenever it
    /// has changed.
    pub fn new_epoch(&mut self) -> Option<String> {
        let is_new = self.marked != Some(self.generation);
        self.marked = Some(self.generation);
        is_new.then(|| self.mark.to_string())
    }

    /// The cursor to go on from, should the subscription break off now.
    #[must_use]
    pub fn cursor(&self) -> String {
        Cursor(self.next - 1).to_text(&self.request.scope, &self.service.store.history())
    }
}
