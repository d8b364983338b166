//! Subscriptions: the request, and the offset of the first event.

pub mod filter;
mod frame;
mod place;
mod read_ahead;
mod session;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Cursor, Error, EventFilter, Result, Scope};
use crate::store::ScopeExtent;

use super::list::{ListEvents, MAX_SCANNED_EVENTS};
use super::{Service, epochs};

pub use frame::{Frame, FrameKind, Step};
use place::Place;
pub use session::Subscription;

/// Events in one frame if the request has no maximum.
const DEFAULT_BATCH: usize = 100;

/// Largest `tail` of a request, events.
pub const MAX_TAIL: u32 = 1_000;

/// Shortest and longest heartbeat interval of a request.
pub const HEARTBEAT_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Start of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// After this cursor; empty: with the first event.
    After(String),
    /// With the next event that is stored.
    Latest,
    /// With the last `n` events that match the filter.
    Tail(u32),
}

/// A request for a subscription.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// One run, or the feed of all runs.
    pub scope: Scope,
    /// Start of the subscription.
    pub start: Start,
    /// The [`epoch`](Subscription::new_epoch) that came with the cursor; empty: not compared.
    pub epoch: String,
    /// Filter by type and origin.
    pub filter: EventFilter,
    /// Stay open after the end of the run.
    pub keep_open: bool,
    /// Wait for a run that has no event yet.
    pub wait_for_run: bool,
    /// Most events in one frame; 0: 100.
    pub max_batch: usize,
    /// Longest silence before a heartbeat; `None`: the server's default.
    pub heartbeat: Option<Duration>,
}

impl Service {
    /// Begins a subscription. Fails at once if the cursor or another field cannot be used, the run does not exist, or too many
    /// subscriptions are open, of all callers or of the key.
    pub async fn subscribe(&self, request: Subscribe) -> Result<Subscription> {
        self.caller.require_read(&request.scope)?;
        let max_batch = self.page_size("max_batch", request.max_batch, DEFAULT_BATCH)?;
        let request = Subscribe { max_batch, ..request };
        let heartbeat = heartbeat(request.heartbeat.unwrap_or(self.shared.options.heartbeat))?;
        if let Start::Tail(count) = request.start
            && count > MAX_TAIL
        {
            return Err(Error::invalid("tail", format!("must be at most {MAX_TAIL}; it is {count}")));
        }
        let of_key = self.caller.limits().stream().await?;
        let overloaded =
            |_| Error::Overloaded { what: "--max-subscriptions are open", retry_after: Duration::from_secs(5) };
        let permit = Arc::clone(&self.shared.subscriptions).try_acquire_owned().map_err(overloaded)?;
        let generation = self.store.generation();
        let mark = self.store.history().mark();
        // Joins the hub before the store is read: each commit from here on is either read or announced.
        let subscriber = self.shared.hub.join(self.project(), &request.scope);
        let extent = self.extent_of(&request).await?;
        let (first, scope_end) = (extent.map_or(1, |extent| extent.first), extent.map(|extent| extent.end));
        let next = self.first_offset(&request, first, scope_end.map_or(0, |end| end.last)).await?;
        Ok(Subscription::begin(
            self.clone(),
            request,
            heartbeat,
            subscriber,
            (scope_end, generation, mark),
            next,
            Place::take(permit, of_key),
        ))
    }

    /// The extent of the requested scope; `None` for a run without events, if the request waits for the run.
    async fn extent_of(&self, request: &Subscribe) -> Result<Option<ScopeExtent>> {
        match self.store.extent(&request.scope).await {
            Err(Error::RunNotFound { .. }) if request.wait_for_run => Ok(None),
            extent => extent.map(Some),
        }
    }

    /// The offset of the first event to read, in a scope that is kept from `first` to `end`.
    async fn first_offset(&self, request: &Subscribe, first: u64, end: u64) -> Result<u64> {
        Ok(match &request.start {
            Start::After(text) if text.is_empty() => first,
            Start::After(text) => {
                let history = self.store.history();
                let cursor = Cursor::parse(text, &request.scope, &history)?;
                if let Some(mark) = epochs::parse(&request.epoch)? {
                    self.check_history(&request.scope, cursor.0, &mark).await?;
                }
                if cursor.0 > end {
                    let end = Cursor(end).to_text(&request.scope, &history);
                    return Err(Error::CursorBeyondEnd { cursor: text.clone(), end });
                }
                if cursor.0 == 0 {
                    return Ok(first);
                }
                if cursor.0 + 1 < first {
                    return Err(self.expired(&request.scope, text.clone(), first));
                }
                cursor.0 + 1
            }
            Start::Latest | Start::Tail(0) => end + 1,
            Start::Tail(_) if end == 0 => 1,
            Start::Tail(count) if request.filter.passes_all() => (end.saturating_sub(u64::from(*count)) + 1).max(first),
            Start::Tail(count) => self.tail_start(request, end, *count as usize).await?.max(first),
        })
    }

    /// Searches backwards for the last `count` matching events, as far as the limit of one listing. A page also ends at a limit
    /// of bytes, so the search may need several pages; only the number of matches is kept.
    async fn tail_start(&self, request: &Subscribe, end: u64, count: usize) -> Result<u64> {
        let (mut cursor, mut found) = (String::new(), 0);
        loop {
            let (scope, filter) = (request.scope.clone(), request.filter.clone());
            let page_size = (count - found).min(self.shared.options.limits.max_page_size);
            let list = ListEvents { scope, cursor, page_size, descending: true, filter, epoch: String::new() };
            let page = self.list_events(&list).await?;
            found += page.records.len();
            let reached = Cursor::parse(&page.next_cursor, &request.scope, &self.store.history())?.0.max(1);
            // The cursor of a full page is its oldest event.
            if found >= count || !page.has_more || end.saturating_sub(reached) >= MAX_SCANNED_EVENTS as u64 {
                return Ok(reached);
            }
            cursor = page.next_cursor;
        }
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
