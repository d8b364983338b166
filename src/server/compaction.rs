//! Compaction of deltas while the server serves: some time after a step is done, its deltas become one event.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::codec::record;
use crate::domain::compaction::{Compaction, Progress, STEP_DONE, StepDeltas};
use crate::domain::{Error, Payload, Result, RunId, Scope};
use crate::store::{ProjectNumber, Range, ReadFrom, SharedStore};
use crate::telemetry;

use super::pace::pause_after;

/// Limits of one read.
const READ_EVENTS: usize = 500;
const READ_BYTES: usize = 256 << 10;

/// Most events before the end of a step that are examined for its deltas.
const MAX_STEP_EVENTS: usize = 50_000;

/// Most of these without a delta of the step: many steps have none.
const MAX_EVENTS_WITHOUT_DELTA: usize = 2_000;

/// Most bytes of a joined text; a longer one stays in its deltas.
const MAX_JOINED_BYTES: usize = 1 << 20;

/// Runs a pass at each interval, for steps that ended longer ago than `after`; `None` turns compaction off. Never ends.
pub async fn run(store: SharedStore, after: Option<Duration>, interval: Duration) {
    let Some(after) = after else { return std::future::pending().await };
    // Position up to which the feed of each project is examined.
    let mut examined: HashMap<ProjectNumber, u64> = HashMap::new();
    loop {
        for (id, number) in store.projects() {
            let project = store.in_project(number);
            match pass(&project, after, examined.entry(number).or_default()).await {
                Ok(()) => {}
                Err(Error::ShuttingDown) => return,
                Err(error) => tracing::warn!(%error, project = %id, "compaction could not go on; it tries again"),
            }
        }
        tokio::time::sleep(interval).await;
    }
}

/// Examines the feed up to the first event that is too young.
async fn pass(store: &SharedStore, after: Duration, examined: &mut u64) -> Result<()> {
    let age = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
    loop {
        let began = Instant::now();
        let range = Range { from: ReadFrom::After(*examined), max_events: READ_EVENTS, max_bytes: READ_BYTES };
        let page = match store.read(&Scope::Feed, range).await {
            Err(Error::EventsExpired { first }) => {
                *examined = first - 1;
                continue;
            }
            // Nothing is known of the event. The scrub and its readers name the damage.
            Err(Error::EventDamaged { .. }) => {
                *examined += 1;
                pause_after(began).await;
                continue;
            }
            page => page?,
        };
        if page.chunks.is_empty() {
            return Ok(());
        }
        for chunk in page.chunks {
            for entry in chunk.records() {
                let (position, record) = entry?;
                if Timestamp::now().duration_since(record::recorded_at(&record)?) < age {
                    return Ok(());
                }
                let header = record::header(&record)?;
                if header.event_type == STEP_DONE {
                    let run_id = RunId::parse(header.run_id)?;
                    compact(store, &run_id, header.seq, StepDeltas::before(&record::decode(record.clone())?)).await?;
                }
                *examined = position;
            }
        }
        pause_after(began).await;
    }
}

/// Compacts the deltas before the end of a step.
async fn compact(store: &SharedStore, run_id: &RunId, done: u64, deltas: Option<StepDeltas>) -> Result<()> {
    let Some(mut deltas) = deltas.filter(|deltas| deltas.text_bytes() <= MAX_JOINED_BYTES) else { return Ok(()) };
    let scope = Scope::Run(run_id.clone());
    let (mut before, mut looked_at) = (done, 0);
    while looked_at < if deltas.is_empty() { MAX_EVENTS_WITHOUT_DELTA } else { MAX_STEP_EVENTS } {
        let began = Instant::now();
        let range = Range { from: ReadFrom::Before(before), max_events: READ_EVENTS, max_bytes: READ_BYTES };
        let page = match store.read(&scope, range).await {
            Err(Error::EventsExpired { .. } | Error::EventDamaged { .. }) => return Ok(()),
            page => page?,
        };
        let Some(oldest) = page.chunks.last() else { return Ok(()) };
        before = oldest.first;
        for chunk in page.chunks {
            let records = chunk.records().collect::<Result<Vec<_>>>()?;
            looked_at += records.len();
            for (_, record) in records.into_iter().rev() {
                match deltas.take(&record::decode(record)?) {
                    Progress::Incomplete => {}
                    Progress::Differs => return Ok(()),
                    Progress::Complete => return replace(store, run_id, &deltas).await,
                }
            }
        }
        pause_after(began).await;
    }
    Ok(())
}

async fn replace(store: &SharedStore, run_id: &RunId, deltas: &StepDeltas) -> Result<()> {
    if store.run(run_id).await?.is_held {
        return Ok(());
    }
    for Compaction { removed, last, payload } in deltas.compactions() {
        let began = Instant::now();
        if !store.compact(run_id, &removed, last, Payload::from_stored(payload)).await? {
            return Ok(());
        }
        telemetry::COMPACTED_EVENTS.add(removed.len() as u64);
        pause_after(began).await;
    }
    Ok(())
}
