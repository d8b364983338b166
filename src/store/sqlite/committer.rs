//! The one writer. It takes all that waits, commits it in one transaction, and only then tells of it and answers.
//! It is a task of its own: a client that goes away cannot stop a commit half-way.

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use jiff::{Timestamp, Unit};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::domain::event::Appended;
use crate::domain::projection::Documents;
use crate::domain::{Error, Result};
use crate::store::{Append, CommitListener};

use super::error::from_sqlx;
use super::heads::Heads;
use super::ids::RecentIds;
use super::known::{self, Known};
use super::plan::{Plan, PlannedRun, Writes};
use super::tail::{End, Tail};
use super::{SqliteOptions, open, runs, seal};

/// An append that waits for the committer.
pub struct Request {
    pub append: Append,
    pub bytes: usize,
    pub reply: oneshot::Sender<Result<Appended>>,
    pub _queue_bytes: OwnedSemaphorePermit,
}

/// The writer's state. What it holds in memory is what the file says, or `stale`.
pub struct Committer {
    pub options: SqliteOptions,
    pub connect: SqliteConnectOptions,
    pub writer: SqliteConnection,
    pub listener: Arc<dyn CommitListener>,
    pub tail: Arc<Tail>,
    pub heads: Heads,
    pub recent_ids: Arc<RecentIds>,
    /// How much of the log no index covers.
    pub unsealed: seal::Unsealed,
    /// After a failed commit the file is asked anew before anything else is written.
    pub stale: bool,
    /// Held until the last commit is done, also when the store was dropped before: one process owns the file.
    pub _lock: File,
}

impl Committer {
    /// Runs until `closing` and until all that was accepted before is answered.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Request>, closing: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                first = queue.recv() => first,
                () = closing.cancelled(), if !queue.is_closed() => {
                    queue.close();
                    continue;
                }
            };
            let Some(first) = first else { break };
            let group = self.group(first, &mut queue);
            self.serve(group).await;
        }
        if let Err(error) = self.writer.close().await {
            tracing::warn!(%error, "closing the database failed; it is recovered at the next start");
        }
    }

    /// All that waits, up to the bounds of a commit.
    fn group(&self, first: Request, queue: &mut mpsc::Receiver<Request>) -> Vec<Request> {
        let (mut events, mut bytes) = (first.append.events.len(), first.bytes);
        let mut group = vec![first];
        while events < self.options.max_commit_events && bytes < self.options.max_commit_bytes {
            let Ok(next) = queue.try_recv() else { break };
            events += next.append.events.len();
            bytes += next.bytes;
            group.push(next);
        }
        group
    }

    async fn serve(&mut self, group: Vec<Request>) {
        let mut replies = Vec::with_capacity(group.len());
        let mut appends = Vec::with_capacity(group.len());
        for request in group {
            replies.push((request.reply, request._queue_bytes));
            appends.push(request.append);
        }
        let results = self.commit(appends).await;
        for ((reply, _), result) in replies.into_iter().zip(results) {
            // The client may be gone; its events are stored all the same.
            let _ = reply.send(result);
        }
        if let Err(error) = self.seal_if_due().await {
            tracing::warn!(%error, "sealing the end of the log failed; it is tried again after the next commit");
        }
    }

    /// One result for each append.
    async fn commit(&mut self, appends: Vec<Append>) -> Vec<Result<Appended>> {
        if let Err(error) = self.refresh().await {
            return vec![Err(error); appends.len()];
        }
        match self.known(&appends).await {
            Ok(known) => self.store(appends, known).await,
            // What is damaged belongs to one of them; the others must not suffer for it.
            Err(Error::StoreDamaged) if appends.len() > 1 => {
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
        known::load(&mut self.writer, (&self.heads, &self.recent_ids, &self.tail), appends).await
    }

    async fn store(&mut self, appends: Vec<Append>, known: Known) -> Vec<Result<Appended>> {
        let count = appends.len();
        let now = Timestamp::now().round(Unit::Microsecond).unwrap_or_else(|_| Timestamp::now());
        let mut plan = Plan::new(&self.heads, &known, self.options.lifecycle, now);
        let results = appends.into_iter().map(|append| plan.add(append)).collect();
        let Some(mut writes) = plan.into_writes(self.tail.last_position()) else { return results };
        self.unsealed.entries += writes.entries.len();
        // Before the commit: who sees its rows finds its events. Who finds these sooner is stopped by what is committed.
        self.tail.push(std::mem::take(&mut writes.entries));
        self.recent_ids.extend(std::mem::take(&mut writes.ids));
        let began = Instant::now();
        if let Err(error) = self.write(&writes).await {
            self.stale = true;
            return vec![Err(error); count];
        }
        measure(began, &writes);
        self.publish(writes);
        results
    }

    /// The transaction: all of it in one round to the connection's thread.
    async fn write(&mut self, writes: &Writes) -> Result<()> {
        let sql = commit_sql(writes.rows.len());
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for row in &writes.rows {
            query = query
                .bind(row.pos.cast_signed())
                .bind(i64::from(row.count))
                .bind(row.sensitive)
                .bind(row.data.to_vec());
        }
        query = query
            .bind(runs::rows_json(writes.runs.iter().filter(|run| run.row_changes).map(|run| &run.head)))
            .bind(runs::documents_json(writes.runs.iter().map(document_of)));
        query.execute(&mut self.writer).await.map_err(from_sqlx)?;
        Ok(())
    }

    /// After the commit: memory, then the world.
    fn publish(&mut self, writes: Writes) {
        for row in &writes.rows {
            self.unsealed.bytes += row.data.len();
        }
        self.tail.committed(writes.runs.iter().map(end_of), writes.commit.feed_tip.last);
        self.heads.commit(writes.runs.into_iter().map(|planned| planned.head));
        self.listener.committed(writes.commit);
    }

    async fn seal_if_due(&mut self) -> Result<()> {
        if self.stale || !self.unsealed.is_due(self.options.max_unsealed_entries, self.recent_ids.len()) {
            return Ok(());
        }
        if let Err(error) = seal::seal(&mut self.writer, &self.tail, &self.recent_ids).await {
            self.stale = true;
            return Err(error);
        }
        self.tail.clear();
        self.recent_ids.clear();
        self.unsealed = seal::Unsealed::default();
        seal::bound_wal(&mut self.writer).await
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
        let memory = open::rebuild(&mut self.writer).await?;
        self.tail.replace(memory.entries, memory.ends, memory.last_position);
        self.recent_ids.replace(memory.recent_ids);
        self.heads = Heads::new(memory.last_run);
        self.unsealed = memory.unsealed;
        self.stale = false;
        Ok(())
    }
}

fn measure(began: Instant, writes: &Writes) {
    let events: u32 = writes.rows.iter().map(|row| row.count).sum();
    metrics::counter!("runlog_published_events_total").increment(u64::from(events));
    metrics::histogram!("runlog_commit_events").record(f64::from(events));
    metrics::histogram!("runlog_commit_seconds").record(began.elapsed().as_secs_f64());
}

fn end_of(planned: &PlannedRun) -> (i64, End) {
    let run = &planned.head.run;
    let row_seq = if planned.row_changes { run.last_seq } else { 0 };
    (planned.head.number, End { last_seq: run.last_seq, updated_at: run.updated_at, row_seq })
}

fn document_of(planned: &PlannedRun) -> (i64, &Documents) {
    (planned.head.number, &planned.documents)
}

/// The statements of a commit with this many log rows. One statement takes all rows: the connection keeps the last 100
/// texts prepared, and five statements for each are little.
fn commit_sql(rows: usize) -> String {
    let mut sql = String::from("BEGIN IMMEDIATE;\nINSERT INTO log (pos, count, sensitive, data) VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(?, ?, ?, ?)" } else { ", (?, ?, ?, ?)" });
    }
    sql.push_str(";\n");
    sql.push_str(runs::UPSERT_RUNS);
    sql.push_str(runs::UPSERT_DOCUMENTS);
    sql.push_str("COMMIT;");
    sql
}
