//! Parts of a feed, read for their announcement.

use crate::domain::Error;
use crate::store::postgres::connect::readers::Readers;
use crate::store::postgres::error::Fault;
use crate::store::postgres::read;
use crate::store::project::position_of;
use crate::store::{Commit, ProjectNumber, Range, ReadFrom, RunKey};

/// Limits of one read while catching up.
const CATCH_UP: Range = Range { from: ReadFrom::After(0), max_events: 4_096, max_bytes: 4 << 20 };

/// Maximum number of positions scanned by one statement if only some runs have subscribers. Without the limit, a
/// statement of a replica far behind would exceed the statement timeout, and the replica would never catch up.
const LOOKED_AT: u64 = 65_536;

/// Reads the part of a feed after a position, limited by [`CATCH_UP`].
pub async fn whole(readers: &Readers, project: ProjectNumber, after: u64, to: u64) -> Result<Commit, Fault> {
    let range = Range { from: ReadFrom::After(after), ..CATCH_UP };
    let commit = match read::commit(project, readers.feed_rows(project, range, to).await?) {
        // A subscriber of the damaged event meets the damage when reading the store; all other subscribers
        // continue.
        Err(Error::EventDamaged { .. }) => return Ok(Commit::nothing(project, after + 1)),
        commit => commit?,
    };
    if commit.feed.first().is_some_and(|chunk| chunk.first == after + 1) {
        return Ok(commit);
    }
    let first = readers.feed_first(project).await?;
    if first > after + 1 {
        // Retention was faster than this replica. Subscribers learn so when they read the store.
        return Ok(Commit::nothing(project, to.min(first - 1)));
    }
    tracing::error!(%project, after, "the feed has a gap");
    Err(Fault::Rejected(Error::StoreDamaged))
}

/// Reads the events of these runs in the part of a feed after a position, limited by [`CATCH_UP`] and [`LOOKED_AT`].
pub async fn of_runs(
    readers: &Readers,
    project: ProjectNumber,
    after: u64,
    to: u64,
    runs: &[RunKey],
) -> Result<Commit, Fault> {
    let range = Range { from: ReadFrom::After(after), ..CATCH_UP };
    let to = end_of_look(after, to);
    let rows = readers.feed_rows_of(project, range, to, runs).await?;
    let positions: Vec<u64> = rows.iter().map(|row| position_of(row.pos.unsigned_abs())).collect();
    let Commit { runs, feed, .. } = match read::commit(project, rows) {
        Err(Error::EventDamaged { .. }) => return Ok(Commit::nothing(project, positions[0])),
        commit => commit?,
    };
    let bytes: usize = feed.iter().map(|chunk| chunk.data.len()).sum();
    let count: usize = feed.iter().map(|chunk| chunk.count as usize).sum();
    let is_all = count == positions.len() && count < range.max_events && bytes <= range.max_bytes;
    let end = if is_all { to } else { positions[..count].last().copied().unwrap_or(to) };
    Ok(Commit { runs, ..Commit::nothing(project, end) })
}

/// Last position scanned by a statement that begins after `from`, at most `to`.
fn end_of_look(from: u64, to: u64) -> u64 {
    to.min(from.saturating_add(LOOKED_AT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_lags_looks_at_a_bounded_part_of_the_feed_in_one_statement_and_gets_to_its_end() {
        let (mut from, to, mut looks) = (10, 1_000_000, 0);
        while from < to {
            let end = end_of_look(from, to);
            assert!(end > from && end - from <= LOOKED_AT && end <= to);
            (from, looks) = (end, looks + 1);
        }
        assert_eq!(looks, 16);
        assert_eq!(end_of_look(7, 7), 7);
    }
}
