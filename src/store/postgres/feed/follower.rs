//! The replica's one follower of the feed. It tells the listener of commits, this replica's and the others', in the order of
//! the feed, each once. Commits of this replica are handed over as they are when they come next; what else is missing is
//! read, as far as the listener has use for it. Signals only say that there is something to read: the feed's end of the scope is what
//! counts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::DropGuard;

use crate::domain::{Error, RunId};
use crate::store::{Commit, CommitListener, Interest, Range};

use crate::store::postgres::connect::readers::Readers;
use crate::store::postgres::error::Fault;
use crate::store::postgres::read;

/// Own commits that may wait while the feed is read; what does not fit is read, too.
const HANDED_OVER: usize = 8;

/// The longest that an answer waits for its commit to be announced here first. The events are durable meanwhile.
const ANNOUNCE_WAIT: Duration = Duration::from_secs(5);

/// Bounds of what is read at once to catch up.
const CATCH_UP: Range = Range { from: 0, descending: false, max_events: 4_096, max_bytes: 4 << 20 };

/// How many positions one statement looks at where only some runs are followed: a replica that lags far would else look through
/// all that it missed at once, longer than a statement may take, and would never catch up.
const LOOKED_AT: u64 = 65_536;

/// What there is to read, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedSignal {
    /// The highest position that a signal named.
    pub position: u64,
    /// How often signals may have been lost.
    pub missed: u64,
}

/// The committer's side.
pub struct CommitAnnouncer {
    own: mpsc::Sender<(u64, Commit)>,
    announced: watch::Receiver<u64>,
    signal: watch::Sender<FeedSignal>,
}

/// See the module.
pub struct Follower {
    readers: Arc<Readers>,
    listener: Arc<dyn CommitListener>,
    poll: Duration,
    /// Ends the task that listens for signals.
    _listening: DropGuard,
    own: mpsc::Receiver<(u64, Commit)>,
    announced: watch::Sender<u64>,
    signal: watch::Receiver<FeedSignal>,
    /// Of the history that was announced last.
    generation: u64,
}

impl CommitAnnouncer {
    /// Hands over a commit of this generation of the history. Returns when it is announced, or at once when others must be read
    /// before it.
    pub async fn announce(&mut self, generation: u64, commit: Commit) {
        let first = commit.feed.first().map_or(0, |chunk| chunk.first);
        let last = commit.feed_end.last;
        let is_next = *self.announced.borrow_and_update() + 1 == first;
        // The signal comes second: it must not make the follower read what it is handed.
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
    /// Both sides, for a feed that is announced up to this position. `signal` is for the task that listens.
    pub fn new(
        (readers, listener): (Arc<Readers>, Arc<dyn CommitListener>),
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

    /// Runs until the committer has gone.
    pub async fn run(mut self) {
        let mut polls = interval(self.poll);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut missed = 0;
        loop {
            // What was handed over comes first: it may make reading needless.
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

    /// Tells an own commit, after all that lies before it.
    async fn take(&mut self, generation: u64, commit: Commit) -> Result<(), Fault> {
        self.follow_history();
        if generation != self.generation {
            // It may be lost. Where it is not, it is read.
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

    /// Asks how far the feed goes.
    async fn poll(&mut self) -> Result<(), Fault> {
        self.readers.check_lineage().await?;
        let scope_end = self.readers.feed_end().await?;
        #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("runlog_postgres_unannounced_events").set(scope_end.saturating_sub(self.position()) as f64);
        if scope_end < self.position() {
            // Only a database that went back in time does this: a restored backup, or a standby that lacked commits.
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

    /// Reads and tells what is missing up to this position, as far as anybody follows it, and nothing behind it.
    async fn read_until(&mut self, position: u64) -> Result<(), Fault> {
        self.follow_history();
        while self.position() < position {
            let range = Range { from: self.position(), ..CATCH_UP };
            // Asked anew for each part: who joins after this sees in the store what is passed over here.
            let commit = match self.listener.interest() {
                Interest::All => self.part(range, position).await?,
                Interest::Runs(run_ids) if run_ids.is_empty() => Commit::nothing(position),
                Interest::Runs(run_ids) => self.part_of(range, position, &run_ids).await?,
            };
            self.announce(commit);
            self.follow_history();
        }
        Ok(())
    }

    /// Where the history has changed, all after the beginning of its newest epoch is announced once more.
    fn follow_history(&mut self) {
        let current = &self.readers.epochs.current;
        let generation = current.generation();
        if std::mem::replace(&mut self.generation, generation) != generation {
            let start = current.get().newest_start();
            self.announced.send_modify(|announced| *announced = start.min(*announced));
        }
    }

    /// What comes next in the feed, as much of it as is read at once.
    async fn part(&self, range: Range, to: u64) -> Result<Commit, Fault> {
        let commit = match read::commit(self.readers.feed_rows(range, to).await?) {
            // Who follows it meets the damage in the store; all others go on.
            Err(Error::EventDamaged { .. }) => return Ok(Commit::nothing(range.from + 1)),
            commit => commit?,
        };
        if commit.feed.first().is_none_or(|chunk| chunk.first != range.from + 1) {
            tracing::error!(after = range.from, "the feed has a gap");
            return Err(Fault::Rejected(Error::StoreDamaged));
        }
        Ok(commit)
    }

    /// The same of these runs only: all of it, or as much as is read at once.
    async fn part_of(&self, range: Range, to: u64, run_ids: &[RunId]) -> Result<Commit, Fault> {
        let to = end_of_look(range.from, to);
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
        // One that was read of another history is not announced.
        if current.announce(self.generation, || self.listener.committed(commit)) {
            self.announced.send_replace(last);
        }
    }
}

/// How far one statement looks that begins after `from`, of what is missing up to `to`.
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
