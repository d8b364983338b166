//! Finds one event by its id.

use sqlx::SqlitePool;

use crate::codec::record;
use crate::domain::{Error, Event, EventId, Result, RunId};
use crate::store::{ProjectNumber, RunKey, ids as store_ids};

use super::run_scope;
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::index::id_index;
use crate::store::sqlite::index::id_index::Ids;
use crate::store::sqlite::index::unindexed_tail::UnindexedTail;
use crate::store::sqlite::read;
use crate::store::sqlite::rewrites::Rewrites;

/// Most candidates read for one id. If more runs than this have the id, the result is one of the first.
const MAX_CANDIDATES: usize = 100;

/// Finds the event in one run, or in any run of the project.
pub async fn event(
    readers: &SqlitePool,
    tail: &UnindexedTail,
    ids: &Ids,
    rewrites: &Rewrites,
    project: ProjectNumber,
    run_id: Option<&RunId>,
    event_id: &EventId,
) -> Result<Event> {
    let mut reader = readers.acquire().await.map_err(from_sqlx)?;
    let run = match run_id {
        Some(run_id) => Some(run_scope::of(&mut reader, tail, &RunKey::new(project, run_id.clone())).await?.run),
        None => None,
    };
    let hash = id_index::hash(event_id);
    // Memtable first, then segments: an id flushed in between is in one of both.
    let mut places = ids.recent(run, hash);
    places.extend(ids.flushed(&mut reader, std::iter::once((run, hash))).await?);
    let is_ours = |run: i64| ProjectNumber::of_run(run) == project;
    let candidates = places.into_iter().map(|place| (place.run, place.seq));
    let candidates: Vec<(i64, u64)> = store_ids::assigned_place(event_id)
        .into_iter()
        .chain(candidates)
        .filter(|(run, _)| is_ours(*run))
        .take(MAX_CANDIDATES)
        .collect();
    for (of_run, seq) in candidates {
        if run.is_some_and(|run| run != of_run) {
            continue;
        }
        if let Some(record) = read::record_at(&mut reader, tail, rewrites, of_run, seq).await?
            && record::header(&record)?.event_id == event_id.as_str()
        {
            return record::decode(record);
        }
    }
    Err(Error::EventNotFound { event_id: event_id.to_string() })
}
