//! Existing events: stored events with the ids of a group of appends. The plan compares duplicates with these.

use foldhash::HashMap;
use sqlx::SqliteConnection;

use crate::codec::record;
use crate::domain::{Error, Event, EventId, Result};
use crate::store::commit::plan::{ExistingEvent, ExistingEvents, RunState, longest_to_compare};
use crate::store::commit::queue::QueuedAppend;
use crate::store::commit::row_builder::RunSpan;
use crate::store::ids as store_ids;

use super::run_state::RunStateCache;
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::index::id_index;
use crate::store::sqlite::index::id_index::Ids;
use crate::store::sqlite::index::unindexed_tail::UnindexedTail;
use crate::store::sqlite::log_row;
use crate::store::sqlite::log_row::Loaded;
use crate::store::sqlite::read::index_row::IndexRow;
use crate::store::sqlite::read::view_flag::ViewFlag;
use crate::store::sqlite::rewrites::{ReadError, Rewrites, Seen};

/// Bytes of records in memory at once while existing events are read.
const LOOKUP_BYTES: usize = 4 << 20;

/// Wanted run and seq, and the row of `run_index` that covers the seq, if any. Events before `first_seq` are gone.
#[derive(sqlx::FromRow)]
struct PlacedRow {
    wanted_run: i64,
    wanted_seq: i64,
    first_seq: i64,
    seq: Option<i64>,
    count: Option<i64>,
    pos: Option<i64>,
    start: Option<i64>,
    length: Option<i64>,
    sensitive: Option<ViewFlag>,
}

impl PlacedRow {
    fn located(&self) -> Option<Located> {
        let (seq, count, pos, start) = (self.seq?, self.count?, self.pos?, self.start?);
        let (length, sensitive) = (self.length?, self.sensitive?);
        let span = IndexRow { seq, count, pos, start, length, sensitive }.into_entry()?;
        let (run, seq) = (self.wanted_run, self.wanted_seq.unsigned_abs());
        (seq <= span.last()).then_some(Located { run, seq, span })
    }
}

/// An existing event, and the span that holds it.
struct Located {
    run: i64,
    seq: u64,
    span: RunSpan,
}

/// Whether certainly no stored event of this run has the id. Decided in memory, so `false` may be wrong.
pub fn is_new(ids: &Ids, head: &RunState, event_id: &EventId) -> bool {
    let hash = id_index::hash(event_id);
    store_ids::assigned_seq(head.number, event_id).is_none()
        && ids.recent(Some(head.number), hash).is_empty()
        && !ids.may_be_flushed(head.number, hash)
}

/// Reads the existing events of a group, with the writer's connection: a commit does not wait for the readers' pool.
pub async fn load(
    writer: &mut SqliteConnection,
    run_states: &RunStateCache,
    ids: &Ids,
    tail: &UnindexedTail,
    rewrites: &Rewrites,
    appends: &[QueuedAppend],
) -> Result<ExistingEvents> {
    let mut candidates: Vec<(i64, u64)> = Vec::new();
    let mut wanted = Vec::new();
    // Length of the longest stored payload that can equal a sent payload, by run and event id.
    let mut sent: HashMap<(i64, &EventId), usize> = HashMap::default();
    for QueuedAppend { run, append } in appends {
        let Some(head) = run_states.get(run) else { continue };
        let (run, last_seq) = (head.number, head.run.last_seq);
        for new in &append.events {
            let Some(event_id) = &new.event_id else { continue };
            let hash = id_index::hash(event_id);
            candidates
                .extend(store_ids::assigned_seq(run, event_id).filter(|seq| *seq <= last_seq).map(|seq| (run, seq)));
            candidates.extend(ids.recent(Some(run), hash).into_iter().map(|place| (place.run, place.seq)));
            wanted.push((Some(run), hash));
            let longest = sent.entry((run, event_id)).or_default();
            *longest = longest_to_compare(new.payload.as_str().len()).max(*longest);
        }
    }
    let flushed = ids.flushed(writer, wanted.into_iter()).await?;
    candidates.extend(flushed.into_iter().map(|place| (place.run, place.seq)));
    candidates.sort_unstable();
    candidates.dedup();
    loop {
        let seen = rewrites.seen().await;
        let mut known = ExistingEvents::default();
        let read = events_at(writer, tail, seen, &candidates, |run, event| {
            // A different id may have the same hash.
            if let Some(longest) = sent.get(&(run, &event.event_id)) {
                let may_match = event.payload.as_str().len() <= *longest;
                let content = may_match.then(|| event.content().digest());
                let (seq, is_as_sent) = (event.seq, event.is_as_sent());
                known.insert((run, event.event_id), ExistingEvent { seq, content, is_as_sent });
            }
        });
        match read.await {
            Err(ReadError::Stale) => {}
            Err(ReadError::Failed(error)) => return Err(error),
            Ok(()) => return Ok(known),
        }
    }
}

/// Reads the events at these places: (run, seq) in ascending order, each of an event that exists or existed.
async fn events_at(
    writer: &mut SqliteConnection,
    tail: &UnindexedTail,
    seen: Seen<'_>,
    places: &[(i64, u64)],
    mut each: impl FnMut(i64, Event),
) -> Result<(), ReadError> {
    let mut found: Vec<Located> = Vec::with_capacity(places.len());
    let mut flushed = Vec::new();
    for (run, seq) in places {
        match tail.find(*run, *seq) {
            Some(span) => found.push(Located { run: *run, seq: *seq, span }),
            None => flushed.push((*run, *seq)),
        }
    }
    if !flushed.is_empty() {
        let rows: Vec<PlacedRow> = sqlx::query_as(
            "SELECT j.value ->> 0 AS wanted_run, j.value ->> 1 AS wanted_seq, r.first_seq, \
             i.seq, i.count, i.pos, i.start, i.length, i.sensitive \
             FROM json_each(?) j CROSS JOIN runs r ON r.run = j.value ->> 0 \
             LEFT JOIN run_index i ON i.run = j.value ->> 0 AND i.seq = \
             (SELECT max(seq) FROM run_index WHERE run = j.value ->> 0 AND seq <= j.value ->> 1)",
        )
        .bind(serde_json::to_string(&flushed).unwrap_or_default())
        .fetch_all(&mut *writer)
        .await
        .map_err(from_sqlx)?;
        // An id may outlive its event.
        let kept = rows.iter().filter(|row| row.wanted_seq >= row.first_seq);
        let located: Vec<Option<Located>> = kept.map(PlacedRow::located).collect();
        if located.iter().any(Option::is_none) || rows.len() != flushed.len() {
            seen.check()?;
            tracing::error!("an event that an id points to is not in the index");
            return Err(Error::StoreDamaged.into());
        }
        found.extend(located.into_iter().flatten());
    }
    let mut rest = found.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |located: &&Located| {
            bytes += located.span.length as usize;
            bytes <= LOOKUP_BYTES
        };
        let (part, after) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = after;
        let entries: Vec<RunSpan> = part.iter().map(|located| located.span.clone()).collect();
        let Loaded { chunks, damaged } = log_row::load(writer, seen, None, &entries).await?;
        if let Some(damaged) = damaged {
            return Err(damaged.into());
        }
        for (Located { run, seq, .. }, chunk) in part.iter().zip(chunks) {
            let only = chunk.between(*seq, *seq)?.ok_or(Error::StoreDamaged)?;
            let (_, record) = only.records().next().ok_or(Error::StoreDamaged)??;
            each(*run, record::decode(record)?);
        }
    }
    Ok(())
}
