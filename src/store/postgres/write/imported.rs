//! Imports of runs that have lost events: first seqs of new runs, and events without their payload. No other commit has them, so the
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
    const MARKS: &str = "UPDATE events e SET removal = w.removal, joined_from = w.joined_from FROM (SELECT \
        unnest($1::bigint[]) AS run, unnest($2::bigint[]) AS seq, unnest($3::smallint[]) AS removal, \
        unnest($4::bigint[]) AS joined_from) w WHERE e.run = w.run AND e.seq = w.seq";
    let later = runs.iter().filter(|planned| planned.head.run.first_seq > 1 && is_new(planned));
    let first = |planned: &PlannedRun| (planned.head.number, planned.head.run.first_seq.cast_signed());
    let (numbers, first_seqs): (Vec<i64>, Vec<i64>) = later.map(first).unzip();
    if !numbers.is_empty() {
        sqlx::query(FIRST_SEQS).bind(numbers).bind(first_seqs).execute(&mut *connection).await?;
    }
    let (mut of_runs, mut seqs, mut removals, mut joined_from) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (run, event) in runs.iter().flat_map(|run| run.events.iter().map(move |planned| (run, &planned.event))) {
        if event.is_as_sent() {
            continue;
        }
        of_runs.push(run.head.number);
        seqs.push(event.seq.cast_signed());
        removals.push(event.removal.map(|removal| removal as i16));
        joined_from.push(event.joined_from.map(u64::cast_signed));
    }
    if !seqs.is_empty() {
        let marks = sqlx::query(MARKS).bind(of_runs).bind(seqs).bind(removals).bind(joined_from);
        marks.execute(connection).await?;
    }
    Ok(())
}
