//! Planning a group: what a commit will write, from the runs as they are after the group before it. Nothing is written and
//! nobody else sees it, so a group can be planned while the one before it is on its way to the disk, if nothing has to be read
//! for it.

use std::sync::Arc;

use sqlx::SqliteConnection;

use crate::domain::event::Appended;
use crate::domain::projection::{Documents, Lifecycle};
use crate::domain::{Result, Run, RunId};
use crate::store::commit::plan;
use crate::store::commit::plan::{ExistingEvents, Plan, PlannedRun, RunState};
use crate::store::commit::row_builder::{LogRowParts, RunSpan};
use crate::store::run_row::changes_more;
use crate::store::{Append, Commit};

use super::existing;
use super::run_state::RunStateCache;
use crate::store::sqlite::index::id_index;
use crate::store::sqlite::index::id_index::{Ids, Place};
use crate::store::sqlite::index::unindexed_tail::{RunEnd, UnindexedTail};
use crate::store::sqlite::read::runs;

/// What the writer knows of the runs. It runs ahead of the file by what is planned.
pub struct Planner {
    lifecycle: Lifecycle,
    run_states: RunStateCache,
    /// Of the last event that is planned.
    last_position: u64,
    tail: Arc<UnindexedTail>,
    ids: Arc<Ids>,
}

/// A group that is planned.
pub struct Planned {
    /// One for each append, if all is written.
    pub outcomes: Vec<Result<Appended>>,
    /// None where nothing is new.
    pub writes: Option<Writes>,
}

/// What a commit writes, and what is told of it afterwards.
pub struct Writes {
    /// Of the log.
    pub rows: Vec<LogRowParts>,
    /// Where each run's events lie in them.
    pub entries: Vec<(i64, RunSpan)>,
    /// Producers' ids of the new events.
    pub ids: Vec<Place>,
    /// How far each of the runs goes then.
    pub ends: Vec<(i64, RunEnd)>,
    /// The parameter of [`runs::UPSERT_RUNS`], if any row changes.
    pub run_rows: Option<String>,
    /// That of [`runs::UPSERT_DOCUMENTS`].
    pub documents: Option<String>,
    /// What is told.
    pub commit: Commit,
}

impl Writes {
    /// How many events.
    pub fn events(&self) -> u32 {
        self.rows.iter().map(|row| row.count).sum()
    }
}

impl Planner {
    /// For a file in which all is written that was planned.
    pub fn new(lifecycle: Lifecycle, run_states: RunStateCache, tail: Arc<UnindexedTail>, ids: Arc<Ids>) -> Self {
        Self { lifecycle, run_states, last_position: tail.last_position(), tail, ids }
    }

    /// Begins anew after a failure, with what was read from the file.
    pub fn replace(&mut self, run_states: RunStateCache) {
        self.run_states = run_states;
        self.last_position = self.tail.last_position();
    }

    /// Whether these can be planned without reading: their runs are known, and no stored event may have one of their ids. Not
    /// those of an import, which waits for the outcome of what lies before it.
    pub fn knows(&self, appends: &[Append]) -> bool {
        appends.iter().all(|append| {
            if append.import().is_some() {
                return false;
            }
            let Some(head) = self.run_states.get(&append.run_id) else { return false };
            let mut event_ids = append.events.iter().filter_map(|event| event.event_id.as_ref());
            event_ids.all(|event_id| existing::is_new(&self.ids, head, event_id))
        })
    }

    /// Reads what the plan of these needs: their runs, and the stored events that have one of their ids.
    pub async fn load(&mut self, writer: &mut SqliteConnection, appends: &[Append]) -> Result<ExistingEvents> {
        self.run_states.load(writer, &self.tail, appends.iter().map(|append| &append.run_id)).await?;
        existing::load(writer, (&self.run_states, &self.ids, &self.tail), appends).await
    }

    /// Plans them, after all that was planned before.
    pub fn plan(&mut self, appends: Vec<Append>, known: &ExistingEvents) -> Planned {
        let now = plan::now();
        let mut last_number = self.run_states.last_number();
        let head = |run_id: &RunId| {
            self.run_states.get(run_id).cloned().unwrap_or_else(|| {
                last_number += 1;
                RunState { number: last_number, run: Run::new(run_id.clone(), now) }
            })
        };
        let mut plan = Plan::new(head, known, self.lifecycle, now);
        let outcomes = appends.into_iter().map(|append| plan.add(append)).collect();
        let runs = plan.finish();
        let writes = (!runs.is_empty()).then(|| self.encode(runs));
        Planned { outcomes, writes }
    }

    fn encode(&mut self, planned: Vec<PlannedRun>) -> Writes {
        let laid = plan::encode(&planned, self.last_position);
        let commit = plan::announcement(&laid, &planned);
        self.last_position = commit.feed_end.last;
        let ends: Vec<(i64, RunEnd)> = planned.iter().map(|planned| self.end_of(planned)).collect();
        let changed = planned.iter().zip(&ends).filter(|(_, (_, end))| end.row_seq > 0).map(|(run, _)| &run.head);
        let run_rows = changed.clone().next().is_some().then(|| runs::rows_json(changed));
        let has_documents = planned.iter().any(|planned| !planned.documents.is_empty());
        let documents = has_documents.then(|| runs::documents_json(planned.iter().map(document_of)));
        let ids = producer_ids(&planned).collect();
        self.run_states.plan(planned.into_iter().map(|planned| planned.head));
        Writes { rows: laid.rows, entries: laid.entries, ids, ends, run_rows, documents, commit }
    }

    /// How far a run goes after the commit, and whether its row has to be written for that.
    fn end_of(&self, planned: &PlannedRun) -> (i64, RunEnd) {
        let run = &planned.head.run;
        let before = self.run_states.get(&run.run_id).map(|head| &head.run);
        let row_changes = !planned.documents.is_empty() || before.is_none_or(|before| changes_more(before, run));
        let row_seq = if row_changes { run.last_seq } else { 0 };
        (
            planned.head.number,
            RunEnd { last_seq: run.last_seq, updated_at: run.updated_at, row_seq, status: run.status },
        )
    }
}

/// Producers' ids of the new events.
fn producer_ids(planned: &[PlannedRun]) -> impl Iterator<Item = Place> {
    planned.iter().flat_map(|run| {
        let place = |(event_id, index): (&_, &usize)| Place {
            hash: id_index::hash(event_id),
            run: run.head.number,
            seq: run.events[*index].event.seq,
        };
        run.producer_ids.iter().map(place)
    })
}

fn document_of(planned: &PlannedRun) -> (i64, &Documents) {
    (planned.head.number, &planned.documents)
}
