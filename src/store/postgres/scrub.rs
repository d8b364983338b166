//! Comparison of the log with its checksums, see [`Scrubbed`].

use crate::store::project::shown_run_id;
use crate::store::scrub::Scrubbed;
use crate::store::{Range, ReadFrom};

use super::connect::executor::PgExecutor;
use super::error::Fault;
use super::event_row::EventRow;
use super::read;

/// Maximum rows and bytes of one part.
const PART: Range = Range { from: ReadFrom::After(0), max_events: 1_024, max_bytes: 1 << 20 };

/// Compares the next rows of all projects after this stored position.
pub async fn part(connection: &mut PgExecutor<'_>, after: u64) -> Result<Scrubbed, Fault> {
    let mut rows: Vec<EventRow> = read::log_rows(connection, Range { from: ReadFrom::After(after), ..PART }).await?;
    // The position of a damaged row may itself be damaged, so a part ends with a sound row if there is one.
    let is_sound = |row: &EventRow| row.is_checked() != Some(false);
    if let Some(last) = rows.iter().rposition(is_sound) {
        rows.truncate(last + 1);
    }
    let mut part = Scrubbed { rows: rows.len() as u64, ..Scrubbed::default() };
    part.next = rows.last().map(|row| row.pos.unsigned_abs().max(after + part.rows));
    for row in rows {
        part.bytes += row.bytes();
        match row.is_checked() {
            Some(true) => {}
            Some(false) => {
                let run_id = shown_run_id(&row.run_id);
                part.damaged.push(format!("row {} (run {run_id:?}, seq {})", row.pos, row.seq));
            }
            None => part.unchecked += 1,
        }
    }
    Ok(part)
}
