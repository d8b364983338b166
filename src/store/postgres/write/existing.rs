//! Existing events: stored events with the ids of a group of appends, for the detection of duplicates.

use std::collections::{HashMap, HashSet};

use futures_util::stream::BoxStream;
use tokio_stream::StreamExt;

use crate::domain::EventId;
use crate::store::commit::plan::{ExistingEvent, ExistingEvents, RunState, longest_to_compare};
use crate::store::commit::queue::QueuedAppend;
use crate::store::{RunKey, ids};

use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::error::Fault;
use crate::store::postgres::event_row::{EventRow, event_columns};

/// Lookup of producers' ids. A payload far longer than the one sent is not read: the events differ.
const BY_ID: &str = concat!(
    "SELECT ",
    event_columns!("CASE WHEN octet_length(e.payload::text) <= w.length THEN e.payload::text END"),
    " FROM unnest($1::bigint[], $2::text[], $3::integer[]) AS w (run, event_id, length) \
     JOIN events e ON e.event_id = w.event_id AND e.run = w.run AND e.given JOIN runs r ON r.run = e.run"
);

/// Lookup of assigned ids, which encode the seq of their event.
const BY_SEQ: &str = concat!(
    "SELECT ",
    event_columns!("CASE WHEN octet_length(e.payload::text) <= w.length THEN e.payload::text END"),
    " FROM unnest($1::bigint[], $2::bigint[], $3::integer[]) AS w (run, seq, length) \
     JOIN events e ON e.run = w.run AND e.seq = w.seq JOIN runs r ON r.run = e.run \
     LEFT JOIN run_retention k ON k.run = e.run WHERE NOT e.given AND e.seq >= coalesce(k.first_seq, 1)"
);

/// Reads the existing events, in the transaction that holds the locks of the runs.
pub async fn load(
    connection: &mut PgExecutor<'_>,
    run_states: &HashMap<RunKey, RunState>,
    appends: &[QueuedAppend],
) -> Result<ExistingEvents, Fault> {
    let (mut runs, mut event_ids, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    let (mut assigned_runs, mut assigned_seqs, mut assigned_lengths) = (Vec::new(), Vec::new(), Vec::new());
    let mut asked: HashSet<(i64, &str)> = HashSet::new();
    for QueuedAppend { run, append } in appends {
        let Some(head) = run_states.get(run).filter(|head| head.run.last_seq > 0) else { continue };
        for new in &append.events {
            let Some(event_id) = &new.event_id else { continue };
            let longest = longest_to_compare(new.payload.as_str().len());
            let length = i32::try_from(longest).unwrap_or(i32::MAX);
            asked.insert((head.number, event_id.as_str()));
            runs.push(head.number);
            event_ids.push(event_id.as_str());
            lengths.push(length);
            if let Some(seq) = ids::assigned_seq(head.number, event_id) {
                assigned_runs.push(head.number);
                assigned_seqs.push(seq.cast_signed());
                assigned_lengths.push(length);
            }
        }
    }
    let mut known = ExistingEvents::default();
    if !runs.is_empty() {
        let query = sqlx::query_as::<_, EventRow>(BY_ID).bind(runs).bind(event_ids).bind(lengths);
        add_rows(&mut known, &asked, query.fetch(&mut *connection)).await?;
    }
    if !assigned_runs.is_empty() {
        let query =
            sqlx::query_as::<_, EventRow>(BY_SEQ).bind(assigned_runs).bind(assigned_seqs).bind(assigned_lengths);
        add_rows(&mut known, &asked, query.fetch(connection)).await?;
    }
    Ok(known)
}

/// Adds rows one at a time, because all payloads together may be large.
async fn add_rows(
    known: &mut ExistingEvents,
    asked: &HashSet<(i64, &str)>,
    mut rows: BoxStream<'_, Result<EventRow, sqlx::Error>>,
) -> Result<(), Fault> {
    while let Some(row) = rows.next().await {
        let row = row?;
        // The event at this seq may have a different id.
        if !asked.contains(&(row.run, row.event_id.as_str())) {
            continue;
        }
        let (run, seq) = (row.run, row.seq.unsigned_abs());
        let event_id = EventId::parse(&row.event_id)?;
        let is_as_sent = row.is_as_sent();
        let content = row.into_event()?.map(|(event, _)| event.content().digest());
        let stored = known.entry((run, event_id)).or_insert(ExistingEvent { seq, content: None, is_as_sent });
        // The request may contain the same id with payloads of several lengths.
        stored.content = stored.content.or(content);
    }
    Ok(())
}
