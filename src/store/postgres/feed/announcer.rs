//! The committer's handle of the follower.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::signals::FeedSignal;
use crate::store::Commit;
use crate::store::postgres::positions::Positions;

/// Maximum time for which a reply waits for the announcement of its commit. The events are already durable.
const ANNOUNCE_WAIT: Duration = Duration::from_secs(5);

/// Passes own commits to the follower.
pub struct CommitAnnouncer {
    /// Own commits with the generation of the history that they belong to.
    pub own: mpsc::Sender<(u64, Commit)>,
    /// The announced positions.
    pub announced: watch::Receiver<Positions>,
    /// The follower's signal.
    pub signal: watch::Sender<FeedSignal>,
}

impl CommitAnnouncer {
    /// Passes a commit of this generation to the follower. Waits until the commit is announced, at most
    /// `ANNOUNCE_WAIT`; returns immediately if earlier commits must be read first.
    pub async fn announce(&mut self, generation: u64, commit: Commit) {
        let (project, last) = (commit.project, commit.feed_end.last);
        let first = commit.feed.first().map_or(0, |chunk| chunk.first);
        let is_next = self.announced.borrow_and_update().get(project) + 1 == first;
        // The commit is queued before the signal is set, so that the follower does not read the same commit from the
        // database.
        let is_handed = self.own.try_send((generation, commit)).is_ok();
        self.signal.send_modify(|signal| signal.ends.raise(project, last));
        if is_next && is_handed {
            let announced = self.announced.wait_for(|announced| announced.get(project) >= last);
            if !matches!(tokio::time::timeout(ANNOUNCE_WAIT, announced).await, Ok(Ok(_))) {
                tracing::warn!(last, "a commit is durable and not announced yet");
            }
        }
    }
}
