//! The way of appends to the one task that commits them: bounded by events and bytes, taken out in groups.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::domain::event::Appended;
use crate::domain::{Error, NewEvent, Result};

use super::{Append, Import, Receipt};

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

/// Where the outcome goes; the append's place in the queue is free after that.
struct Reply {
    outcome: oneshot::Sender<Result<Appended>>,
    import: Option<Import>,
    _queue_bytes: OwnedSemaphorePermit,
}

/// The end of the queue where appends go in.
pub struct Queue {
    requests: mpsc::Sender<Request>,
    bytes: Arc<Semaphore>,
    options: QueueOptions,
    closing: CancellationToken,
}

/// The other end, the committer's.
pub struct Waiting {
    requests: mpsc::Receiver<Request>,
    options: QueueOptions,
    closing: CancellationToken,
}

/// What is to be committed together.
pub struct Group {
    /// In the order in which they were accepted.
    pub appends: Vec<Append>,
    /// Takes one outcome for each of them.
    pub replies: Replies,
}

/// Where the outcomes of a group go.
pub struct Replies(Vec<Reply>);

impl Queue {
    /// Both ends.
    pub fn new(options: QueueOptions) -> (Self, Waiting) {
        let (sender, requests) = mpsc::channel(options.queue_events);
        let bytes = Arc::new(Semaphore::new(options.queue_bytes));
        let closing = CancellationToken::new();
        let waiting = Waiting { requests, options: options.clone(), closing: closing.clone() };
        (Self { requests: sender, bytes, options, closing }, waiting)
    }

    /// See [`Store::submit`](super::Store::submit).
    pub async fn submit(&self, append: Append) -> Result<Receipt> {
        assert!(!append.events.is_empty(), "an append holds at least one event");
        let bytes = append.events.iter().map(weight).sum();
        let room = tokio::time::timeout(self.options.queue_wait, self.room(&append)).await;
        let (permit, place) = room.map_err(|_| Error::Overloaded {
            what: "the publish queue is full",
            retry_after: self.options.queue_wait.max(Duration::from_secs(1)),
        })??;
        let (outcome, receipt) = Receipt::new();
        let reply = Reply { outcome, import: append.import().cloned(), _queue_bytes: permit };
        place.send(Request { append, bytes, reply });
        Ok(receipt)
    }

    /// Waits for room: bytes first, then a place.
    async fn room(&self, append: &Append) -> Result<(OwnedSemaphorePermit, mpsc::Permit<'_, Request>)> {
        // An event takes its share of the places too, so that one semaphore holds the queue to both bounds.
        let share = self.options.queue_bytes / self.options.queue_events.max(1);
        let weight = append.events.iter().map(|event| weight(event).max(share)).sum::<usize>();
        let weight = u32::try_from(weight.min(self.options.queue_bytes)).unwrap_or(u32::MAX);
        let room = async {
            let permit = Arc::clone(&self.bytes).acquire_many_owned(weight).await.map_err(|_| self.gone())?;
            Ok((permit, self.requests.reserve().await.map_err(|_| self.gone())?))
        };
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(Error::ShuttingDown),
            room = room => room,
        }
    }

    /// Whether the other end is there.
    pub fn check(&self) -> Result<()> {
        if self.requests.is_closed() { Err(self.gone()) } else { Ok(()) }
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

impl Waiting {
    /// Whether nothing is accepted any more.
    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Whether nobody waits, and there is time for other work.
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty() && !self.is_closing()
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
        let (mut events, mut bytes) = (first.append.events.len(), first.bytes);
        let mut group = Group { appends: vec![first.append], replies: Replies(vec![first.reply]) };
        while events < self.options.max_commit_events && bytes < self.options.max_commit_bytes {
            let Ok(next) = self.requests.try_recv() else { break };
            events += next.append.events.len();
            bytes += next.bytes;
            group.appends.push(next.append);
            group.replies.0.push(next.reply);
        }
        Some(group)
    }
}

impl Replies {
    /// Tells the outcomes, in the order of the appends.
    pub fn answer(self, outcomes: Vec<Result<Appended>>) {
        assert_eq!(self.0.len(), outcomes.len(), "each append has an outcome");
        for (reply, outcome) in self.0.into_iter().zip(outcomes) {
            if let (Some(import), Err(error)) = (&reply.import, &outcome) {
                import.fail(error);
            }
            // The client may be gone; its events are stored all the same.
            let _ = reply.outcome.send(outcome);
        }
    }
}

/// Bytes that an event takes in memory, about.
fn weight(event: &NewEvent) -> usize {
    event.payload.as_str().len() + 256
}
