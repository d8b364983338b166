//! Replies to appends: each append gets exactly one outcome.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::domain::event::Appended;
use crate::domain::{Error, Result};
use crate::store::Import;

use super::progress::Progress;

/// Space that an append has in the queue.
#[derive(Debug)]
pub struct QueueSpace {
    _bytes: OwnedSemaphorePermit,
    _large_bytes: Option<OwnedSemaphorePermit>,
}

impl QueueSpace {
    /// Holds these bytes, and the same among those of large appends; `None` for a small append.
    pub fn new(bytes: OwnedSemaphorePermit, large_bytes: Option<OwnedSemaphorePermit>) -> Self {
        Self { _bytes: bytes, _large_bytes: large_bytes }
    }
}

/// Reply channel of one append. Holds the queue space of the append until the outcome is sent. A reply dropped without
/// an outcome sends an error that states whether the append may have been stored.
#[derive(Debug)]
pub struct Reply {
    /// `None` after the outcome was sent.
    outcome: Option<oneshot::Sender<Result<Appended>>>,
    /// The committer has taken the append, which may therefore have been committed.
    is_taken: bool,
    import: Option<Import>,
    _space: QueueSpace,
}

/// Reply channels of a group.
#[derive(Debug, Default)]
pub struct Replies {
    replies: Vec<Reply>,
    progress: Arc<Progress>,
}

impl Reply {
    /// Creates the reply channel of a queued append.
    pub fn new(outcome: oneshot::Sender<Result<Appended>>, import: Option<Import>, space: QueueSpace) -> Self {
        Self { outcome: Some(outcome), is_taken: false, import, _space: space }
    }

    /// Sends the outcome.
    pub fn answer(mut self, outcome: Result<Appended>) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: Result<Appended>) {
        let Some(sender) = self.outcome.take() else { return };
        if let (Some(import), Err(error)) = (&self.import, &outcome) {
            import.fail(error);
        }
        // The client may have disconnected; a dropped receiver does not change the outcome.
        let _ = sender.send(outcome);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.send(Err(if self.is_taken { Error::OutcomeUnknown } else { Error::StoreUnavailable }));
    }
}

impl Replies {
    /// Creates the replies of a group that the committer takes from the queue, with space for `appends` of them.
    pub fn new(progress: Arc<Progress>, appends: usize) -> Self {
        progress.taken();
        Self { replies: Vec::with_capacity(appends), progress }
    }

    /// Adds the reply of an append taken by the committer.
    pub fn take(&mut self, mut reply: Reply) {
        reply.is_taken = true;
        self.replies.push(reply);
    }

    /// Splits the replies: `parts` holds the number of the part of each reply, from 0 on.
    pub fn split(self, parts: &[usize]) -> Vec<Self> {
        let Self { replies, progress } = self;
        let count = parts.iter().max().map_or(0, |last| last + 1);
        // The first part stands for the group, which the committer has taken already.
        let mut split = vec![Self { replies: Vec::new(), progress: Arc::clone(&progress) }];
        split.extend((1..count).map(|_| Self::new(Arc::clone(&progress), 0)));
        for (reply, part) in replies.into_iter().zip(parts) {
            split[*part].replies.push(reply);
        }
        split
    }

    /// Number of appends in the group.
    pub fn len(&self) -> usize {
        self.replies.len()
    }

    /// Sends the outcomes, which are in the order of the appends.
    pub fn answer(self, outcomes: Vec<Result<Appended>>) {
        assert_eq!(self.replies.len(), outcomes.len(), "each append has an outcome");
        self.progress.answered(&outcomes);
        for (reply, outcome) in self.replies.into_iter().zip(outcomes) {
            reply.answer(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::store::Receipt;

    fn waiting() -> (Reply, Receipt) {
        let bytes = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (outcome, receipt) = Receipt::new();
        (Reply::new(outcome, None, QueueSpace::new(bytes, None)), receipt)
    }

    #[tokio::test]
    async fn what_a_lost_committer_had_in_hand_is_unknown_and_what_waited_was_not_stored() {
        let (waited, receipt) = waiting();
        drop(waited);
        assert_eq!(receipt.stored().await.unwrap_err().reason(), "STORE_UNAVAILABLE");
        let (in_hand, receipt) = waiting();
        let mut replies = Replies::default();
        replies.take(in_hand);
        drop(replies);
        assert_eq!(receipt.stored().await.unwrap_err().reason(), "OUTCOME_UNKNOWN");
    }
}
