//! The commit queue: appends wait for the committer, bounded by events and bytes, and are taken in groups.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};

use crate::domain::{Error, Result};

use super::progress::Progress;
pub use super::queue_depth::QueueDepth;
pub use super::reply::Replies;
use super::reply::Reply;
use crate::store::{Append, Latch, ProjectNumber, Receipt, RunKey};

/// Limits of the queue and of a group. Each field is an option of `runlog serve`.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// Maximum number of events in one commit.
    pub max_commit_events: usize,
    /// Payload bytes after which a group takes no further append.
    pub max_commit_bytes: usize,
    /// Maximum number of queued events.
    pub queue_events: usize,
    /// Maximum number of queued payload bytes.
    pub queue_bytes: usize,
    /// Maximum wait of a publish for space in the queue.
    pub queue_wait: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            max_commit_events: 4_096,
            max_commit_bytes: 4 << 20,
            queue_events: 65_536,
            queue_bytes: 64 << 20,
            queue_wait: Duration::from_secs(5),
        }
    }
}

/// An append of a project.
#[derive(Clone, Debug)]
pub struct QueuedAppend {
    /// The run that gets the events.
    pub run: RunKey,
    /// The append as submitted.
    pub append: Append,
}

/// A queued append with its memory size and its reply channel.
struct Request {
    append: QueuedAppend,
    bytes: usize,
    reply: Reply,
}

/// Reserved space in the queue: a permit for bytes and a permit for one entry of the channel.
type Room<'a> = (OwnedSemaphorePermit, mpsc::Permit<'a, Request>);

/// Approximate memory of an event without its payload, in bytes.
const EVENT_BYTES: usize = 256;

/// The sending end of the queue.
pub struct Queue {
    requests: mpsc::Sender<Request>,
    depth: Arc<QueueDepth>,
    progress: Arc<Progress>,
    bytes: Arc<Semaphore>,
    options: QueueOptions,
    closing: Latch,
}

/// The receiving end of the queue, owned by the committer.
pub struct CommitQueueReceiver {
    requests: mpsc::Receiver<Request>,
    depth: Arc<QueueDepth>,
    progress: Arc<Progress>,
    options: QueueOptions,
    closing: Latch,
    /// Whether the last group contained more than one append.
    had_company: bool,
}

/// Appends to be committed in one transaction.
pub struct Group {
    /// The appends in the order of their acceptance.
    pub appends: Vec<QueuedAppend>,
    /// Reply channels of the appends, in the same order.
    pub replies: Replies,
    events: usize,
    bytes: usize,
}

impl Queue {
    /// Creates both ends of a queue.
    pub fn new(options: QueueOptions) -> (Self, CommitQueueReceiver) {
        let (sender, requests) = mpsc::channel(options.queue_events);
        let bytes = Arc::new(Semaphore::new(options.queue_bytes));
        let closing = Latch::default();
        let depth = Arc::new(QueueDepth::new(closing.clone()));
        let progress = Arc::<Progress>::default();
        let waiting = CommitQueueReceiver {
            requests,
            progress: Arc::clone(&progress),
            depth: Arc::clone(&depth),
            options: options.clone(),
            closing: closing.clone(),
            had_company: false,
        };
        (Self { requests: sender, depth, progress, bytes, options, closing }, waiting)
    }

    /// See [`Store::submit`](crate::store::Store::submit).
    pub async fn submit(&self, project: ProjectNumber, append: Append) -> Result<Receipt> {
        assert!(!append.events.is_empty(), "an append holds at least one event");
        let (bytes, weight) = self.weigh(&append);
        let (permit, entry) = match self.room_now(weight)? {
            Some(room) => room,
            None => self.room(weight).await?,
        };
        let (outcome, receipt) = Receipt::new();
        let reply = Reply::new(outcome, append.import().cloned(), permit);
        let run = RunKey::new(project, append.run_id.clone());
        entry.send(Request { append: QueuedAppend { run, append }, bytes, reply });
        self.depth.inc();
        Ok(receipt)
    }

    /// Approximate memory of an append in bytes, and the number of byte permits that the append needs.
    fn weigh(&self, append: &Append) -> (usize, u32) {
        // Each event takes at least `queue_bytes / queue_events` permits, so one semaphore enforces both limits.
        let share = self.options.queue_bytes / self.options.queue_events.max(1);
        let (mut bytes, mut weight) = (0, 0);
        for event in &append.events {
            let of_event = event.payload.as_str().len() + EVENT_BYTES;
            bytes += of_event;
            weight += of_event.max(share);
        }
        (bytes, u32::try_from(weight.min(self.options.queue_bytes)).unwrap_or(u32::MAX))
    }

    /// Reserves space if some is free and no other append waits for space.
    fn room_now(&self, weight: u32) -> Result<Option<Room<'_>>> {
        if self.closing.is_set() {
            return Err(Error::ShuttingDown);
        }
        let permit = match Arc::clone(&self.bytes).try_acquire_many_owned(weight) {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits) => return Ok(None),
            Err(TryAcquireError::Closed) => return Err(self.gone()),
        };
        match self.requests.try_reserve() {
            Ok(entry) => Ok(Some((permit, entry))),
            Err(TrySendError::Full(())) => Ok(None),
            Err(TrySendError::Closed(())) => Err(self.gone()),
        }
    }

    /// Waits for space: first for bytes, then for an entry.
    async fn room(&self, weight: u32) -> Result<Room<'_>> {
        let room = async {
            let permit = Arc::clone(&self.bytes).acquire_many_owned(weight).await.map_err(|_| self.gone())?;
            Ok((permit, self.requests.reserve().await.map_err(|_| self.gone())?))
        };
        let room = async {
            tokio::select! {
                biased;
                () = self.closing.wait() => Err(Error::ShuttingDown),
                room = room => room,
            }
        };
        tokio::time::timeout(self.options.queue_wait, room).await.map_err(|_| Error::Overloaded {
            what: "the publish queue is full",
            retry_after: self.options.queue_wait.max(Duration::from_secs(1)),
        })?
    }

    /// Approximate bytes of queued appends and of the group being committed.
    pub fn used_bytes(&self) -> usize {
        self.options.queue_bytes.saturating_sub(self.bytes.available_permits())
    }

    /// Fails if the committer has ended or makes no progress.
    pub fn check(&self) -> Result<()> {
        if self.requests.is_closed() { Err(self.gone()) } else { self.progress.check() }
    }

    /// Stops accepting appends. The committer still takes all accepted appends.
    pub fn close(&self) {
        self.closing.set();
    }

    /// The error for an append that no committer will take.
    fn gone(&self) -> Error {
        if self.closing.is_set() { Error::ShuttingDown } else { Error::StoreUnavailable }
    }
}

impl CommitQueueReceiver {
    /// Whether the queue accepts no appends any more.
    pub fn is_closing(&self) -> bool {
        self.closing.is_set()
    }

    /// The shared counter of queued appends.
    pub fn depth(&self) -> Arc<QueueDepth> {
        Arc::clone(&self.depth)
    }

    /// The next group: all queued appends up to the limits of a commit. Waits for the first append. `None` after the
    /// queue is closed and empty.
    pub async fn next(&mut self) -> Option<Group> {
        let first = loop {
            tokio::select! {
                biased;
                first = self.requests.recv() => break first?,
                () = self.closing.wait(), if !self.requests.is_closed() => self.requests.close(),
            }
        };
        self.depth.dec();
        let mut group = self.group();
        group.add(first);
        self.take(&mut group);
        // The first append may have woken the committer before other producers ran in the same scheduler round. If the
        // last group had several appends, one yield lets these producers join the commit; a lone producer is not
        // delayed.
        if self.had_company && self.has_room(&group) {
            tokio::task::yield_now().await;
            self.take(&mut group);
        }
        self.had_company = group.appends.len() > 1;
        Some(group)
    }

    /// The next group after `appends` appends are queued; used while a commit is in progress. Dropping the future takes
    /// no append from the queue.
    pub async fn next_of(&mut self, appends: usize) -> Group {
        self.depth.wait_for(appends).await;
        let mut group = self.group();
        self.take(&mut group);
        self.had_company = group.appends.len() > 1;
        group
    }

    fn group(&self) -> Group {
        Group { appends: Vec::new(), replies: Replies::new(Arc::clone(&self.progress)), events: 0, bytes: 0 }
    }

    /// Adds queued appends to the group, up to the limits of a commit.
    pub fn take(&mut self, group: &mut Group) {
        while self.has_room(group) {
            let Ok(next) = self.requests.try_recv() else { break };
            self.depth.dec();
            group.add(next);
        }
    }

    /// Answers all appends queued at the moment with an error, without planning them.
    pub fn refuse(&mut self, error: &Error) {
        for _ in 0..self.requests.len() {
            let Ok(request) = self.requests.try_recv() else { break };
            self.depth.dec();
            request.reply.answer(Err(error.clone()));
        }
    }

    fn has_room(&self, group: &Group) -> bool {
        group.events < self.options.max_commit_events && group.bytes < self.options.max_commit_bytes
    }
}

impl Group {
    fn add(&mut self, request: Request) {
        self.events += request.append.append.events.len();
        self.bytes += request.bytes;
        self.appends.push(request.append);
        self.replies.take(request.reply);
    }
}
