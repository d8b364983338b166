//! The hub: wakes subscribers after a commit, and keeps what was committed lately so that they need not read it again.
//!
//! What it tells is a hint. A subscriber that finds a gap, was too slow for the window, or missed a wake-up reads the
//! store; so the hub may forget anything at any time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::domain::{Chunk, Result, RunId, RunStatus, Scope};
use crate::store::{Commit, CommitListener, Tip};

/// How many encodings of a batch can be kept: one for each form that a transport sends.
const FORMS: usize = 8;

/// Neighbouring events in stored form, with the other forms that were made of them. Made once, shared by all readers.
#[derive(Debug)]
pub struct Batch {
    /// Whether the public view of any event may leave something out.
    pub sensitive: bool,
    /// The encoding of `runlog.v1.EventBatch`.
    pub data: Bytes,
    forms: [OnceLock<Bytes>; FORMS],
}

impl Batch {
    /// A batch of these records.
    #[must_use]
    pub fn new(sensitive: bool, data: Bytes) -> Self {
        Self { sensitive, data, forms: Default::default() }
    }

    /// The batch in another form, encoded by the first who asks. `form` is the transport's own number, below 8.
    pub fn form(&self, form: usize, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.forms[form].get_or_init(|| encode(self)).clone()
    }
}

/// How much of the recent past each followed scope keeps.
#[derive(Clone, Copy, Debug)]
pub struct WindowLimits {
    /// Most events.
    pub events: usize,
    /// Most record bytes; the newest chunk is kept in any case.
    pub bytes: usize,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self { events: 4_096, bytes: 4 << 20 }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Hub {
    limits: WindowLimits,
    runs: Mutex<HashMap<RunId, Followed>>,
    feed: Mutex<Option<Followed>>,
}

#[derive(Debug)]
struct Followed {
    channel: Arc<Channel>,
    members: usize,
}

#[derive(Debug)]
struct Channel {
    tip: watch::Sender<Tip>,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    chunks: VecDeque<(Chunk, Arc<Batch>)>,
    events: usize,
    bytes: usize,
}

impl Hub {
    /// A hub whom nobody follows yet.
    #[must_use]
    pub fn new(limits: WindowLimits) -> Self {
        Self { limits, runs: Mutex::default(), feed: Mutex::default() }
    }

    /// Joins a scope: from now on nothing that is committed there goes unnoticed. Dropping the membership leaves.
    #[must_use]
    pub fn join(self: &Arc<Self>, scope: &Scope) -> Membership {
        let channel = match scope {
            Scope::Run(run_id) => lock(&self.runs).entry(run_id.clone()).or_insert_with(Followed::new).enter(),
            Scope::Feed => lock(&self.feed).get_or_insert_with(Followed::new).enter(),
        };
        let tip = channel.tip.subscribe();
        Membership { hub: Arc::clone(self), scope: scope.clone(), channel, tip }
    }

    /// How many runs are followed, for tests and metrics.
    #[must_use]
    pub fn followed_runs(&self) -> usize {
        lock(&self.runs).len()
    }
}

impl CommitListener for Hub {
    fn committed(&self, commit: Commit) {
        {
            let runs = lock(&self.runs);
            if !runs.is_empty() {
                for run in commit.runs {
                    if let Some(followed) = runs.get(&run.run_id) {
                        followed.channel.tell(run.chunks, run.tip, self.limits);
                    }
                }
            }
        }
        if let Some(followed) = &*lock(&self.feed) {
            followed.channel.tell(commit.feed, commit.feed_tip, self.limits);
        }
    }
}

impl Followed {
    fn new() -> Self {
        let (tip, _) = watch::channel(Tip { last: 0, status: RunStatus::Unspecified });
        Self { channel: Arc::new(Channel { tip, window: Mutex::default() }), members: 0 }
    }

    fn enter(&mut self) -> Arc<Channel> {
        self.members += 1;
        Arc::clone(&self.channel)
    }
}

impl Channel {
    fn tell(&self, chunks: Vec<Chunk>, tip: Tip, limits: WindowLimits) {
        lock(&self.window).push(chunks, limits);
        self.tip.send_replace(tip);
    }
}

impl Window {
    fn push(&mut self, chunks: Vec<Chunk>, limits: WindowLimits) {
        for chunk in chunks {
            if self.chunks.back().is_some_and(|(last, _)| last.last() + 1 != chunk.first) {
                *self = Self::default();
            }
            self.events += chunk.count as usize;
            self.bytes += chunk.data.len();
            let batch = Arc::new(Batch::new(chunk.sensitive, chunk.data.clone()));
            self.chunks.push_back((chunk, batch));
        }
        while self.chunks.len() > 1 && (self.events > limits.events || self.bytes > limits.bytes) {
            if let Some((oldest, _)) = self.chunks.pop_front() {
                self.events -= oldest.count as usize;
                self.bytes -= oldest.data.len();
            }
        }
    }

    /// What follows from `next` on, without a gap and within the bounds; `None` when `next` is not here.
    fn take(&self, next: u64, max_events: usize, max_bytes: usize) -> Result<Option<Taken>> {
        let index = self.chunks.partition_point(|(chunk, _)| chunk.last() < next);
        let mut taken = Taken { batches: Vec::new(), last: next - 1 };
        let (mut events, mut bytes) = (0, 0);
        for (chunk, batch) in self.chunks.iter().skip(index) {
            if chunk.first > taken.last + 1 {
                break;
            }
            let room = (max_events - events) as u64;
            let Some(part) = chunk.between(taken.last + 1, taken.last.saturating_add(room))? else { break };
            let is_whole = part.count == chunk.count;
            if events > 0 && (!is_whole || bytes + part.data.len() > max_bytes) {
                break;
            }
            events += part.count as usize;
            bytes += part.data.len();
            taken.last = part.last();
            let whole = is_whole.then(|| Arc::clone(batch));
            taken.batches.push(whole.unwrap_or_else(|| Arc::new(Batch::new(part.sensitive, part.data))));
            if events >= max_events {
                break;
            }
        }
        Ok((!taken.batches.is_empty()).then_some(taken))
    }
}

/// Events taken from the window.
#[derive(Debug)]
pub struct Taken {
    /// In order.
    pub batches: Vec<Arc<Batch>>,
    /// The coordinate of the last event.
    pub last: u64,
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
                if let Some(followed) = runs.get_mut(run_id) {
                    followed.members -= 1;
                    if followed.members == 0 {
                        runs.remove(run_id);
                    }
                }
            }
            Scope::Feed => {
                let mut feed = lock(&self.hub.feed);
                if let Some(followed) = feed.as_mut() {
                    followed.members -= 1;
                    if followed.members == 0 {
                        *feed = None;
                    }
                }
            }
        }
    }
}

/// A panic elsewhere leaves these values whole: they are changed in single steps, and the store is the truth anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
