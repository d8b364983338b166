//! Epochs of the database. PostgreSQL may go back in time while replicas serve: a standby without the last commits is
//! promoted, or a backup is restored. Both need a server start or a promotion, so the replica reads the lineage
//! (timeline and start time of the server) on every new connection and at every poll. The first replica that finds a
//! new lineage begins an epoch of each project. Meanwhile the replica locks the rows of all feeds, so that no commit of
//! a replica that supports epochs comes in between.
//!
//! Each project is compared on its own: a replica of version 7 begins an epoch of the project `default` only.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use sqlx::{Connection, PgConnection};

use crate::domain::history::Epoch;
use crate::store::history::begin_epoch;
use crate::store::{CommitListener, ProjectNumber};

use super::connect::executor::PgExecutor;
use super::feed_row::{FeedRow, feed_columns};
use super::known_projects::{KnownProjects, Project};

/// Timeline and start time of the server; NULL on a standby.
macro_rules! lineage {
    () => {
        "CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || ' ' \
         || extract(epoch FROM pg_postmaster_start_time())::text END"
    };
}
pub(super) use lineage;

const LINEAGE: &str = concat!("SELECT ", lineage!());

/// The known projects and their epochs, shared by all connections of a replica.
pub struct Epochs {
    pub current: KnownProjects,
    listener: Arc<dyn CommitListener>,
    known: Mutex<KnownLineage>,
}

struct KnownLineage {
    /// Lineage of the newest epochs.
    lineage: Option<String>,
    /// Time of the last change of the history: older connections may lead to the previous server.
    since: Instant,
}

/// A row of `epochs`, of the project 0, or of `project_epochs`.
#[derive(sqlx::FromRow)]
struct EpochRow {
    project: i64,
    /// Ascends in the order of the epochs of a project.
    number: i64,
    id: i64,
    start: i64,
    lineage: Option<String>,
}

impl EpochRow {
    fn epoch(&self) -> Epoch {
        Epoch { id: u32::try_from(self.id).unwrap_or(0), start: self.start.unsigned_abs() }
    }
}

/// Projects and lineage as read from the database.
struct Found {
    projects: Vec<Project>,
    lineage: Option<String>,
}

impl Epochs {
    /// Reads projects and epochs, and begins new epochs if the lineage has changed.
    pub async fn open(connection: &mut PgConnection, listener: Arc<dyn CommitListener>) -> Result<Self, sqlx::Error> {
        let Found { projects, lineage } = begin(connection, false).await?;
        let current = KnownProjects::new(projects);
        Ok(Self { current, listener, known: Mutex::new(KnownLineage { lineage, since: Instant::now() }) })
    }

    /// Compares the lineage of the connection with the known lineage. After the return every read on the connection
    /// belongs to the current history.
    pub async fn check(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let mut transaction = connection.begin().await?;
        let here: Option<String> =
            sqlx::query_scalar(LINEAGE).fetch_one(&mut PgExecutor::pooled(&mut transaction)).await?;
        transaction.rollback().await?;
        if here.is_none() || here == self.known.lock().lineage {
            return Ok(());
        }
        self.read_again(connection, false).await
    }

    /// Begins epochs under an unchanged lineage, because a feed ends before an already announced position.
    pub async fn begin_after_loss(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.read_again(connection, true).await
    }

    async fn read_again(&self, connection: &mut PgConnection, mut forced: bool) -> Result<(), sqlx::Error> {
        loop {
            let added = self.current.added();
            let found = begin(connection, forced).await?;
            if self.take(added, found) {
                return Ok(());
            }
            // A project was added meanwhile. The epochs have begun.
            forced = false;
        }
    }

    /// Whether a connection opened at this time leads to the server of the current history.
    pub fn is_current(&self, opened: Instant) -> bool {
        opened >= self.known.lock().since
    }

    /// Takes what was read after `added` projects had been added. Returns false if it has to be read again.
    fn take(&self, added: u64, found: Found) -> bool {
        let mut known = self.known.lock();
        let Some(is_changed) = self.current.replace(added, found.projects, &*self.listener) else { return false };
        if is_changed {
            tracing::warn!(lineage = found.lineage, "PostgreSQL has a new lineage: new epochs of the feeds begin");
            known.since = Instant::now();
        }
        known.lineage = found.lineage;
        true
    }
}

impl std::fmt::Debug for Epochs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Epochs({:?})", self.current)
    }
}

/// Reads projects and epochs. Begins an epoch of each project whose newest epoch is of another lineage, or of every
/// project if `forced`.
async fn begin(connection: &mut PgConnection, forced: bool) -> Result<Found, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let mut executor = PgExecutor::pooled(&mut transaction);
    if !forced {
        // The usual case stops no commit: locks are for those who begin an epoch.
        const LOOK: &str = concat!("SELECT ", feed_columns!(), " FROM feed ORDER BY id");
        let Read { feeds, here, rows } = read(&mut executor, LOOK).await?;
        let is_current = |number: ProjectNumber| {
            of_project(&rows, number).last().is_some_and(|newest| newest.lineage.is_some() && newest.lineage == here)
        };
        if feeds.iter().filter_map(FeedRow::number).all(is_current) {
            transaction.rollback().await?;
            let epochs = |number| of_project(&rows, number).iter().map(EpochRow::epoch).collect();
            let project = |feed: &FeedRow| feed.project(with_events(epochs(feed.number()?)));
            return Ok(Found { projects: feeds.iter().filter_map(project).collect(), lineage: here });
        }
    }
    const LOCK: &str = concat!("SELECT ", feed_columns!(), " FROM feed ORDER BY id FOR UPDATE");
    let Read { feeds, here, rows } = read(&mut executor, LOCK).await?;
    let (mut projects, mut begun) = (Vec::with_capacity(feeds.len()), Begun::default());
    for feed in &feeds {
        let Some(number) = feed.number() else { continue };
        let of_project = of_project(&rows, number);
        let newest = of_project.last();
        let mut epochs: Vec<Epoch> = of_project.iter().map(EpochRow::epoch).collect();
        let known = newest.and_then(|newest| newest.lineage.as_ref());
        if known.is_none() && !forced && number == ProjectNumber::DEFAULT {
            // First start of a version with epochs: the lineage is recorded.
            let first = sqlx::query("UPDATE epochs SET lineage = $1 WHERE epoch = $2").bind(&here);
            first.bind(newest.map_or(0, |newest| newest.number)).execute(&mut executor).await?;
        } else if forced || known != here.as_ref() {
            let epoch = begin_epoch(feed.last());
            epochs.push(epoch);
            begun.add(number, newest.map_or(0, |newest| newest.number), epoch);
        }
        projects.extend(feed.project(with_events(epochs)));
    }
    begun.write(&mut executor, here.as_deref()).await?;
    transaction.commit().await?;
    Ok(Found { projects, lineage: here })
}

/// Feeds, lineage and epochs of the database.
struct Read {
    feeds: Vec<FeedRow>,
    here: Option<String>,
    /// Sorted by project.
    rows: Vec<EpochRow>,
}

/// Reads the feeds by this statement, then lineage and epochs: separate statements, so that their snapshots include commits made
/// while the first one waited for locks.
async fn read(executor: &mut PgExecutor<'_>, feeds: &'static str) -> Result<Read, sqlx::Error> {
    let feeds: Vec<FeedRow> = sqlx::query_as(feeds).fetch_all(&mut *executor).await?;
    let here: Option<String> = sqlx::query_scalar(LINEAGE).fetch_one(&mut *executor).await?;
    const ALL: &str = "SELECT 0::bigint AS project, epoch AS number, id, start, lineage FROM epochs \
        UNION ALL SELECT project, start, id, start, lineage FROM project_epochs ORDER BY project, number";
    let rows: Vec<EpochRow> = sqlx::query_as(ALL).fetch_all(executor).await?;
    Ok(Read { feeds, here, rows })
}

/// The epochs of one project.
fn of_project(rows: &[EpochRow], number: ProjectNumber) -> &[EpochRow] {
    let first = rows.partition_point(|row| row.project < number.number());
    &rows[first..first + rows[first..].partition_point(|row| row.project == number.number())]
}

/// The epochs without the first one of the project `default`, which has the id 0 and is not listed, and without those that have
/// no event: every cursor issued in such an epoch is valid in the previous epoch.
fn with_events(mut epochs: Vec<Epoch>) -> Vec<Epoch> {
    epochs.retain(|epoch| epoch.id != 0);
    let is_empty = |at: usize| epochs.get(at + 1).is_some_and(|next| next.start == epochs[at].start);
    (0..epochs.len()).filter(|at| !is_empty(*at)).map(|at| epochs[at]).collect()
}

/// Epochs to be written.
#[derive(Default)]
struct Begun {
    /// The epoch of the project `default` with its number.
    of_default: Option<(i64, Epoch)>,
    /// Columns of the epochs of other projects.
    project: Vec<i64>,
    start: Vec<i64>,
    id: Vec<i64>,
}

impl Begun {
    fn add(&mut self, project: ProjectNumber, newest: i64, epoch: Epoch) {
        if project == ProjectNumber::DEFAULT {
            self.of_default = Some((newest + 1, epoch));
            return;
        }
        self.project.push(project.number());
        self.start.push(epoch.start.cast_signed());
        self.id.push(i64::from(epoch.id));
    }

    async fn write(self, executor: &mut PgExecutor<'_>, lineage: Option<&str>) -> Result<(), sqlx::Error> {
        if let Some((number, epoch)) = self.of_default {
            const DEFAULT: &str = "INSERT INTO epochs (epoch, id, start, lineage) VALUES ($1, $2, $3, $4)";
            let begin = sqlx::query(DEFAULT).bind(number).bind(i64::from(epoch.id)).bind(epoch.start.cast_signed());
            begin.bind(lineage).execute(&mut *executor).await?;
        }
        if !self.project.is_empty() {
            const OTHERS: &str = "INSERT INTO project_epochs (project, start, id, lineage) \
                SELECT unnest($1::bigint[]), unnest($2::bigint[]), unnest($3::bigint[]), $4 \
                ON CONFLICT (project, start) DO UPDATE SET id = excluded.id, lineage = excluded.lineage";
            let begin = sqlx::query(OTHERS).bind(self.project).bind(self.start).bind(self.id).bind(lineage);
            begin.execute(executor).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_without_events_and_the_first_one_are_not_listed() {
        let epochs = |all: &[(u32, u64)]| all.iter().map(|(id, start)| Epoch { id: *id, start: *start }).collect();
        let listed = with_events(epochs(&[(0, 0), (1, 0), (2, 7), (3, 7), (4, 9)]));
        assert_eq!(listed, epochs(&[(1, 0), (3, 7), (4, 9)]) as Vec<Epoch>);
    }
}
