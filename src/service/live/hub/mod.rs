//! The hub: wakes subscribers after a commit, and keeps what was committed lately so that they need not read it again.
//!
//! The window of a scope that was left stays for a while, for readers who come back.
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
use crate::store::{Commit, CommitListener, Interest, Tip};

use super::recent_events::{HeldBytes, Taken, Window};

/// How much of the recent past each followed scope keeps.
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
/// comes back. The run that was left first goes first.
const MAX_LEFT_RUNS: usize = 1_024;

/// Record bytes of such a window; one that grows beyond is forgotten.
const LEFT_WINDOW_BYTES: usize = 64 << 10;

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
    feed: Mutex<Option<Followed>>,
}

#[derive(Debug, Default)]
struct Runs {
    by_id: HashMap<RunId, Followed>,
    /// Runs that were left, with the leave that it was; what came back since is still here and is passed over.
    left: VecDeque<(RunId, u64)>,
    leaves: u64,
}

#[derive(Debug)]
struct Followed {
    channel: Arc<Channel>,
    members: usize,
    /// Which leave was the last.
    left: u64,
}

#[derive(Debug)]
struct Channel {
    tip: watch::Sender<Tip>,
    window: Mutex<Window>,
}

impl Hub {
    /// A hub whom nobody follows yet.
    #[must_use]
    pub fn new(limits: WindowLimits) -> Self {
        Self { limits, held: HeldBytes::default(), runs: Mutex::default(), feed: Mutex::default() }
    }

    /// Joins a scope: from now on nothing that is committed there goes unnoticed. Dropping the membership leaves.
    #[must_use]
    pub fn join(self: &Arc<Self>, scope: &Scope) -> Membership {
        let channel = match scope {
            Scope::Run(run_id) => lock(&self.runs).by_id.entry(run_id.clone()).or_insert_with(Followed::new).enter(),
            Scope::Feed => lock(&self.feed).get_or_insert_with(Followed::new).enter(),
        };
        let tip = channel.tip.subscribe();
        Membership { hub: Arc::clone(self), scope: scope.clone(), channel, tip }
    }

    /// Bytes of all windows, and of what readers still have of them.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// How many runs are followed, for tests and metrics.
    #[must_use]
    pub fn followed_runs(&self) -> usize {
        lock(&self.runs).by_id.values().filter(|followed| followed.is_followed()).count()
    }
}

impl CommitListener for Hub {
    fn committed(&self, commit: Commit) {
        {
            let mut runs = lock(&self.runs);
            if self.held_bytes() > self.limits.all_bytes {
                runs.forget_left();
            }
            if !runs.by_id.is_empty() {
                for run in commit.runs {
                    let Some(followed) = runs.by_id.get(&run.run_id) else { continue };
                    followed.channel.tell(run.chunks, run.tip, self);
                    if followed.members == 0 {
                        followed.channel.bound_left();
                    }
                }
            }
        }
        if let Some(followed) = &*lock(&self.feed) {
            followed.channel.tell(commit.feed, commit.feed_tip, self);
        }
    }

    /// Forgets all windows and wakes all, who look at the store.
    fn history_changed(&self) {
        let forget = |followed: &Followed| {
            *lock(&followed.channel.window) = Window::default();
            followed.channel.tip.send_replace(Tip { last: 0, status: RunStatus::Unspecified });
        };
        lock(&self.runs).by_id.values().for_each(forget);
        lock(&self.feed).iter().for_each(forget);
    }

    /// What is followed now. Who joins later reads the store after that, and what is committed later still is told to it; who
    /// comes back to a run that was left reads what other replicas wrote meanwhile.
    fn interest(&self) -> Interest {
        if lock(&self.feed).as_ref().is_some_and(Followed::is_followed) {
            return Interest::All;
        }
        let runs = lock(&self.runs);
        let followed = runs.by_id.iter().filter(|(_, followed)| followed.is_followed());
        let followed: Vec<RunId> = followed.map(|(run_id, _)| run_id.clone()).take(MAX_INTEREST + 1).collect();
        if followed.len() > MAX_INTEREST { Interest::All } else { Interest::Runs(followed) }
    }
}

impl Followed {
    fn is_followed(&self) -> bool {
        self.members > 0
    }

    fn new() -> Self {
        let (tip, _) = watch::channel(Tip { last: 0, status: RunStatus::Unspecified });
        Self { channel: Arc::new(Channel { tip, window: Mutex::default() }), members: 0, left: 0 }
    }

    fn enter(&mut self) -> Arc<Channel> {
        self.members += 1;
        Arc::clone(&self.channel)
    }
}

impl Channel {
    fn tell(&self, chunks: Vec<Chunk>, tip: Tip, hub: &Hub) {
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
        self.tip.send_replace(tip);
    }

    /// Nobody follows: a large window is not kept.
    fn bound_left(&self) {
        let mut window = lock(&self.window);
        window.shrink(usize::MAX, LEFT_WINDOW_BYTES);
        if window.bytes() > LEFT_WINDOW_BYTES {
            *window = Window::default();
        }
    }
}

impl Runs {
    /// Windows that nobody reads go first.
    fn forget_left(&mut self) {
        self.left.clear();
        self.by_id.retain(|_, followed| followed.is_followed());
    }

    /// The last member of a run has left: its window is kept, as long as not too many were left after it.
    fn leave(&mut self, run_id: &RunId) {
        self.leaves += 1;
        let Some(followed) = self.by_id.get_mut(run_id) else { return };
        followed.left = self.leaves;
        followed.channel.bound_left();
        self.left.push_back((run_id.clone(), self.leaves));
        while self.left.len() > MAX_LEFT_RUNS {
            let Some((oldest, leave)) = self.left.pop_front() else { return };
            if self.by_id.get(&oldest).is_some_and(|followed| followed.members == 0 && followed.left == leave) {
                self.by_id.remove(&oldest);
            }
        }
    }
}

/// A place among the followers of a scope.
#[derive(Debug)]
pub struct Membership {
    hub: Arc<Hub>,
    scope: Scope,
    channel: Arc<Channel>,
    tip: watch::Receiver<Tip>,
}

impl Membership {
    /// What the hub told last, marked as seen; `last` is 0 when it told nothing yet.
    pub fn seen(&mut self) -> Tip {
        *self.tip.borrow_and_update()
    }

    /// Waits until the hub tells something that was not [`seen`](Self::seen).
    pub async fn changed(&mut self) {
        // The sender lives in our own channel, so this cannot fail.
        let _ = self.tip.changed().await;
    }

    /// Whether the window has this coordinate.
    pub fn has(&self, coordinate: u64) -> bool {
        lock(&self.channel.window).has(coordinate)
    }

    /// What follows from `next` on, if the window still has it.
    pub fn take(&self, next: u64, max_events: usize, max_bytes: usize) -> Result<Option<Taken>> {
        lock(&self.channel.window).take(next, max_events, max_bytes)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        match &self.scope {
            Scope::Run(run_id) => {
                let mut runs = lock(&self.hub.runs);
                if let Some(followed) = runs.by_id.get_mut(run_id) {
                    followed.members -= 1;
                    if followed.members == 0 {
                        runs.leave(run_id);
                    }
                }
            }
            // The one window of the feed stays.
            Scope::Feed => {
                if let Some(followed) = lock(&self.hub.feed).as_mut() {
                    followed.members -= 1;
                }
            }
        }
    }
}

/// A panic elsewhere leaves these values whole: they are changed in single steps, and the store is the truth anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
