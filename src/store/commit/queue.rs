//! The commit queue: appends wait for the committer, bounded by events and bytes, and are taken in groups.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, TryAcquireError, mpsc};
use tokio::time::Instant;

use crate::domain::{Error, Result};

use super::backpressure::Backpressure;
use super::group::Request;
pub use super::group::{Group, QueuedAppend};
use super::held_appends::{HeldAppends, is_large};
use super::progress::Progress;
pub use super::queue_depth::QueueDepth;
pub use super::queue_options::QueueOptions;
pub use super::queue_receiver::CommitQueueReceiver;
pub use super::reply::Replies;
use super::reply::{QueueSpace, Reply};
use crate::store::{Append, Latch, ProjectNumber, Receipt, RunKey, Submitting};

/// Reserved space in the queue, and a permit for one entry of the channel.
type Room<'a> = (QueueSpace, mpsc::Permit<'a, Request>);

/// Divisor of the queue's bytes for the part that large appends must leave to small ones.
const SMALL_PART: usize = 4;

/// Approximate memory of an event without its payload, in bytes.
const EVENT_BYTES: usize = 256;

/// The sending end of the queue.
pub struct Queue {
    requests: mpsc::Sender<Request>,
    depth: Arc<QueueDepth>,
    progress: Arc<Progress>,
    bytes: Arc<Semaphore>,
    /// Bytes that large appends may have of these.
    large_bytes: Arc<Semaphore>,
    backpressure: Arc<Backpressure>,
    options: QueueOptions,
    closing: Latch,
}

/// What an append takes of the queue.
#[derive(Clone, Copy)]
struct Weight {
    /// Permits for bytes.
    bytes: u32,
    /// Permits for bytes of large appends; `None` for a small append.
    large_bytes: Option<u32>,
}

impl Queue {
    /// Creates both ends of a queue.
    pub fn new(options: QueueOptions) -> (Self, CommitQueueReceiver) {
        let (sender, requests) = mpsc::channel(options.queue_events);
        let bytes = Arc::new(Semaphore::new(options.queue_bytes));
        let large_bytes = Arc::new(Semaphore::new(most_large_bytes(&options)));
        let closing = Latch::default();
        let depth = Arc::new(QueueDepth::new(closing.clone()));
        let progress = Arc::<Progress>::default();
        let backpressure = Arc::<Backpressure>::default();
        let queue = Self { requests: sender, depth, progress, bytes, large_bytes, backpressure, options, closing };
        let waiting = queue.receiver(requests);
        (queue, waiting)
    }

    fn receiver(&self, requests: mpsc::Receiver<Request>) -> CommitQueueReceiver {
        CommitQueueReceiver {
            requests,
            held: HeldAppends::default(),
            depth: Arc::clone(&self.depth),
            progress: Arc::clone(&self.progress),
            backpressure: Arc::clone(&self.backpressure),
            options: self.options.clone(),
            closing: self.closing.clone(),
            had_company: false,
            is_turn_of_large: false,
        }
    }

    /// See [`Store::submit`](crate::store::Store::submit).
    pub fn submit(&self, project: ProjectNumber, append: Append) -> Submitting<'_> {
        assert!(!append.events.is_empty(), "an append holds at least one event");
        let (bytes, weight) = self.weigh(&append);
        match self.room_now(weight) {
            Ok(Some(room)) => Submitting::Left(ready(Ok(self.accept(project, append, bytes, room)))),
            Ok(None) => Submitting::Right(Box::pin(async move {
                let room = self.room(weight).await?;
                Ok(self.accept(project, append, bytes, room))
            })),
            Err(error) => Submitting::Left(ready(Err(error))),
        }
    }

    fn accept(&self, project: ProjectNumber, append: Append, bytes: usize, (space, entry): Room<'_>) -> Receipt {
        let (outcome, receipt) = Receipt::new();
        let reply = Reply::new(outcome, append.import().cloned(), space);
        let run = RunKey::new(project, append.run_id.clone());
        let waits_until = self.waits_until(&append);
        entry.send(Request { append: QueuedAppend { run, append }, bytes, reply, waits_until });
        self.depth.inc();
        receipt
    }

    /// End of the wait of an append that is accepted now; `None`: the append must not wait.
    fn waits_until(&self, append: &Append) -> Option<Instant> {
        let window = self.options.coalesce_deltas;
        (!window.is_zero() && append.may_wait()).then(|| Instant::now() + window)
    }

    /// Approximate memory of an append in bytes, and the permits that the append needs.
    fn weigh(&self, append: &Append) -> (usize, Weight) {
        // Each event takes at least `queue_bytes / queue_events` permits, so one semaphore enforces both limits.
        let share = self.options.queue_bytes / self.options.queue_events.max(1);
        let (mut bytes, mut weight) = (0, 0);
        for event in &append.events {
            let of_event = event.payload.as_str().len() + EVENT_BYTES;
            bytes += of_event;
            weight += of_event.max(share);
        }
        let permits = |most: usize| u32::try_from(weight.min(most)).unwrap_or(u32::MAX);
        let large_bytes = is_large(append, bytes).then(|| permits(most_large_bytes(&self.options)));
        (bytes, Weight { bytes: permits(self.options.queue_bytes), large_bytes })
    }

    /// Reserves space if some is free and no other append waits for space.
    fn room_now(&self, weight: Weight) -> Result<Option<Room<'_>>> {
        if self.closing.is_set() {
            return Err(Error::ShuttingDown);
        }
        let permits = |semaphore: &Arc<Semaphore>, permits| match Arc::clone(semaphore).try_acquire_many_owned(permits)
        {
            Ok(permit) => Ok(Some(permit)),
            Err(TryAcquireError::NoPermits) => Ok(None),
            Err(TryAcquireError::Closed) => Err(self.gone()),
        };
        let large_bytes = match weight.large_bytes.map(|bytes| permits(&self.large_bytes, bytes)).transpose()? {
            Some(None) => return Ok(None),
            room => room.flatten(),
        };
        let Some(bytes) = permits(&self.bytes, weight.bytes)? else { return Ok(None) };
        match self.requests.try_reserve() {
            Ok(entry) => Ok(Some((QueueSpace::new(bytes, large_bytes), entry))),
            Err(TrySendError::Full(())) => Ok(None),
            Err(TrySendError::Closed(())) => Err(self.gone()),
        }
    }

    /// Waits for space: first for bytes, then for an entry. A large append first waits for those before it, so that it does
    /// not stand before small ones.
    async fn room(&self, weight: Weight) -> Result<Room<'_>> {
        let _waiting = self.backpressure.begin();
        let permits = async |semaphore: &Arc<Semaphore>, permits| {
            Arc::clone(semaphore).acquire_many_owned(permits).await.map_err(|_| self.gone())
        };
        let room = async {
            let large_bytes = match weight.large_bytes {
                None => None,
                Some(bytes) => Some(permits(&self.large_bytes, bytes).await?),
            };
            let bytes = permits(&self.bytes, weight.bytes).await?;
            Ok((QueueSpace::new(bytes, large_bytes), self.requests.reserve().await.map_err(|_| self.gone())?))
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

/// Most bytes of the queue that large appends may have together.
fn most_large_bytes(options: &QueueOptions) -> usize {
    options.queue_bytes - options.queue_bytes / SMALL_PART
}
