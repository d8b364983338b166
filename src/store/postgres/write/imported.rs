//! Imports of runs that have lost events: first seqs of new runs, and events without payload. No other commit has them, so the
//! function `append_events` does not know them.

use crate::store::commit::plan::PlannedRun;

use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::error::Fault;

/// Writes what `append_events` has left out, in the same transaction.
pub async fn write(
    connection: &mut PgExecutor<'_>,
    runs: &[PlannedRun],
    is_new: impl Fn(&PlannedRun) -> bool,
) -> Result<(), Fault> {
    const FIRST_SEQS: &str = "INSERT INTO run_retention (run, first_seq, held) \
        SELECT unnest($1::bigint[]), unnest($2::bigint[]), false";
    const REMOVALS: &str = "UPDATE events e SET removal = w.removal FROM (SELECT unnest($1::bigint[]) AS run, \
        unnest($2::bigint[]) AS seq, unnest($3::smallint[]) AS removal) w WHERE e.run = w.run AND e.seq = w.seq";
    let later = runs.iter().filter(|planned| planned.head.run.first_seq > 1 && is_new(planned));
    let first = |planned: &PlannedRun| (planned.head.number, planned.head.run.first_seq.cast_signed());
    let (numbers, first_seqs): (Vec<i64>, Vec<i64>) = later.map(first).unzip();
    if !numbers.is_empty() {
        sqlx::query(FIRST_SEQS).bind(numbers).bind(first_seqs).execute(&mut *connection).await?;
    }
    let (mut of_runs, mut seqs, mut removals) = (Vec::new(), Vec::new(), Vec::new());
    for (run, planned) in runs.iter().flat_map(|run| run.events.iter().map(move |planned| (run, planned))) {
        let Some(removal) = planned.event.removal else { continue };
        of_runs.push(run.head.number);
        seqs.push(planned.event.seq.cast_signed());
        removals.push(removal as i16);
    }
    if !seqs.is_empty() {
        sqlx::query(REMOVALS).bind(of_runs).bind(seqs).bind(removals).execute(connection).await?;
    }
    Ok(())
}
