//! One slice of retention.

use std::sync::atomic::Ordering::Relaxed;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::domain::Result;
use crate::domain::retention::Retention;
use crate::store::project::position_of;
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::feed_floors::{self, FeedFloor};
use crate::store::sqlite::maintenance::transaction;
use crate::store::{Expired, ProjectNumber};

use super::changes::Changes;
use super::judge::Judge;
use super::rows::{self, Rows};
use super::{Open, Removals, counted_bytes, space};

/// A slice in progress.
struct Slice<'a> {
    judge: Judge<'a>,
    floor: FeedFloor,
    changes: Changes,
    /// Position up to which events were examined.
    examined: u64,
}

/// Why a slice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All rows that were read are examined.
    Rows,
    /// A row that is too young, and so are all after it.
    Young,
}

impl Removals {
    /// Examines the next rows after this position, writes what changes, and gives pages back at the end of a pass.
    pub(super) async fn slice(
        &self,
        connection: &mut SqliteConnection,
        open: &mut Open,
        project: ProjectNumber,
        retention: &Retention,
        (now, after): (Timestamp, u64),
    ) -> Result<Expired> {
        // Counted before the runs are read.
        let releases = self.releases.load(Relaxed);
        let stored = feed_floors::of(connection, project).await?;
        let mut floor = stored;
        let judge = Judge { retention, now, last_position: self.tail.last_position(project) };
        let is_counted = match retention.max_bytes {
            Some(_) => counted_bytes::count(connection, &mut floor, project.pos(judge.last_position)).await?,
            None => true,
        };
        if after == 0 {
            open.cut.remove(&project);
        }
        // The limit by bytes takes the oldest events, also before those that the caller has passed.
        let is_over = judge.is_over(&floor);
        let cut = open.cut.get(&project).copied().unwrap_or(0);
        let start = if is_over { after.min(cut) } else { after };
        let mut slice = Slice { judge, floor, changes: Changes::default(), examined: start };
        let rows = self.rows(connection, project, &slice).await?;
        let is_last = rows.rows.is_empty();
        let end = slice.examine(rows, after)?;
        if is_over {
            open.cut.insert(project, slice.examined);
        }
        if slice.floor != stored {
            slice.changes.floor = Some(slice.floor);
        }
        if !slice.changes.is_empty() {
            self.write(connection, project, &slice.changes).await?;
        }
        let is_done = (is_last || end == End::Young) && is_counted;
        if is_done {
            space::give_back(connection, &self.watch).await;
        }
        let Changes { events, bytes, .. } = slice.changes;
        Ok(Expired { examined: slice.examined.max(after), is_done, events, bytes, releases })
    }

    /// The next rows. Rows that are not flushed yet are flushed first, if they may be too old.
    async fn rows(&self, connection: &mut SqliteConnection, project: ProjectNumber, slice: &Slice<'_>) -> Result<Rows> {
        let start = project.pos(slice.examined);
        // Asked once: a flush may end after the read.
        let rewritable = self.rewritable_pos(project);
        let rows = rows::after(connection, project, start, rewritable).await?;
        let last = project.pos(slice.judge.last_position);
        if !rows.rows.is_empty() || rewritable >= last {
            return Ok(rows);
        }
        let unflushed = rows::after(connection, project, start, last).await?;
        let first = unflushed.rows.first().and_then(|(_, events)| events.first());
        let is_due = match first {
            Some(event) => slice.judge.is_over(&slice.floor) || !slice.judge.is_young(&event.record)?,
            None => false,
        };
        if !is_due || !self.flushed_to(project, last).await {
            return Ok(rows);
        }
        rows::after(connection, project, start, self.rewritable_pos(project)).await
    }

    async fn write(&self, connection: &mut SqliteConnection, project: ProjectNumber, changes: &Changes) -> Result<()> {
        failpoint!("sqlite-expire-before", from_sqlx);
        transaction::begin(connection).await.map_err(from_sqlx)?;
        let written = async {
            changes.write(connection).await?;
            failpoint!("sqlite-expire-inside", std::convert::From::from);
            Ok(())
        };
        let written = written.await;
        let after = || {
            failpoint!("sqlite-expire-after", from_sqlx);
            Ok(())
        };
        self.commit(connection, project, written, after).await
    }
}

impl Slice<'_> {
    /// Judges rows. Those up to the position `after` are examined for the limit by bytes only.
    fn examine(&mut self, rows: Rows, after: u64) -> Result<End> {
        let Rows { rows, mut runs } = rows;
        for (row, events) in rows {
            let chunk = &row.chunk;
            let Some(oldest) = events.first() else {
                // Damaged: nobody knows what it holds. The feed begins with it at the latest.
                tracing::warn!(row = chunk.first, "retention leaves a damaged row as it is");
                self.examined = position_of(chunk.first);
                continue;
            };
            let is_passed = position_of(chunk.first) <= after;
            if !self.judge.is_over(&self.floor) && (is_passed || self.judge.is_young(&oldest.record)?) {
                return Ok(if is_passed { End::Rows } else { End::Young });
            }
            let is_before = position_of(chunk.first) < self.floor.first();
            let begins: Vec<u64> = runs.iter().map(|run| run.first_seq).collect();
            let fates = self.judge.fates(chunk, &events, &mut runs, &mut self.floor)?;
            let (shorter, _) = self.changes.add(chunk, &events, &runs, &fates)?;
            let changed = runs.iter().zip(begins).filter(|(run, begin)| run.first_seq > *begin);
            self.changes.first_seqs.extend(changed.map(|(run, _)| (run.run, run.first_seq)));
            self.floor.shorten(chunk.first, shorter);
            // The place of an event in a row before the begin of the feed is not known.
            self.examined = position_of(if is_before { chunk.first } else { chunk.last() });
        }
        Ok(End::Rows)
    }
}
