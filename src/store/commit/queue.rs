//! The way of appends to the one task that commits them: bounded by events and bytes, taken out in groups.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};
use tokio_util::sync::CancellationToken;

use crate::domain::{Error, Result};

use super::progress::Progress;
pub use super::queue_depth::QueueDepth;
pub use super::reply::Replies;
use super::reply::Reply;
use crate::store::{Append, Receipt};

/// Bounds of the queue and of the groups that are taken out. Each field is an option of `runlog serve`.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// Most events in one commit.
    pub max_commit_events: usize,
    /// Payload bytes after which a commit takes no further request.
    pub max_commit_bytes: usize,
    /// Most events that wait for the committer.
    pub queue_events: usize,
    /// Most payload bytes that wait for the committer.
    pub queue_bytes: usize,
    /// How long a publish waits for room in the queue.
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

/// An append that waits.
struct Request {
    append: Append,
    bytes: usize,
    reply: Reply,
}

/// Room in the queue: for its bytes, and for itself.
type Room<'a> = (OwnedSemaphorePermit, mpsc::Permit<'a, Request>);

/// Bytes that an event takes in memory besides its payload, about.
const EVENT_BYTES: usize = 256;

/// The end of the queue where appends go in.
pub struct Queue {
    requests: mpsc::Sender<Request>,
    depth: Arc<QueueDepth>,
    progress: Arc<Progress>,
    bytes: Arc<Semaphore>,
    options: QueueOptions,
    closing: CancellationToken,
}

/// The other end, the committer's.
pub struct CommitQueueReceiver {
    requests: mpsc::Receiver<Request>,
    depth: Arc<QueueDepth>,
    progress: Arc<Progress>,
    options: QueueOptions,
    closing: CancellationToken,
    /// Whether the last group held more than one append.
    had_company: bool,
}

/// What is to be committed together.
pub struct Group {
    /// In the order in which they were accepted.
    pub appends: Vec<Append>,
    /// Takes one outcome for each of them.
    pub replies: Replies,
    events: usize,
    bytes: usize,
}

impl Queue {
    /// Both ends.
    pub fn new(options: QueueOptions) -> (Self, CommitQueueReceiver) {
        let (sender, requests) = mpsc::channel(options.queue_events);
        let bytes = Arc::new(Semaphore::new(options.queue_bytes));
        let closing = CancellationToken::new();
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
    pub async fn submit(&self, append: Append) -> Result<Receipt> {
        assert!(!append.events.is_empty(), "an append holds at least one event");
        let (bytes, weight) = self.weigh(&append);
        let (permit, place) = match self.room_now(weight)? {
            Some(room) => room,
            None => self.room(weight).await?,
        };
        let (outcome, receipt) = Receipt::new();
        let reply = Reply::new(outcome, append.import().cloned(), permit);
        place.send(Request { append, bytes, reply });
        self.depth.inc();
        Ok(receipt)
    }

    /// What an append takes in memory, about, and how much of the queue's bytes.
    fn weigh(&self, append: &Append) -> (usize, u32) {
        // An event takes its share of the places too, so that one semaphore holds the queue to both bounds.
        let share = self.options.queue_bytes / self.options.queue_events.max(1);
        let (mut bytes, mut weight) = (0, 0);
        for event in &append.events {
            let of_event = event.payload.as_str().len() + EVENT_BYTES;
            bytes += of_event;
            weight += of_event.max(share);
        }
        (bytes, u32::try_from(weight.min(self.options.queue_bytes)).unwrap_or(u32::MAX))
    }

    /// Room, if there is some and nobody waits for it.
    fn room_now(&self, weight: u32) -> Result<Option<Room<'_>>> {
        if self.closing.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        let permit = match Arc::clone(&self.bytes).try_acquire_many_owned(weight) {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits) => return Ok(None),
            Err(TryAcquireError::Closed) => return Err(self.gone()),
        };
        match self.requests.try_reserve() {
            Ok(place) => Ok(Some((permit, place))),
            Err(TrySendError::Full(())) => Ok(None),
            Err(TrySendError::Closed(())) => Err(self.gone()),
        }
    }

    /// Waits for room: bytes first, then a place.
    async fn room(&self, weight: u32) -> Result<Room<'_>> {
        let room = async {
            let permit = Arc::clone(&self.bytes).acquire_many_owned(weight).await.map_err(|_| self.gone())?;
            Ok((permit, self.requests.reserve().await.map_err(|_| self.gone())?))
        };
        let room = async {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => Err(Error::ShuttingDown),
                room = room => room,
            }
        };
        tokio::time::timeout(self.options.queue_wait, room).await.map_err(|_| Error::Overloaded {
            what: "the publish queue is full",
            retry_after: self.options.queue_wait.max(Duration::from_secs(1)),
        })?
    }

    /// Bytes that wait or are being committed, about.
    pub fn used_bytes(&self) -> usize {
        self.options.queue_bytes.saturating_sub(self.bytes.available_permits())
    }

    /// Whether the other end is there and gets on.
    pub fn check(&self) -> Result<()> {
        if self.requests.is_closed() { Err(self.gone()) } else { self.progress.check() }
    }

    /// From now on nothing is accepted; what was accepted is still taken out.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Why there is no committer.
    fn gone(&self) -> Error {
        if self.closing.is_cancelled() { Error::ShuttingDown } else { Error::StoreUnavailable }
    }
}

impl CommitQueueReceiver {
    /// Whether nothing is accepted any more.
    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// How full the queue is.
    pub fn depth(&self) -> Arc<QueueDepth> {
        Arc::clone(&self.depth)
    }

    /// All that waits, up to the bounds of a commit; waits for the first. `None` once the queue is closed and empty.
    pub async fn next(&mut self) -> Option<Group> {
        let first = loop {
            tokio::select! {
                biased;
                first = self.requests.recv() => break first?,
                () = self.closing.cancelled(), if !self.requests.is_closed() => self.requests.close(),
            }
        };
        self.depth.dec();
        let mut group = self.group();
        group.add(first);
        self.take(&mut group);
        // The first one woke us, maybe before the others that the same round of the runtime brings. Where there were others
        // lately they are waited for, a round, so that they share a commit; a lone publisher is not kept waiting.
        if self.had_company && self.has_room(&group) {
            tokio::task::yield_now().await;
            self.take(&mut group);
        }
        self.had_company = group.appends.len() > 1;
        Some(group)
    }

    /// The same, once so many wait, while the committer does something else. Dropping the future takes nothing out.
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

    /// Takes what is there, up to the bounds of a commit.
    pub fn take(&mut self, group: &mut Group) {
        while self.has_room(group) {
            let Ok(next) = self.requests.try_recv() else { break };
            self.depth.dec();
            group.add(next);
        }
    }

    /// Answers all that waits at this moment with an error, without a look at it.
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
        self.events += request.append.events.len();
        self.bytes += request.bytes;
        self.appends.push(request.append);
        self.replies.take(request.reply);
    }
}
