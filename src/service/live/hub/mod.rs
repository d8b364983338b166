//! The hub: wakes subscribers after a commit, and keeps what was committed lately so that they need not read it again.
//!
//! The window of a scope that was idle stays for a while, for readers who come back.
//!
//! What it tells is a hint. A subscriber that finds a gap, was too slow for the window, or missed a wake-up reads the
//! store; so the hub may forget anything at any time.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::codec::Chunk;
use crate::domain::{Result, RunId, RunStatus, Scope};
use crate::store::{Commit, CommitListener, Interest, ScopeEnd};

use super::recent_events::{EventSlice, HeldBytes, RecentEvents};

/// How much of the recent past each channel scope keeps.
#[derive(Clone, Copy, Debug)]
pub struct WindowLimits {
    /// Most events.
    pub events: usize,
    /// Most record bytes; the newest chunk is kept in any case.
    pub bytes: usize,
    /// Most bytes of all scopes together, with the forms that were made of them.
    pub all_bytes: usize,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self { events: 4_096, bytes: 4 << 20, all_bytes: 256 << 20 }
    }
}

/// Runs that nobody follows any more whose windows are kept, so that a reader whose connection broke finds them when it
/// comes back. The run that was idle first goes first.
const MAX_IDLE_RUNS: usize = 1_024;

/// Record bytes of such a window; one that grows beyond is forgotten.
const IDLE_WINDOW_BYTES: usize = 64 << 10;

/// Most runs that are told apart for [`CommitListener::interest`].
const MAX_INTEREST: usize = 256;

/// Chunks up to this size are copied into a window: they may be a small part of a row, which would stay in memory whole.
const COPIED_CHUNK_BYTES: usize = 8 << 10;

/// See the module.
#[derive(Debug)]
pub struct Hub {
    limits: WindowLimits,
    held: HeldBytes,
    runs: Mutex<Runs>,
    feed: Mutex<Option<Channel>>,
}

#[derive(Debug, Default)]
struct Runs {
    by_id: HashMap<RunId, Channel>,
    /// Runs that were idle, with the leave that it was; what came back since is still here and is passed over.
    idle: VecDeque<(RunId, u64)>,
    departures: u64,
}

#[derive(Debug)]
struct Channel {
    broadcast: Arc<Broadcast>,
    members: usize,
    /// Which leave was the last.
    idle: u64,
}

#[derive(Debug)]
struct Broadcast {
    scope_end: watch::Sender<ScopeEnd>,
    window: Mutex<RecentEvents>,
}

impl Hub {
    /// A hub whom nobody follows yet.
    #[must_use]
    pub fn new(limits: WindowLimits) -> Self {
        Self { limits, held: HeldBytes::default(), runs: Mutex::default(), feed: Mutex::default() }
    }

    /// Joins a scope: from now on nothing that is committed there goes unnoticed. Dropping the subscriber departures.
    #[must_use]
    pub fn join(self: &Arc<Self>, scope: &Scope) -> Subscriber {
        let broadcast = match scope {
            Scope::Run(run_id) => lock(&self.runs).by_id.entry(run_id.clone()).or_insert_with(Channel::new).enter(),
            Scope::Feed => lock(&self.feed).get_or_insert_with(Channel::new).enter(),
        };
        let scope_end = broadcast.scope_end.subscribe();
        Subscriber { hub: Arc::clone(self), scope: scope.clone(), broadcast, scope_end }
    }

    /// Bytes of all windows, and of what readers still have of them.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// How many runs are channel, for tests and metrics.
    #[must_use]
    pub fn followed_runs(&self) -> usize {
        lock(&self.runs).by_id.values().filter(|channel| channel.is_followed()).count()
    }
}

impl CommitListener for Hub {
    fn committed(&self, commit: Commit) {
        {
            let mut runs = lock(&self.runs);
            if self.held_bytes() > self.limits.all_bytes {
                runs.forget_idle();
            }
            if !runs.by_id.is_empty() {
                for run in commit.runs {
                    let Some(channel) = runs.by_id.get(&run.run_id) else { continue };
                    channel.broadcast.announce(run.chunks, run.scope_end, self);
                    if channel.members == 0 {
                        channel.broadcast.bound_idle();
                    }
                }
            }
        }
        if let Some(channel) = &*lock(&self.feed) {
            channel.broadcast.announce(commit.feed, commit.feed_end, self);
        }
    }

    /// Forgets all windows and wakes all, who look at the store.
    fn history_changed(&self) {
        let forget = |channel: &Channel| {
            *lock(&channel.broadcast.window) = RecentEvents::default();
            channel.broadcast.scope_end.send_replace(ScopeEnd { last: 0, status: RunStatus::Unspecified });
        };
        lock(&self.runs).by_id.values().for_each(forget);
        lock(&self.feed).iter().for_each(forget);
    }

    /// What is channel now. Who joins later reads the store after that, and what is committed later still is told to it; who
    /// comes back to a run that was idle reads what other replicas wrote meanwhile.
    fn interest(&self) -> Interest {
        if lock(&self.feed).as_ref().is_some_and(Channel::is_followed) {
            return Interest::All;
        }
        let runs = lock(&self.runs);
        let channel = runs.by_id.iter().filter(|(_, channel)| channel.is_followed());
        let channel: Vec<RunId> = channel.map(|(run_id, _)| run_id.clone()).take(MAX_INTEREST + 1).collect();
        if channel.len() > MAX_INTEREST { Interest::All } else { Interest::Runs(channel) }
    }
}

impl Channel {
    fn is_followed(&self) -> bool {
        self.members > 0
    }

    fn new() -> Self {
        let (scope_end, _) = watch::channel(ScopeEnd { last: 0, status: RunStatus::Unspecified });
        Self { broadcast: Arc::new(Broadcast { scope_end, window: Mutex::default() }), members: 0, idle: 0 }
    }

    fn enter(&mut self) -> Arc<Broadcast> {
        self.members += 1;
        Arc::clone(&self.broadcast)
    }
}

impl Broadcast {
    fn announce(&self, chunks: Vec<Chunk>, scope_end: ScopeEnd, hub: &Hub) {
        let mut window = lock(&self.window);
        for chunk in chunks {
            let is_small = chunk.data.len() <= COPIED_CHUNK_BYTES;
            let data = if is_small { Bytes::copy_from_slice(&chunk.data) } else { chunk.data };
            window.push_counted(Chunk { data, ..chunk }, &hub.held);
        }
        window.shrink(hub.limits.events, hub.limits.bytes);
        if hub.held_bytes() > hub.limits.all_bytes {
            // Each window that grows gives up half, so that those that grow most give most.
            let half = window.bytes() / 2;
            window.shrink(usize::MAX, half);
        }
        drop(window);
        self.scope_end.send_replace(scope_end);
    }

    /// Nobody follows: a large window is not kept.
    fn bound_idle(&self) {
        let mut window = lock(&self.window);
        window.shrink(usize::MAX, IDLE_WINDOW_BYTES);
        if window.bytes() > IDLE_WINDOW_BYTES {
            *window = RecentEvents::default();
        }
    }
}

impl Runs {
    /// Windows that nobody reads go first.
    fn forget_idle(&mut self) {
        self.idle.clear();
        self.by_id.retain(|_, channel| channel.is_followed());
    }

    /// The last member of a run has idle: its window is kept, as long as not too many were idle after it.
    fn leave(&mut self, run_id: &RunId) {
        self.departures += 1;
        let Some(channel) = self.by_id.get_mut(run_id) else { return };
        channel.idle = self.departures;
        channel.broadcast.bound_idle();
        self.idle.push_back((run_id.clone(), self.departures));
        while self.idle.len() > MAX_IDLE_RUNS {
            let Some((oldest, leave)) = self.idle.pop_front() else { return };
            if self.by_id.get(&oldest).is_some_and(|channel| channel.members == 0 && channel.idle == leave) {
                self.by_id.remove(&oldest);
            }
        }
    }
}

/// A place among the followers of a scope.
#[derive(Debug)]
pub struct Subscriber {
    hub: Arc<Hub>,
    scope: Scope,
    broadcast: Arc<Broadcast>,
    scope_end: watch::Receiver<ScopeEnd>,
}

impl Subscriber {
    /// What the hub told last, marked as seen; `last` is 0 when it told nothing yet.
    pub fn seen(&mut self) -> ScopeEnd {
        *self.scope_end.borrow_and_update()
    }

    /// Waits until the hub tells something that was not [`seen`](Self::seen).
    pub async fn changed(&mut self) {
        // The sender lives in our own broadcast, so this cannot fail.
        let _ = self.scope_end.changed().await;
    }

    /// Whether the window has this coordinate.
    pub fn has(&self, coordinate: u64) -> bool {
        lock(&self.broadcast.window).has(coordinate)
    }

    /// What follows from `next` on, if the window still has it.
    pub fn take(&self, next: u64, max_events: usize, max_bytes: usize) -> Result<Option<EventSlice>> {
        lock(&self.broadcast.window).take(next, max_events, max_bytes)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        match &self.scope {
            Scope::Run(run_id) => {
                let mut runs = lock(&self.hub.runs);
                if let Some(channel) = runs.by_id.get_mut(run_id) {
                    channel.members -= 1;
                    if channel.members == 0 {
                        runs.leave(run_id);
                    }
                }
            }
            // The one window of the feed stays.
            Scope::Feed => {
                if let Some(channel) = lock(&self.hub.feed).as_mut() {
                    channel.members -= 1;
                }
            }
        }
    }
}

/// A panic elsewhere departures these values whole: they are changed in single steps, and the store is the truth anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
