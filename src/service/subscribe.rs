//! Subscribing: replay, then live. One rule covers the hand-over, lag, lost signals, restarts and other replicas:
//! `next` is the only position; what the hub has from there on is taken, for anything else the store is read.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::domain::{Cursor, Error, EventFilter, Result, RunStatus, Scope};
use crate::store::{Range, Tip};

use super::Service;
use super::filtering::filtered;
use super::hub::{Batch, Membership};
use super::list::{ListEvents, MAX_SCANNED_EVENTS};

/// Events in one frame when the reader does not say.
const DEFAULT_BATCH: usize = 100;

/// Events that a filter looks at in one read, however few may go into one frame.
const FILTERED_READ: usize = 500;

/// Most events that `tail` may ask for.
pub const MAX_TAIL: u32 = 1_000;

/// Heartbeats that a reader may ask for.
pub const HEARTBEAT_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Where a subscription starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// After this cursor; empty: with the first event.
    After(String),
    /// With what comes next.
    Latest,
    /// With the last so many events that the filter lets through.
    Tail(u32),
}

/// What a reader wants.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// One run or all.
    pub scope: Scope,
    /// Where to start.
    pub start: Start,
    /// Which events.
    pub filter: EventFilter,
    /// Go on after the run ended.
    pub keep_open: bool,
    /// Wait for a run that has no event yet.
    pub wait_for_run: bool,
    /// Most events in one frame; 0: 100.
    pub max_batch: usize,
    /// The longest silence; `None`: the server's default.
    pub heartbeat: Option<Duration>,
}

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
    Events(Vec<Arc<Batch>>),
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

/// A running subscription. It reads only when asked for the next frame, so a slow reader holds nothing but its place.
pub struct Subscription {
    service: Service,
    request: Subscribe,
    membership: Membership,
    /// The coordinate of the next event to look at.
    next: u64,
    /// The last coordinate that was stored when the subscription began.
    replay_end: u64,
    /// The latest tip that is known; all up to it is stored.
    tip: Option<Tip>,
    caught_up: bool,
    end_told: bool,
    max_batch: usize,
    heartbeat: Duration,
    silent_until: Instant,
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

impl Service {
    /// Begins a subscription. Fails at once when the cursor or another field cannot be used, or the run is not there.
    pub async fn subscribe(&self, request: Subscribe) -> Result<Subscription> {
        let max_batch = self.max_batch(request.max_batch)?;
        let heartbeat = heartbeat(request.heartbeat.unwrap_or(self.options.heartbeat))?;
        if let Start::Tail(count) = request.start
            && count > MAX_TAIL
        {
            return Err(Error::invalid("tail", format!("must be at most {MAX_TAIL}; it is {count}")));
        }
        let overloaded =
            |_| Error::Overloaded { what: "--max-subscriptions are open", retry_after: Duration::from_secs(5) };
        let permit = Arc::clone(&self.subscriptions).try_acquire_owned().map_err(overloaded)?;
        // Armed before the store is read: what is committed from here on is either read or told.
        let membership = self.hub.join(&request.scope);
        let tip = match self.store.tip(&request.scope).await {
            Err(Error::RunNotFound { .. }) if request.wait_for_run => None,
            tip => Some(tip?),
        };
        let replay_end = tip.map_or(0, |tip| tip.last);
        let next = self.first_coordinate(&request, replay_end).await?;
        Ok(Subscription {
            service: self.clone(),
            request,
            membership,
            next,
            replay_end,
            tip,
            caught_up: false,
            end_told: false,
            max_batch,
            heartbeat,
            silent_until: Instant::now() + heartbeat,
            _place: Place::take(permit),
        })
    }

    fn max_batch(&self, asked: usize) -> Result<usize> {
        let max = self.options.limits.max_page_size;
        match asked {
            0 => Ok(DEFAULT_BATCH.min(max)),
            batch if batch <= max => Ok(batch),
            batch => Err(Error::invalid("max_batch", format!("must be at most {max}; it is {batch}"))),
        }
    }

    /// Where to begin in a scope that ends at `end`.
    async fn first_coordinate(&self, request: &Subscribe, end: u64) -> Result<u64> {
        Ok(match &request.start {
            Start::After(text) => {
                let feed = self.store.feed_id();
                let cursor = Cursor::parse(text, &request.scope, feed)?;
                if cursor.0 > end {
                    let end = Cursor(end).to_text(&request.scope, feed);
                    return Err(Error::CursorBeyondEnd { cursor: text.clone(), end });
                }
                cursor.0 + 1
            }
            Start::Latest | Start::Tail(0) => end + 1,
            Start::Tail(_) if end == 0 => 1,
            Start::Tail(count) if request.filter.passes_all() => end.saturating_sub(u64::from(*count)) + 1,
            Start::Tail(count) => self.tail_start(request, end, *count as usize).await?,
        })
    }

    /// Looks backwards for the last `count` events that the filter lets through, as far as one listing looks. A page also
    /// ends where its bytes are enough, so there may be several; only their count is kept.
    async fn tail_start(&self, request: &Subscribe, end: u64, count: usize) -> Result<u64> {
        let (mut cursor, mut found) = (String::new(), 0);
        loop {
            let (scope, filter) = (request.scope.clone(), request.filter.clone());
            let page_size = (count - found).min(self.options.limits.max_page_size);
            let page = self.list_events(&ListEvents { scope, cursor, page_size, descending: true, filter }).await?;
            found += page.records.len();
            let reached = Cursor::parse(&page.next_cursor, &request.scope, self.store.feed_id())?.0.max(1);
            // A page that is complete stands at its oldest event.
            if found >= count || !page.has_more || end.saturating_sub(reached) >= MAX_SCANNED_EVENTS as u64 {
                return Ok(reached);
            }
            cursor = page.next_cursor;
        }
    }
}

impl Subscription {
    /// The next frame; `None` after [`FrameKind::Ended`], unless it is kept open. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            if self.end_told && !self.request.keep_open {
                return Ok(None);
            }
            if self.service.draining.is_cancelled() {
                return Err(Error::ShuttingDown);
            }
            if !self.caught_up && self.next > self.replay_end {
                self.caught_up = true;
                let last_seq = if matches!(self.request.scope, Scope::Run(_)) { self.next - 1 } else { 0 };
                return Ok(Some(self.frame(FrameKind::CaughtUp { last_seq })));
            }
            let told = self.membership.seen();
            if self.tip.is_some_and(|tip| tip.last < told.last) {
                self.tip = Some(told);
            }
            if self.tip.is_none_or(|tip| tip.last >= self.next) {
                let before = self.next;
                if let Some(batches) = self.advance().await? {
                    return Ok(Some(self.frame(FrameKind::Events(batches))));
                }
                if Instant::now() >= self.silent_until {
                    return Ok(Some(self.frame(FrameKind::Heartbeat)));
                }
                if self.next > before {
                    // The filter held all of it back. There may be more, or the end of the replay to tell.
                    continue;
                }
            }
            if let Some(frame) = self.at_the_end() {
                return Ok(Some(frame));
            }
            if self.wait().await? {
                return Ok(Some(self.frame(FrameKind::Heartbeat)));
            }
        }
    }

    /// Moves on from `next`, by the hub's window or by the store; returns what the filter lets through.
    async fn advance(&mut self) -> Result<Option<Vec<Arc<Batch>>>> {
        let max_bytes = self.service.options.max_batch_bytes;
        let max_events =
            if self.request.filter.passes_all() { self.max_batch } else { self.max_batch.max(FILTERED_READ) };
        if self.tip.is_some()
            && let Some(taken) = self.membership.take(self.next, max_events, max_bytes)?
        {
            return self.pass(taken.batches, taken.last);
        }
        let range = Range { from: self.next - 1, descending: false, max_events, max_bytes };
        let page = match self.service.store.read(&self.request.scope, range).await {
            Err(Error::RunNotFound { .. }) if self.request.wait_for_run => return Ok(None),
            page => page?,
        };
        let last = page.chunks.last().map(crate::domain::Chunk::last);
        if last.is_none() && page.tip.last >= self.next {
            tracing::error!(scope = %self.request.scope, next = self.next, "the store lacks events before its tip");
            return Err(Error::StoreDamaged);
        }
        if self.tip.is_none_or(|tip| tip.last <= page.tip.last) {
            self.tip = Some(page.tip);
        }
        let Some(last) = last else { return Ok(None) };
        let batches = page.chunks.into_iter().map(|chunk| Arc::new(Batch::new(chunk.sensitive, chunk.data)));
        self.pass(batches.collect(), last)
    }

    /// Moves `next` past these events, the latest of which is `last`, or as far as one frame holds; returns what the filter
    /// lets through.
    fn pass(&mut self, batches: Vec<Arc<Batch>>, last: u64) -> Result<Option<Vec<Arc<Batch>>>> {
        if self.request.filter.passes_all() {
            self.next = last + 1;
            return Ok(Some(batches));
        }
        let (kept, looked_at) = filtered(&self.request.filter, &batches, self.max_batch)?;
        self.next += looked_at;
        Ok(kept.map(|batch| vec![Arc::new(batch)]))
    }

    /// The end of the run, once, when it has ended and all that is known has been told.
    fn at_the_end(&mut self) -> Option<Frame> {
        let tip = self.tip.filter(|tip| tip.status.is_final() && !self.end_told)?;
        self.end_told = true;
        // Events may have been read past the tip that came with them.
        let last_seq = tip.last.max(self.next - 1);
        Some(self.frame(FrameKind::Ended { status: tip.status, last_seq }))
    }

    /// Waits for something to do; true when the silence has lasted long enough for a heartbeat.
    async fn wait(&mut self) -> Result<bool> {
        let draining = self.service.draining.clone();
        tokio::select! {
            biased;
            () = draining.cancelled() => Err(Error::ShuttingDown),
            () = self.membership.changed() => {
                if self.tip.is_none() {
                    // The run that was waited for has begun.
                    self.tip = Some(self.membership.seen());
                }
                Ok(false)
            }
            () = tokio::time::sleep_until(self.silent_until) => {
                // The signal may have been lost: ask the store.
                match self.service.store.tip(&self.request.scope).await {
                    Err(Error::RunNotFound { .. }) if self.request.wait_for_run => return Ok(true),
                    tip => self.tip = Some(tip?),
                }
                Ok(self.tip.is_some_and(|tip| tip.last < self.next))
            }
        }
    }

    fn frame(&mut self, kind: FrameKind) -> Frame {
        self.silent_until = Instant::now() + self.heartbeat;
        let cursor = Cursor(self.next - 1).to_text(&self.request.scope, self.service.store.feed_id());
        Frame { cursor, kind }
    }

    /// Whether [`next`](Self::next) has nothing to tell before something new happens.
    #[must_use]
    pub fn would_wait(&self) -> bool {
        let has_ended = |tip: Tip| tip.status.is_final() && !self.end_told;
        self.caught_up && self.tip.is_none_or(|tip| tip.last < self.next && !has_ended(tip))
    }

    /// The cursor to go on from, should the subscription break off now.
    #[must_use]
    pub fn cursor(&self) -> String {
        Cursor(self.next - 1).to_text(&self.request.scope, self.service.store.feed_id())
    }
}

fn heartbeat(asked: Duration) -> Result<Duration> {
    let (shortest, longest) = HEARTBEAT_BOUNDS;
    if asked < shortest || asked > longest {
        let (shortest, longest) = (shortest.as_secs(), longest.as_secs());
        let problem = format!("must be {shortest} to {longest} seconds; it is {}", asked.as_secs_f64());
        return Err(Error::invalid("heartbeat_interval", problem));
    }
    Ok(asked)
}
