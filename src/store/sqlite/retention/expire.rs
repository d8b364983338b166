//! One slice of retention.

use std::sync::atomic::Ordering::Relaxed;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::codec::{Chunk, record};
use crate::domain::retention::Retention;
use crate::domain::{Removal, Result};
use crate::store::project::position_of;
use crate::store::retention::{Decision, EventFacts, Judge, RowFacts, RunFacts};
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::feed_floors::{self, FeedFloor};
use crate::store::sqlite::maintenance::transaction;
use crate::store::{Expired, ProjectNumber};

use super::changes::Changes;
use super::row::Fate;
use super::rows::{self, Rows, StoredEvent};
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
        let judge = Judge { retention, now, last: self.tail.last_position(project) };
        let is_counted = match retention.max_bytes {
            Some(_) => counted_bytes::count(connection, &mut floor, project.pos(judge.last)).await?,
            None => true,
        };
        if after == 0 {
            open.cut.remove(&project);
        }
        // The limit by bytes takes the oldest events, also before those that the caller has passed.
        let is_over = is_over(retention, &floor);
        let cut = open.cut.get(&project).copied().unwrap_or(0);
        let start = if is_over { after.min(cut) } else { after };
        let mut slice = Slice { judge, floor, changes: Changes::default(), examined: start };
        let rows = self.rows(connection, project, &slice).await?;
        let is_last = rows.rows.is_empty();
        let end = slice.examine(rows, after)?;
        if is_over {
            open.cut.insert(project, slice.examined);
        }
        // A count of bytes alone is none.
        let is_changed = !slice.changes.is_empty();
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
        Ok(Expired {
            examined: slice.examined.max(after),
            is_done,
            is_elsewhere: false,
            is_changed,
            events,
            bytes,
            releases,
        })
    }

    /// The next rows. Rows that are not flushed yet are flushed first, if they may be too old.
    async fn rows(&self, connection: &mut SqliteConnection, project: ProjectNumber, slice: &Slice<'_>) -> Result<Rows> {
        let start = project.pos(slice.examined);
        // Asked once: a flush may end after the read.
        let rewritable = self.rewritable_pos(project);
        let rows = rows::after(connection, project, start, rewritable).await?;
        let last = project.pos(slice.judge.last);
        if !rows.rows.is_empty() || rewritable >= last {
            return Ok(rows);
        }
        let unflushed = rows::after(connection, project, start, last).await?;
        let first = unflushed.rows.first().and_then(|(_, events)| events.first());
        let is_due = match first {
            Some(event) => slice.is_over() || !slice.judge.is_young(record::recorded_at(&event.record)?),
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
            if events.is_empty() {
                // Damaged: nobody knows what it holds. The feed begins with it at the latest.
                tracing::warn!(row = chunk.first, "retention leaves a damaged row as it is");
                self.examined = position_of(chunk.first);
                continue;
            }
            let facts = facts(chunk, &events)?;
            let is_passed = position_of(chunk.first) <= after;
            if !self.is_over() && (is_passed || self.judge.ends_before(&facts, &runs)) {
                return Ok(if is_passed { End::Rows } else { End::Young });
            }
            let is_before = position_of(chunk.first) < self.floor.first();
            let begins: Vec<u64> = runs.iter().map(|run| run.first_seq).collect();
            let fates = self.fates(&facts, &mut runs);
            let (shorter, _) = self.changes.add(chunk, &events, &runs, &fates)?;
            let changed = runs.iter().zip(begins).filter(|(run, begin)| run.first_seq > *begin);
            self.changes.first_seqs.extend(changed.map(|(run, _)| (run.run, run.first_seq)));
            self.floor.shorten(chunk.first, shorter);
            // The place of an event in a row before the begin of the feed is not known.
            self.examined = position_of(if is_before { chunk.first } else { chunk.last() });
        }
        Ok(End::Rows)
    }

    fn is_over(&self) -> bool {
        is_over(self.judge.retention, &self.floor)
    }

    /// Fates of the events of a row. Moves the begins of their runs, and that of the feed.
    fn fates(&mut self, row: &RowFacts<'_>, runs: &mut [RunFacts]) -> Vec<Fate<'static>> {
        let before = self.floor.first();
        let mut begin = before;
        let decisions = self.judge.decide(row, runs, &mut begin, self.is_over());
        self.floor.first_pos += (begin - before).cast_signed();
        let fate = |decision| match decision {
            Decision::Keep => Fate::Keep,
            Decision::Expire => Fate::Remove(Removal::Expired),
            Decision::Drop => Fate::Drop,
        };
        decisions.into_iter().map(fate).collect()
    }
}

/// Whether the project holds more bytes than it may.
fn is_over(retention: &Retention, floor: &FeedFloor) -> bool {
    retention.max_bytes.is_some_and(|max| floor.bytes > i64::try_from(max).unwrap_or(i64::MAX))
}

fn facts<'a>(chunk: &Chunk, events: &'a [StoredEvent]) -> Result<RowFacts<'a>> {
    let facts = |event: &'a StoredEvent| {
        let recorded_at = record::recorded_at(&event.record)?;
        let event_type = record::header(&event.record)?.event_type;
        Ok(EventFacts { run: event.run, seq: event.seq, event_type, recorded_at })
    };
    let events = events.iter().map(facts).collect::<Result<_>>()?;
    Ok(RowFacts { first: position_of(chunk.first), events })
}
