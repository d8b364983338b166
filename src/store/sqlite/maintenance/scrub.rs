//! Compares the log with its checksums, see [`Scrubbed`], and for `check --deep` all other rows with a checksum.

use sqlx::SqliteConnection;
use tokio_stream::StreamExt;

use crate::codec::record;
use crate::domain::Result;
use crate::store::run_row::RunRow;
use crate::store::scrub::Scrubbed;

use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::index::id_index;
use crate::store::sqlite::log_row::{LogRow, Verdict, log_columns};
use crate::store::sqlite::read::runs;

/// Rows of one read, so that no read transaction blocks checkpoints for long.
const ROWS: u32 = 64;

/// Most runs named in the report of one damaged row.
const NAMED_RUNS: usize = 3;

/// Compares the next rows after this position.
pub async fn part(reader: &mut SqliteConnection, after: u64) -> Result<Scrubbed> {
    const PART: &str = concat!("SELECT ", log_columns!(), " FROM log l WHERE pos > ? ORDER BY pos LIMIT ?");
    let query = sqlx::query_as::<_, LogRow>(PART).bind(after.cast_signed()).bind(ROWS);
    let rows: Vec<LogRow> = query.fetch_all(reader).await.map_err(from_sqlx)?;
    let mut part = Scrubbed { rows: rows.len() as u64, ..Scrubbed::default() };
    for row in rows {
        part.bytes += row.chunk.data.len() as u64;
        part.unchecked += u64::from(row.verdict == Verdict::Unchecked);
        if row.verdict == Verdict::Damaged {
            part.damaged.push(name(&row));
        }
        // Continues after the row's first event, since the count may be damaged.
        part.next = Some(row.chunk.first);
    }
    part.next = part.next.filter(|_| part.rows == u64::from(ROWS));
    Ok(part)
}

/// Names damaged rows of runs, documents and blocks of ids.
pub async fn others(reader: &mut SqliteConnection) -> Result<Vec<String>> {
    let mut damaged = Vec::new();
    {
        let mut rows = sqlx::query_as::<_, RunRow>(runs::SELECT).fetch(&mut *reader);
        while let Some(row) = rows.next().await {
            let row = row.map_err(from_sqlx)?;
            let run = row.run;
            if row.into_run().is_err() {
                damaged.push(format!("row of run {run} or a document of it"));
            }
        }
    }
    damaged.extend(id_index::damaged(reader).await?);
    Ok(damaged)
}

fn name(row: &LogRow) -> String {
    let mut runs: Vec<(String, u64)> = Vec::new();
    for found in row.chunk.records().map_while(Result::ok) {
        let Ok(header) = record::header(&found.1) else { break };
        if runs.iter().all(|(run_id, _)| run_id != header.run_id) {
            runs.push((header.run_id.to_owned(), header.seq));
        }
    }
    let others = if runs.len() > NAMED_RUNS { " and others" } else { "" };
    let runs: Vec<String> =
        runs.iter().take(NAMED_RUNS).map(|(run_id, seq)| format!("run {run_id:?} from seq {seq}")).collect();
    format!("row {} with {} events ({}{others})", row.chunk.first, row.chunk.count, runs.join(", "))
}
