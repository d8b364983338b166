//! The receiving end of the commit queue: appends are taken in groups, one for each commit.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::group::{Group, Request};
use super::progress::Progress;
use super::queue_depth::QueueDepth;
use super::queue_options::QueueOptions;
use super::reply::Replies;
use crate::domain::Error;
use crate::store::Latch;

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

impl CommitQueueReceiver {
    /// The receiver of these requests, which share the other parts with the sending end.
    pub fn new(
        requests: mpsc::Receiver<Request>,
        depth: Arc<QueueDepth>,
        progress: Arc<Progress>,
        options: QueueOptions,
        closing: Latch,
    ) -> Self {
        Self { requests, depth, progress, options, closing, had_company: false }
    }

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
