//! Queued appends, and the groups in which the committer takes them.

use tokio::time::Instant;

use super::reply::{Replies, Reply};
use crate::store::{Append, RunKey};

/// An append of a project.
#[derive(Clone, Debug)]
pub struct QueuedAppend {
    /// The run that gets the events.
    pub run: RunKey,
    /// The append as submitted.
    pub append: Append,
}

/// A queued append with its memory size and its reply channel.
pub struct Request {
    pub append: QueuedAppend,
    pub bytes: usize,
    pub reply: Reply,
    /// End of the wait for further deltas; `None`: the append must not wait.
    pub waits_until: Option<Instant>,
}

/// Appends to be committed in one transaction.
pub struct Group {
    /// The appends in the order in which they are stored.
    pub appends: Vec<QueuedAppend>,
    /// Reply channels of the appends, in the same order.
    pub replies: Replies,
    pub events: usize,
    pub bytes: usize,
}

impl Group {
    /// Adds an append that the committer takes.
    pub fn add(&mut self, request: Request) {
        self.events += request.append.append.events.len();
        self.bytes += request.bytes;
        self.appends.push(request.append);
        self.replies.take(request.reply);
    }
}
