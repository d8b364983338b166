//! The one writer. It takes all that waits, commits it in one transaction, and only then tells of it and answers.
//! It is a task of its own: a client that goes away cannot stop a commit half-way.

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

use crate::domain::event::Appended;
use crate::domain::projection::Documents;
use crate::domain::{Error, Result, Run, RunId};
use crate::store::layout::Row;
use crate::store::plan::{self, Head, Known, Plan, PlannedRun};
use crate::store::queue::Waiting;
use crate::store::run_row::changes_more;
use crate::store::{Append, Commit, CommitListener};

use super::error::from_sqlx;
use super::growth::Growth;
use super::heads::Heads;
use super::ids::{self, Ids, Place};
use super::memory::Memory;
use super::tail::{End, Tail};
use super::upkeep::Upkeep;
use super::wal::Checkpoints;
use super::{SqliteOptions, known, open, runs};

/// Bytes that a commit writes besides its events, and a slice of upkeep: about, for the write-ahead log's bound.
const COMMIT_BYTES: usize = 8 << 10;
const SLICE_BYTES: usize = 512 << 10;

/// What a commit writes, and what is told of it afterwards.
struct Writes {
    rows: Vec<Row>,
    /// The runs after the commit.
    runs: Vec<PlannedRun>,
    /// How far each of them goes then.
    ends: Vec<(i64, End)>,
    commit: Commit,
}

/// The writer's state. What it holds in memory is what the file says, or `stale`.
pub struct Committer {
    pub options: SqliteOptions,
    pub connect: SqliteConnectOptions,
    pub writer: SqliteConnection,
    /// For upkeep, see [`open::keeper_options`].
    pub keeper: SqliteConnection,
    pub checkpoints: Checkpoints,
    pub growth: Growth,
    pub listener: Arc<dyn CommitListener>,
    pub tail: Arc<Tail>,
    pub heads: Heads,
    pub ids: Arc<Ids>,
    pub upkeep: Upkeep,
    /// After a failed commit the file is asked anew before anything else is written.
    pub stale: bool,
    /// Held until the last commit is done, also when the store was dropped before: one process owns the file.
    pub _lock: File,
}

impl Committer {
    /// Runs until the queue is closed and all that was accepted before is answered.
    pub async fn run(mut self, mut queue: Waiting) {
        while let Some(group) = queue.next().await {
            let ids = group.appends.iter().flat_map(|append| &append.events);
            let ids = ids.filter(|event| event.event_id.is_some()).count();
            let entries_before = self.upkeep.unsealed.entries;
            let outcomes = self.commit(group.appends).await;
            group.replies.answer(outcomes);
            let entries = self.upkeep.unsealed.entries.saturating_sub(entries_before);
            if let Err(error) = self.keep_up((entries, ids), &queue).await {
                self.stale = true;
                tracing::warn!(%error, "sealing the end of the log failed; it is tried again after the next commit");
            }
            self.growth.keep_ahead().await;
            if let Err(error) = self.checkpoints.bound(&mut self.keeper).await {
                tracing::warn!(%error, "moving the write-ahead log failed; it is tried again after the next commit");
            }
        }
        self.checkpoints.stop().await;
        // The last one to close moves the write-ahead log into the database.
        let closed = self.keeper.close().await;
        if let Err(error) = closed.and(self.writer.close().await) {
            tracing::warn!(%error, "closing the database failed; it is recovered at the next start");
        }
    }

    /// After a commit of so many entries and ids: the slices that are its share, all of those that are overdue, and more while nobody
    /// waits.
    async fn keep_up(&mut self, (entries, ids): (usize, usize), queue: &Waiting) -> Result<()> {
        let mut share = self.upkeep.share(entries, ids);
        while !self.stale && self.upkeep.is_due(&self.tail, &self.ids) {
            if share == 0 && !self.upkeep.is_overdue(&self.ids) && !queue.is_idle() {
                break;
            }
            share = share.saturating_sub(1);
            self.upkeep.step(&mut self.keeper, &self.tail, &self.ids).await?;
            self.checkpoints.written(SLICE_BYTES);
        }
        Ok(())
    }

    /// One result for each append.
    async fn commit(&mut self, appends: Vec<Append>) -> Vec<Result<Appended>> {
        if let Err(error) = self.refresh().await {
            return vec![Err(error); appends.len()];
        }
        match self.known(&appends).await {
            Ok(known) => self.store(appends, known).await,
            // What is damaged belongs to one of them; the others must not suffer for it. Of an import nothing may be stored
            // that comes after it.
            Err(Error::StoreDamaged) if appends.len() > 1 && appends.iter().all(|append| append.import().is_none()) => {
                let mut results = Vec::with_capacity(appends.len());
                for append in appends {
                    let alone = vec![append];
                    // One of them may have failed and left things to be read anew.
                    let known = match self.refresh().await {
                        Ok(()) => self.known(&alone).await,
                        Err(error) => Err(error),
                    };
                    results.extend(match known {
                        Ok(known) => self.store(alone, known).await,
                        Err(error) => vec![Err(error)],
                    });
                }
                results
            }
            Err(error) => vec![Err(error); appends.len()],
        }
    }

    /// Reads what the plan of these appends needs: their runs, and the stored events that have one of their ids.
    async fn known(&mut self, appends: &[Append]) -> Result<Known> {
        self.heads.load(&mut self.writer, &self.tail, appends.iter().map(|append| &append.run_id)).await?;
        known::load(&mut self.writer, (&self.heads, &self.ids, &self.tail), appends).await
    }

    async fn store(&mut self, appends: Vec<Append>, known: Known) -> Vec<Result<Appended>> {
        let count = appends.len();
        let now = plan::now();
        let mut last_number = self.heads.last_number();
        let head = |run_id: &RunId| {
            self.heads.get(run_id).cloned().unwrap_or_else(|| {
                last_number += 1;
                Head { number: last_number, run: Run::new(run_id.clone(), now) }
            })
        };
        let mut plan = Plan::new(head, &known, self.options.lifecycle, now);
        let results = appends.into_iter().map(|append| plan.add(append)).collect();
        let runs = plan.finish();
        if runs.is_empty() {
            return results;
        }
        let laid = plan::lay_out(&runs, self.tail.last_position());
        let commit = plan::announcement(&laid, &runs);
        let ends = runs.iter().map(|planned| self.end_of(planned)).collect();
        self.upkeep.unsealed.entries += laid.entries.len();
        // Before the commit: who sees its rows finds its events. Who finds these sooner is stopped by what is committed.
        self.tail.push(laid.entries);
        self.ids.extend(producer_ids(&runs));
        let writes = Writes { rows: laid.rows, runs, ends, commit };
        let began = Instant::now();
        if let Err(error) = self.write(&writes).await {
            self.stale = true;
            return vec![Err(error); count];
        }
        measure(began, &writes);
        self.publish(writes);
        results
    }

    /// How far a run goes after the commit, and whether its row has to be written for that.
    fn end_of(&self, planned: &PlannedRun) -> (i64, End) {
        let run = &planned.head.run;
        let before = self.heads.get(&run.run_id).map(|head| &head.run);
        let row_changes = !planned.documents.is_empty() || before.is_none_or(|before| changes_more(before, run));
        let row_seq = if row_changes { run.last_seq } else { 0 };
        (planned.head.number, End { last_seq: run.last_seq, updated_at: run.updated_at, row_seq })
    }

    /// The transaction: all of it in one round to the connection's thread.
    async fn write(&mut self, writes: &Writes) -> Result<()> {
        let (has_runs, has_documents) =
            (changed_rows(writes).next().is_some(), writes.runs.iter().any(|planned| !planned.documents.is_empty()));
        let sql = commit_sql(writes.rows.len(), has_runs, has_documents);
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for row in &writes.rows {
            query = query
                .bind(row.pos.cast_signed())
                .bind(i64::from(row.count))
                .bind(row.sensitive)
                .bind(row.data.to_vec());
        }
        if has_runs {
            query = query.bind(runs::rows_json(changed_rows(writes)));
        }
        if has_documents {
            query = query.bind(runs::documents_json(writes.runs.iter().map(document_of)));
        }
        query.execute(&mut self.writer).await.map_err(from_sqlx)?;
        Ok(())
    }

    /// After the commit: memory, then the world.
    fn publish(&mut self, writes: Writes) {
        let bytes: usize = writes.rows.iter().map(|row| row.data.len()).sum();
        self.upkeep.unsealed.bytes += bytes;
        self.checkpoints.written(bytes + COMMIT_BYTES);
        self.growth.written(bytes + COMMIT_BYTES);
        self.tail.committed(writes.ends, writes.commit.feed_tip.last);
        self.heads.commit(writes.runs.into_iter().map(|planned| planned.head));
        self.listener.committed(writes.commit);
    }

    /// After a failure: ends what is left of the transaction and reads from the file what is true now.
    async fn refresh(&mut self) -> Result<()> {
        if !self.stale {
            return Ok(());
        }
        // There may be no transaction any more; SQLite ends some itself.
        let _ = sqlx::query("ROLLBACK").execute(&mut self.writer).await;
        if self.writer.ping().await.is_err() {
            self.writer = SqliteConnection::connect_with(&self.connect).await.map_err(from_sqlx)?;
        }
        if self.keeper.ping().await.is_err() {
            let keeper = open::keeper_options(&self.connect);
            self.keeper = SqliteConnection::connect_with(&keeper).await.map_err(from_sqlx)?;
        }
        let memory = Memory::read(&mut self.writer).await?;
        (self.heads, self.upkeep) = memory.settle(&self.tail, &self.ids, &self.options);
        self.stale = false;
        Ok(())
    }
}

/// The runs whose rows have to be written.
fn changed_rows(writes: &Writes) -> impl Iterator<Item = &Head> {
    let changed = writes.runs.iter().zip(&writes.ends).filter(|(_, (_, end))| end.row_seq > 0);
    changed.map(|(planned, _)| &planned.head)
}

fn measure(began: Instant, writes: &Writes) {
    let events: u32 = writes.rows.iter().map(|row| row.count).sum();
    metrics::counter!("runlog_published_events_total").increment(u64::from(events));
    metrics::histogram!("runlog_commit_events").record(f64::from(events));
    metrics::histogram!("runlog_commit_seconds").record(began.elapsed().as_secs_f64());
}

/// Producers' ids of the new events.
fn producer_ids(runs: &[PlannedRun]) -> impl Iterator<Item = Place> {
    runs.iter().flat_map(|run| {
        let place = |(event_id, index): (&_, &usize)| Place {
            hash: ids::hash(event_id),
            run: run.head.number,
            seq: run.events[*index].event.seq,
        };
        run.producer_ids.iter().map(place)
    })
}

fn document_of(planned: &PlannedRun) -> (i64, &Documents) {
    (planned.head.number, &planned.documents)
}

/// Rows of one INSERT: four variables each, of the 32,766 that SQLite takes in one statement.
const MAX_INSERT_ROWS: usize = 4_000;

/// The statements of a commit with this many log rows. One statement takes all rows, unless they are very many: the
/// connection keeps the last 100 texts prepared, and five statements for each are little.
///
/// Most commits change no run's row. They are one statement, which is a transaction by itself: every further one wakes the
/// committer for nothing.
fn commit_sql(rows: usize, has_runs: bool, has_documents: bool) -> String {
    const ROW: &str = "(?, ?, ?, ?)";
    let mut sql = String::new();
    let mut left = rows;
    while left > 0 {
        let count = left.min(MAX_INSERT_ROWS);
        sql.push_str("INSERT INTO log (pos, count, sensitive, data) VALUES ");
        sql.push_str(&vec![ROW; count].join(", "));
        sql.push_str(";\n");
        left -= count;
    }
    if rows <= MAX_INSERT_ROWS && !has_runs && !has_documents {
        return sql;
    }
    if has_runs {
        sql.push_str(runs::UPSERT_RUNS);
    }
    if has_documents {
        sql.push_str(runs::UPSERT_DOCUMENTS);
    }
    format!("BEGIN IMMEDIATE;\n{sql}COMMIT;")
}
