//! The single follower of a replica. The follower publishes all commits, of this replica and of others, to the listener,
//! those of each project in the order of its feed, each once. A commit of this replica is published from memory if the commit
//! is the next in its feed; all other commits are read from the database, as far as the listener is interested.
//! Notifications are only hints to read: the authority is the end of each feed in the database.

use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::DropGuard;

use crate::domain::Error;
use crate::store::{Commit, CommitListener, Interest, ProjectNumber, RunKey};

use super::announcer::CommitAnnouncer;
use super::part;
use super::removals::SeenRemovals;
use super::replica::{RENEWAL, Replica};
use super::signals::FeedSignal;
use crate::store::postgres::connect::readers::Readers;
use crate::store::postgres::error::Fault;
use crate::store::postgres::positions::Positions;
use crate::store::postgres::read::FeedEnds;
use crate::telemetry;

/// Maximum number of own commits queued while a feed is read; commits beyond the limit are read from the database.
const HANDED_OVER: usize = 8;

/// The follower task.
pub struct Follower {
    readers: Arc<Readers>,
    listener: Arc<dyn CommitListener>,
    poll: Duration,
    /// Stops the LISTEN task on drop.
    _listening: DropGuard,
    own: mpsc::Receiver<(u64, Commit)>,
    announced: watch::Sender<Positions>,
    signal: watch::Sender<FeedSignal>,
    /// Ends of the feeds that are not announced up to there.
    behind: Positions,
    /// The project whose feed was read last.
    last_read: ProjectNumber,
    /// Generation of the history of the last announcement.
    generation: u64,
    removals: SeenRemovals,
    replica: Arc<Replica>,
    /// Whether the table `replicas` lacks removals that the listener knows of.
    is_unwritten: bool,
    /// Time at which the last look began.
    looked: Instant,
}

impl Follower {
    /// Creates follower and announcer for feeds announced up to their ends. The returned sender is for the LISTEN task.
    pub fn new(
        readers: Arc<Readers>,
        listener: Arc<dyn CommitListener>,
        poll: Duration,
        listening: DropGuard,
        (replica, found): (Arc<Replica>, FeedEnds),
    ) -> (Self, CommitAnnouncer, watch::Sender<FeedSignal>) {
        let (own_sender, own) = mpsc::channel(HANDED_OVER);
        let (announced, announced_receiver) = watch::channel(found.ends);
        let (signal, _) = watch::channel(FeedSignal::default());
        let announcer = CommitAnnouncer { own: own_sender, announced: announced_receiver, signal: signal.clone() };
        let follower = Self {
            readers,
            listener,
            poll,
            _listening: listening,
            own,
            announced,
            signal: signal.clone(),
            behind: Positions::default(),
            last_read: ProjectNumber::DEFAULT,
            generation: 0,
            removals: SeenRemovals::new(found.removals),
            replica,
            is_unwritten: false,
            looked: Instant::now(),
        };
        (follower, announcer, signal)
    }

    /// Runs until the committer has ended.
    pub async fn run(mut self) {
        let mut polls = interval(self.poll);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewals = interval(RENEWAL);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut signals = self.signal.subscribe();
        let mut missed = 0;
        loop {
            // Own commits come first: they may make a read unnecessary. But a lease must not end under a stream of them.
            let caught_up = tokio::select! {
                biased;
                _ = renewals.tick() => self.look().await.map(drop),
                own = self.own.recv() => match own {
                    Some((generation, commit)) => self.take(generation, commit).await,
                    None => return,
                },
                Ok(()) = signals.changed() => {
                    let signal = self.take_signal();
                    if std::mem::replace(&mut missed, signal.missed) == signal.missed {
                        self.follow_history();
                        self.note_ends(&signal.ends);
                        Ok(())
                    } else {
                        self.poll().await
                    }
                }
                _ = polls.tick() => {
                    renewals.reset();
                    self.poll().await
                }
                () = ready(()), if !self.behind.is_empty() => Ok(()),
            };
            let caught_up = match caught_up {
                Ok(()) => self.read_next().await,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = caught_up {
                tracing::warn!(?fault, "a feed could not be read; it is read again with the next poll");
            }
        }
    }

    /// Takes the positions out of the signal.
    fn take_signal(&self) -> FeedSignal {
        let mut taken = FeedSignal::default();
        self.signal.send_if_modified(|signal| {
            taken = FeedSignal { ends: std::mem::take(&mut signal.ends), missed: signal.missed };
            false
        });
        taken
    }

    /// Announces an own commit after all earlier commits of its project.
    async fn take(&mut self, generation: u64, commit: Commit) -> Result<(), Fault> {
        self.follow_history();
        if generation != self.generation {
            // The commit may be lost with the old history; otherwise the poll reads the commit.
            return self.poll().await;
        }
        let (project, last) = (commit.project, commit.feed_end.last);
        let first = commit.feed.first().map_or(0, |chunk| chunk.first);
        self.read_until(project, first.saturating_sub(1)).await?;
        if self.position(project) + 1 == first && !self.removals.may_concern(project, first) {
            self.announce(commit);
            return Ok(());
        }
        self.read_until(project, last).await
    }

    /// Reads the ends of all feeds, and notes those that are behind.
    async fn poll(&mut self) -> Result<(), Fault> {
        self.readers.check_lineage().await?;
        let generation = self.readers.epochs.current.generation();
        let ends = self.look().await?.ends;
        let unannounced = ends.iter().map(|(project, end)| end.saturating_sub(self.position(project))).sum();
        telemetry::POSTGRES_UNANNOUNCED_EVENTS.set(unannounced);
        if let Some((project, announced)) = self.lost(&ends) {
            // Only a database that went back in time does so: a restored backup, or a promoted standby without the last
            // commits.
            let feed_end = ends.get(project);
            tracing::error!(
                %project,
                feed_end,
                announced,
                "the feed ends before what was announced: commits were lost"
            );
            self.follow_history();
            if self.lost(&ends).is_some() {
                self.readers.begin_after_loss().await?;
            }
        }
        self.follow_history();
        if generation == self.generation {
            self.note_ends(&ends);
        }
        Ok(())
    }

    /// Reads the ends of all feeds and their removals, passes new removals on to the listener, and renews the lease.
    async fn look(&mut self) -> Result<FeedEnds, Fault> {
        let found = self.look_once().await?;
        // An erasure after this look may have missed an entry that was not there.
        if found.is_registered { Ok(found) } else { self.look_once().await }
    }

    async fn look_once(&mut self) -> Result<FeedEnds, Fault> {
        self.looked = Instant::now();
        let found = self.readers.feed_ends(&self.replica.name).await?;
        if found.is_standby {
            // It may lack the newest removals, and commits that are announced.
            return Err(Fault::Rejected(Error::StoreReadOnly));
        }
        self.is_unwritten |= self.removals.note(&found, &*self.listener);
        if self.is_unwritten || !found.is_registered {
            self.replica.acknowledge(&self.readers, &found).await.map_err(Fault::Rejected)?;
            self.is_unwritten = false;
        }
        if found.is_registered {
            self.replica.renew(self.looked);
        }
        Ok(found)
    }

    /// A project with an announced position after the end of its feed, with that position.
    fn lost(&self, ends: &Positions) -> Option<(ProjectNumber, u64)> {
        // A notification may name what is no project.
        let current = &self.readers.epochs.current;
        let is_lost = |(project, announced): &(ProjectNumber, u64)| {
            ends.get(*project) < *announced && current.history(*project).is_some()
        };
        self.announced.borrow().iter().find(is_lost)
    }

    /// Notes the feeds that are not announced up to these ends.
    fn note_ends(&mut self, ends: &Positions) {
        for (project, end) in ends.iter() {
            if self.position(project) < end {
                self.behind.raise(project, end);
            }
        }
    }

    /// Reads and announces one part of a feed that is behind. The feeds take turns, so that none waits for the end of another,
    /// and own commits wait for one part only.
    async fn read_next(&mut self) -> Result<(), Fault> {
        self.follow_history();
        let Some((project, end)) = self.behind.next(self.last_read) else { return Ok(()) };
        self.last_read = project;
        let read = if self.position(project) < end { self.read_part(project, end).await } else { Ok(()) };
        match &read {
            Ok(()) if self.position(project) < end => {}
            // A feed that is damaged does not stop the others.
            Ok(()) | Err(Fault::Rejected(_)) => self.behind.remove(project),
            Err(_) => self.behind = Positions::default(),
        }
        read
    }

    /// Reads and announces missing commits of a project up to `position` and not beyond. However many there are, the lease is renewed.
    async fn read_until(&mut self, project: ProjectNumber, position: u64) -> Result<(), Fault> {
        self.follow_history();
        while self.position(project) < position {
            if self.looked.elapsed() >= RENEWAL {
                self.look().await?;
            }
            self.read_part(project, position).await?;
        }
        Ok(())
    }

    /// Reads and announces the next part of a feed up to `position` and not beyond, for the runs in which the listener is
    /// interested.
    async fn read_part(&mut self, project: ProjectNumber, position: u64) -> Result<(), Fault> {
        let after = self.position(project);
        // The interest is queried for every part: a later subscriber finds the skipped events in the store.
        let commit = match self.listener.interest(project) {
            Interest::All => part::whole(&self.readers, project, after, position).await?,
            Interest::Runs(run_ids) if run_ids.is_empty() => Commit::nothing(project, position),
            Interest::Runs(run_ids) => {
                let runs: Vec<RunKey> = run_ids.into_iter().map(|run_id| RunKey::new(project, run_id)).collect();
                part::of_runs(&self.readers, project, after, position, &runs).await?
            }
        };
        self.announce(commit);
        self.follow_history();
        Ok(())
    }

    /// After a change of the history, resets the announced positions to the starts of the newest epochs.
    fn follow_history(&mut self) {
        let current = &self.readers.epochs.current;
        let generation = current.generation();
        if std::mem::replace(&mut self.generation, generation) != generation {
            self.behind = Positions::default();
            self.announced.send_modify(|announced| {
                announced.change(|project, position| Some(current.history(project)?.newest_start().min(position)));
            });
        }
    }

    fn position(&self, project: ProjectNumber) -> u64 {
        self.announced.borrow().get(project)
    }

    fn announce(&self, commit: Commit) {
        let (project, last) = (commit.project, commit.feed_end.last);
        let current = &self.readers.epochs.current;
        // A commit read under a different history is not announced.
        if current.announce(self.generation, || self.listener.committed(commit)) {
            self.announced.send_modify(|announced| announced.set(project, last));
        }
    }
}
