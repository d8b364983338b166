//! The single feed follower of a replica. The follower publishes all commits, of this replica and of others, to the
//! listener in feed order, each once. A commit of this replica is published from memory if the commit is the next in
//! the feed; all other commits are read from the database, as far as the listener is interested. Notifications are only
//! hints to read: the authority is the end of the feed in the database.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::DropGuard;

use crate::domain::{Error, RunId};
use crate::store::{Commit, CommitListener, Interest, Range, ReadFrom};

use crate::store::postgres::connect::readers::Readers;
use crate::store::postgres::error::Fault;
use crate::store::postgres::read;
use crate::telemetry;

/// Maximum number of own commits queued while the feed is read; commits beyond the limit are read from the database.
const HANDED_OVER: usize = 8;

/// Maximum time for which a reply waits for the announcement of its commit. The events are already durable.
const ANNOUNCE_WAIT: Duration = Duration::from_secs(5);

/// Limits of one read while catching up.
const CATCH_UP: Range = Range { from: ReadFrom::After(0), max_events: 4_096, max_bytes: 4 << 20 };

/// Maximum number of positions scanned by one statement if only some runs have subscribers. Without the limit, a
/// statement of a replica far behind would exceed the statement timeout, and the replica would never catch up.
const LOOKED_AT: u64 = 65_536;

/// Latest hints about unread commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedSignal {
    /// Highest position named by a notification or by an own commit.
    pub position: u64,
    /// Number of gaps during which notifications may have been lost.
    pub missed: u64,
}

/// The committer's handle of the follower.
pub struct CommitAnnouncer {
    own: mpsc::Sender<(u64, Commit)>,
    announced: watch::Receiver<u64>,
    signal: watch::Sender<FeedSignal>,
}

/// The follower task.
pub struct Follower {
    readers: Arc<Readers>,
    listener: Arc<dyn CommitListener>,
    poll: Duration,
    /// Stops the LISTEN task on drop.
    _listening: DropGuard,
    own: mpsc::Receiver<(u64, Commit)>,
    announced: watch::Sender<u64>,
    signal: watch::Receiver<FeedSignal>,
    /// Generation of the history of the last announcement.
    generation: u64,
}

impl CommitAnnouncer {
    /// Passes a commit of this generation to the follower. Waits until the commit is announced, at most
    /// `ANNOUNCE_WAIT`; returns immediately if earlier commits must be read first.
    pub async fn announce(&mut self, generation: u64, commit: Commit) {
        let first = commit.feed.first().map_or(0, |chunk| chunk.first);
        let last = commit.feed_end.last;
        let is_next = *self.announced.borrow_and_update() + 1 == first;
        // The commit is queued before the signal is set, so that the follower does not read the same commit from the
        // database.
        let is_handed = self.own.try_send((generation, commit)).is_ok();
        self.signal.send_modify(|signal| signal.position = signal.position.max(last));
        if is_next && is_handed {
            let announced = self.announced.wait_for(|announced| *announced >= last);
            if !matches!(tokio::time::timeout(ANNOUNCE_WAIT, announced).await, Ok(Ok(_))) {
                tracing::warn!(last, "a commit is durable and not announced yet");
            }
        }
    }
}

impl Follower {
    /// Creates follower and announcer for a feed announced up to `position`. The returned sender is for the LISTEN
    /// task.
    pub fn new(
        readers: Arc<Readers>,
        listener: Arc<dyn CommitListener>,
        poll: Duration,
        listening: DropGuard,
        position: u64,
    ) -> (Self, CommitAnnouncer, watch::Sender<FeedSignal>) {
        let (own_sender, own) = mpsc::channel(HANDED_OVER);
        let (announced, announced_receiver) = watch::channel(position);
        let (signal_sender, signal) = watch::channel(FeedSignal::default());
        let follower = Self { readers, listener, poll, _listening: listening, own, announced, signal, generation: 0 };
        (
            follower,
            CommitAnnouncer { own: own_sender, announced: announced_receiver, signal: signal_sender.clone() },
            signal_sender,
        )
    }

    /// Runs until the committer has ended.
    pub async fn run(mut self) {
        let mut polls = interval(self.poll);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut missed = 0;
        loop {
            // Own commits come first: they may make a read unnecessary.
            let caught_up = tokio::select! {
                biased;
                own = self.own.recv() => match own {
                    Some((generation, commit)) => self.take(generation, commit).await,
                    None => return,
                },
                Ok(()) = self.signal.changed() => {
                    let signal = *self.signal.borrow_and_update();
                    if std::mem::replace(&mut missed, signal.missed) == signal.missed {
                        self.read_until(signal.position).await
                    } else {
                        self.poll().await
                    }
                }
                _ = polls.tick() => self.poll().await,
            };
            if let Err(fault) = caught_up {
                tracing::warn!(?fault, "the feed could not be read; it is read again with the next poll");
            }
        }
    }

    /// Announces an own commit after all earlier commits.
    async fn take(&mut self, generation: u64, commit: Commit) -> Result<(), Fault> {
        self.follow_history();
        if generation != self.generation {
            // The commit may be lost with the old history; otherwise the poll reads the commit.
            return self.poll().await;
        }
        let (first, last) = (commit.feed.first().map_or(0, |chunk| chunk.first), commit.feed_end.last);
        self.read_until(first.saturating_sub(1)).await?;
        if self.position() + 1 == first {
            self.announce(commit);
            return Ok(());
        }
        self.read_until(last).await
    }

    /// Reads the end of the feed and catches up.
    async fn poll(&mut self) -> Result<(), Fault> {
        self.readers.check_lineage().await?;
        let scope_end = self.readers.feed_end().await?;
        telemetry::POSTGRES_UNANNOUNCED_EVENTS.set(scope_end.saturating_sub(self.position()));
        if scope_end < self.position() {
            // Only a database that went back in time does so: a restored backup, or a promoted standby without the last
            // commits.
            tracing::error!(
                scope_end,
                announced = self.position(),
                "the feed ends before what was announced: commits were lost"
            );
            self.follow_history();
            if scope_end < self.position() {
                self.readers.begin_after_loss().await?;
            }
        }
        self.read_until(scope_end).await
    }

    /// Reads and announces missing commits up to `position` and not beyond, for the runs in which the listener is
    /// interested.
    async fn read_until(&mut self, position: u64) -> Result<(), Fault> {
        self.follow_history();
        while self.position() < position {
            let after = self.position();
            // The interest is queried for every part: a later subscriber finds the skipped events in the store.
            let commit = match self.listener.interest() {
                Interest::All => self.part(after, position).await?,
                Interest::Runs(run_ids) if run_ids.is_empty() => Commit::nothing(position),
                Interest::Runs(run_ids) => self.part_of(after, position, &run_ids).await?,
            };
            self.announce(commit);
            self.follow_history();
        }
        Ok(())
    }

    /// After a change of the history, resets the announced position to the start of the newest epoch.
    fn follow_history(&mut self) {
        let current = &self.readers.epochs.current;
        let generation = current.generation();
        if std::mem::replace(&mut self.generation, generation) != generation {
            let start = current.get().newest_start();
            self.announced.send_modify(|announced| *announced = start.min(*announced));
        }
    }

    /// Reads the part of the feed after a position, limited by [`CATCH_UP`].
    async fn part(&self, after: u64, to: u64) -> Result<Commit, Fault> {
        let range = Range { from: ReadFrom::After(after), ..CATCH_UP };
        let commit = match read::commit(self.readers.feed_rows(range, to).await?) {
            // A subscriber of the damaged event meets the damage when reading the store; all other subscribers
            // continue.
            Err(Error::EventDamaged { .. }) => return Ok(Commit::nothing(after + 1)),
            commit => commit?,
        };
        if commit.feed.first().is_none_or(|chunk| chunk.first != after + 1) {
            tracing::error!(after, "the feed has a gap");
            return Err(Fault::Rejected(Error::StoreDamaged));
        }
        Ok(commit)
    }

    /// Reads the events of these runs in the part of the feed after a position, limited by [`CATCH_UP`] and [`LOOKED_AT`].
    async fn part_of(&self, after: u64, to: u64, run_ids: &[RunId]) -> Result<Commit, Fault> {
        let range = Range { from: ReadFrom::After(after), ..CATCH_UP };
        let to = end_of_look(after, to);
        let rows = self.readers.feed_rows_of(range, to, run_ids).await?;
        let positions: Vec<u64> = rows.iter().map(|row| row.pos.unsigned_abs()).collect();
        let Commit { runs, feed, .. } = match read::commit(rows) {
            Err(Error::EventDamaged { .. }) => return Ok(Commit::nothing(positions[0])),
            commit => commit?,
        };
        let bytes: usize = feed.iter().map(|chunk| chunk.data.len()).sum();
        let count: usize = feed.iter().map(|chunk| chunk.count as usize).sum();
        let is_all = count == positions.len() && count < range.max_events && bytes <= range.max_bytes;
        let end = if is_all { to } else { positions[..count].last().copied().unwrap_or(to) };
        Ok(Commit { runs, ..Commit::nothing(end) })
    }

    fn position(&self) -> u64 {
        *self.announced.borrow()
    }

    fn announce(&self, commit: Commit) {
        let last = commit.feed_end.last;
        let current = &self.readers.epochs.current;
        // A commit read under a different history is not announced.
        if current.announce(self.generation, || self.listener.committed(commit)) {
            self.announced.send_replace(last);
        }
    }
}

/// Last position scanned by a statement that begins after `from`, at most `to`.
fn end_of_look(from: u64, to: u64) -> u64 {
    to.min(from.saturating_add(LOOKED_AT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_lags_looks_at_a_bounded_part_of_the_feed_in_one_statement_and_gets_to_its_end() {
        let (mut from, to, mut looks) = (10, 1_000_000, 0);
        while from < to {
            let end = end_of_look(from, to);
            assert!(end > from && end - from <= LOOKED_AT && end <= to);
            (from, looks) = (end, looks + 1);
        }
        assert_eq!(looks, 16);
        assert_eq!(end_of_look(7, 7), 7);
    }
}
