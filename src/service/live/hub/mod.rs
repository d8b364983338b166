//! The hub: wakes subscribers after a commit, and keeps recent events in memory so that subscribers need not read the store.
//!
//! The window of an idle run is kept for a while, for subscribers that reconnect.
//!
//! Announcements are hints. A subscriber with a gap, behind the window or without a wake-up reads the store; so the hub may
//! drop events from memory at any time.

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use foldhash::HashMap;
use foldhash::fast::RandomState;
use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::codec::Chunk;
use crate::domain::{Result, RunId, RunStatus, Scope};
use crate::store::{Commit, CommitListener, Interest, ProjectNumber, RunKey, ScopeEnd};

use super::recent_events::{EventSlice, HeldBytes, RecentEvents};
pub use super::window_limits::WindowLimits;

/// Most idle runs with a window in memory, for subscribers that reconnect. The run that has been idle longest is dropped first.
const MAX_IDLE_RUNS: NonZeroUsize = NonZeroUsize::new(1_024).expect("not 0");

/// Most record bytes in the window of an idle run; a larger window is dropped.
const IDLE_WINDOW_BYTES: usize = 64 << 10;

/// Most runs that [`CommitListener::interest`] lists; with more runs the answer is [`Interest::All`].
const MAX_INTEREST: usize = 256;

/// Chunks up to this size are copied into a window. A small chunk may be a slice of a large log row, and the slice would keep
/// the whole row in memory.
const COPIED_CHUNK_BYTES: usize = 8 << 10;

/// Channels of all scopes with subscribers or recent events; one hub per server.
#[derive(Debug)]
pub struct Hub {
    limits: WindowLimits,
    held: HeldBytes,
    runs: Mutex<Runs>,
    /// Feeds of projects that have, or had, subscribers.
    feeds: Mutex<HashMap<ProjectNumber, Channel>>,
    /// Number of calls of [`CommitListener::removed`].
    removals: AtomicU64,
}

#[derive(Debug)]
struct Runs {
    /// Runs with subscribers.
    followed: HashMap<RunKey, Channel>,
    /// Runs without subscribers, in the order they lost their last subscriber.
    idle: LruCache<RunKey, Channel, RandomState>,
}

#[derive(Debug)]
struct Channel {
    broadcast: Arc<Broadcast>,
    subscribers: usize,
}

#[derive(Debug)]
struct Broadcast {
    scope_end: watch::Sender<ScopeEnd>,
    window: Mutex<RecentEvents>,
}

impl Hub {
    /// A hub without subscribers.
    #[must_use]
    pub fn new(limits: WindowLimits) -> Self {
        let idle = LruCache::with_hasher(MAX_IDLE_RUNS, RandomState::default());
        let runs = Mutex::new(Runs { followed: HashMap::default(), idle });
        Self { limits, held: HeldBytes::default(), runs, feeds: Mutex::default(), removals: AtomicU64::default() }
    }

    /// Subscribes to a scope of a project: all commits of the scope from now on are announced to the subscriber, until the drop.
    #[must_use]
    pub fn join(self: &Arc<Self>, project: ProjectNumber, scope: &Scope) -> Subscriber {
        let (broadcast, place) = match scope {
            Scope::Run(run_id) => {
                let run = RunKey::new(project, run_id.clone());
                (self.runs.lock().join(&run), Place::Run(run))
            }
            Scope::Feed => {
                let mut feeds = self.feeds.lock();
                (feeds.entry(project).or_insert_with(Channel::new).enter(), Place::Feed(project))
            }
        };
        let scope_end = broadcast.scope_end.subscribe();
        Subscriber { hub: Arc::clone(self), place, broadcast, scope_end }
    }

    /// Bytes of all windows with all encodings, and of events from windows that subscribers still hold.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Changes when payloads were removed: events read before may hold them.
    #[must_use]
    pub fn removals(&self) -> u64 {
        self.removals.load(Relaxed)
    }

    /// Number of runs with subscribers, for tests.
    #[must_use]
    pub fn followed_runs(&self) -> usize {
        self.runs.lock().followed.len()
    }
}

impl CommitListener for Hub {
    fn committed(&self, commit: Commit) {
        {
            let mut runs = self.runs.lock();
            if self.held_bytes() > self.limits.all_bytes {
                runs.idle.clear();
            }
            for run in commit.runs {
                let key = RunKey::new(commit.project, run.run_id);
                if let Some(channel) = runs.followed.get(&key) {
                    channel.broadcast.announce(run.chunks, run.scope_end, self);
                } else if let Some(channel) = runs.idle.peek(&key) {
                    channel.broadcast.announce(run.chunks, run.scope_end, self);
                    channel.broadcast.bound_idle();
                }
            }
        }
        if let Some(channel) = self.feeds.lock().get(&commit.project) {
            channel.broadcast.announce(commit.feed, commit.feed_end, self);
        }
    }

    /// Drops all windows and wakes all subscribers, which read the store then.
    fn history_changed(&self) {
        let forget = |channel: &Channel| {
            *channel.broadcast.window.lock() = RecentEvents::default();
            channel.broadcast.scope_end.send_replace(ScopeEnd { last: 0, status: RunStatus::Unspecified });
        };
        let runs = self.runs.lock();
        runs.followed.values().for_each(forget);
        runs.idle.iter().for_each(|(_, channel)| forget(channel));
        drop(runs);
        self.feeds.lock().values().for_each(forget);
    }

    /// Drops the windows of the project. Subscribers read the store where they need these events.
    fn removed(&self, project: ProjectNumber) {
        self.removals.fetch_add(1, Relaxed);
        let forget = |channel: &Channel| *channel.broadcast.window.lock() = RecentEvents::default();
        let runs = self.runs.lock();
        runs.followed.iter().filter(|(run, _)| run.project == project).for_each(|(_, channel)| forget(channel));
        runs.idle.iter().filter(|(run, _)| run.project == project).for_each(|(_, channel)| forget(channel));
        drop(runs);
        self.feeds.lock().get(&project).into_iter().for_each(forget);
    }

    /// The runs with subscribers at this moment. A later subscriber joins first and reads the store afterwards, so no commit is
    /// missed; a subscriber of a formerly idle run reads the commits of other replicas from the store.
    fn interest(&self, project: ProjectNumber) -> Interest {
        if self.feeds.lock().get(&project).is_some_and(Channel::is_followed) {
            return Interest::All;
        }
        let runs = self.runs.lock();
        let followed = runs.followed.keys().filter(|run| run.project == project);
        let run_ids: Vec<RunId> = followed.map(|run| run.run_id.clone()).take(MAX_INTEREST + 1).collect();
        if run_ids.len() > MAX_INTEREST { Interest::All } else { Interest::Runs(run_ids) }
    }
}

impl Channel {
    fn is_followed(&self) -> bool {
        self.subscribers > 0
    }

    fn new() -> Self {
        let (scope_end, _) = watch::channel(ScopeEnd { last: 0, status: RunStatus::Unspecified });
        Self { broadcast: Arc::new(Broadcast { scope_end, window: Mutex::default() }), subscribers: 0 }
    }

    fn enter(&mut self) -> Arc<Broadcast> {
        self.subscribers += 1;
        Arc::clone(&self.broadcast)
    }
}

impl Broadcast {
    fn announce(&self, chunks: Vec<Chunk>, scope_end: ScopeEnd, hub: &Hub) {
        let mut window = self.window.lock();
        for chunk in chunks {
            let is_small = chunk.data.len() <= COPIED_CHUNK_BYTES;
            let data = if is_small { Bytes::copy_from_slice(&chunk.data) } else { chunk.data };
            window.push_counted(Chunk { data, ..chunk }, &hub.held);
        }
        window.shrink(hub.limits.events, hub.limits.bytes);
        if hub.held_bytes() > hub.limits.all_bytes {
            // Each growing window drops half of its bytes, so the fastest growing windows give up most.
            let half = window.bytes() / 2;
            window.shrink(usize::MAX, half);
        }
        drop(window);
        self.scope_end.send_replace(scope_end);
    }

    /// Limits the window of an idle run.
    fn bound_idle(&self) {
        let mut window = self.window.lock();
        window.shrink(usize::MAX, IDLE_WINDOW_BYTES);
        if window.bytes() > IDLE_WINDOW_BYTES {
            *window = RecentEvents::default();
        }
    }
}

impl Runs {
    /// Adds a subscriber to a run.
    fn join(&mut self, run: &RunKey) -> Arc<Broadcast> {
        let of_idle = || self.idle.pop(run).unwrap_or_else(Channel::new);
        self.followed.entry(run.clone()).or_insert_with(of_idle).enter()
    }

    /// Removes a subscriber from a run. After the last one the run is idle: its window is kept until too many other runs
    /// become idle.
    fn leave(&mut self, run: &RunKey) {
        let Some(channel) = self.followed.get_mut(run) else { return };
        channel.subscribers -= 1;
        if channel.subscribers == 0
            && let Some(channel) = self.followed.remove(run)
        {
            channel.broadcast.bound_idle();
            self.idle.put(run.clone(), channel);
        }
    }
}

/// What a subscriber follows.
#[derive(Debug)]
enum Place {
    Run(RunKey),
    Feed(ProjectNumber),
}

/// One subscriber of a scope. The drop unsubscribes.
#[derive(Debug)]
pub struct Subscriber {
    hub: Arc<Hub>,
    place: Place,
    broadcast: Arc<Broadcast>,
    scope_end: watch::Receiver<ScopeEnd>,
}

impl Subscriber {
    /// The end of the scope in the latest announcement, marked as seen; `last` is 0 before the first announcement.
    pub fn seen(&mut self) -> ScopeEnd {
        *self.scope_end.borrow_and_update()
    }

    /// Waits for an announcement that is not [`seen`](Self::seen) yet.
    pub async fn changed(&mut self) {
        // The sender lives in `self.broadcast`, so the receiver cannot fail.
        let _ = self.scope_end.changed().await;
    }

    /// Whether the window has the event at this offset.
    pub fn has(&self, offset: u64) -> bool {
        self.broadcast.window.lock().has(offset)
    }

    /// Events from the offset `next` on; `None` if the window does not have `next`.
    pub fn take(&self, next: u64, max_events: usize, max_bytes: usize) -> Result<Option<EventSlice>> {
        self.broadcast.window.lock().take(next, max_events, max_bytes)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        match &self.place {
            Place::Run(run) => self.hub.runs.lock().leave(run),
            Place::Feed(project) => {
                let mut feeds = self.hub.feeds.lock();
                let Some(channel) = feeds.get_mut(project) else { return };
                channel.subscribers -= 1;
                // The window of the feed that a store without projects has is kept for readers that reconnect.
                if channel.subscribers == 0 && *project != ProjectNumber::DEFAULT {
                    feeds.remove(project);
                }
            }
        }
    }
}
