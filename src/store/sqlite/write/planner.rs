//! Plans a group: turns appends into rows, based on the runs after the previous planned group. A plan writes nothing
//! and is invisible to readers, so a group can be planned while the previous group is being written, provided that
//! planning needs no read.

use std::sync::Arc;

use sqlx::SqliteConnection;

use crate::domain::event::Appended;
use crate::domain::projection::{Documents, Lifecycle};
use crate::domain::{Result, Run};
use crate::store::commit::plan;
use crate::store::commit::plan::{ExistingEvents, Plan, PlannedRun, RunState};
use crate::store::commit::queue::QueuedAppend;
use crate::store::commit::row_builder::{LogRowParts, RunSpan};
use crate::store::run_row::changes_more;
use crate::store::{Commit, ProjectNumber, RunKey};

use super::existing;
use super::run_state::{LastRuns, RunStateCache};
use crate::store::sqlite::index::id_index;
use crate::store::sqlite::index::id_index::{Ids, Place};
use crate::store::sqlite::index::unindexed_tail::{LastPositions, RunEnd, UnindexedTail};
use crate::store::sqlite::maintenance::CommitSize;
use crate::store::sqlite::read::runs;
use crate::store::sqlite::rewrites::Rewrites;

/// Run states as of the last planned group, ahead of the file by the groups in flight.
pub struct Planner {
    lifecycle: Lifecycle,
    run_states: RunStateCache,
    /// Stored positions of the last planned events.
    last_positions: LastPositions,
    tail: Arc<UnindexedTail>,
    ids: Arc<Ids>,
    rewrites: Arc<Rewrites>,
}

/// A planned group: outcomes for the producers, and the rows to write.
pub struct Planned {
    /// One outcome for each append, valid once `writes` is committed.
    pub outcomes: Vec<Result<Appended>>,
    /// Rows to write; `None` if no event is new.
    pub writes: Option<Writes>,
}

/// Rows of one commit, and the announcement for after the commit.
pub struct Writes {
    /// Rows of the log.
    pub rows: Vec<LogRowParts>,
    /// Spans of these rows, by run.
    pub entries: Vec<(i64, RunSpan)>,
    /// New entries of the id index: ids that producers gave.
    pub ids: Vec<Place>,
    /// End of each run after the commit.
    pub ends: Vec<(i64, RunEnd)>,
    /// Parameter of [`runs::UPSERT_RUNS`]; `None` if no row of a run changes.
    pub run_rows: Option<String>,
    /// Parameter of [`runs::UPSERT_DOCUMENTS`]; `None` if no document changes.
    pub documents: Option<String>,
    /// Announcements for the commit listener, one for each project, sent after COMMIT.
    pub commits: Vec<Commit>,
}

impl Writes {
    pub fn events(&self) -> u32 {
        self.rows.iter().map(|row| row.count).sum()
    }

    /// Entries and ids, as maintenance counts them.
    pub fn size(&self) -> CommitSize {
        CommitSize { entries: self.entries.len(), ids: self.ids.len() }
    }
}

impl Planner {
    /// A planner without groups in flight.
    pub fn new(
        lifecycle: Lifecycle,
        run_states: RunStateCache,
        tail: Arc<UnindexedTail>,
        ids: Arc<Ids>,
        rewrites: Arc<Rewrites>,
    ) -> Self {
        Self { lifecycle, run_states, last_positions: tail.last_positions(), tail, ids, rewrites }
    }

    /// Replaces the run states after a failure by those read from the file.
    pub fn replace(&mut self, run_states: RunStateCache) {
        self.run_states = run_states;
        self.last_positions = self.tail.last_positions();
    }

    /// Whether these appends can be planned without a read: all runs are cached, and no stored event can have one of
    /// the ids. False for imports, which wait for the outcome of earlier groups.
    pub fn knows(&self, appends: &[QueuedAppend]) -> bool {
        appends.iter().all(|QueuedAppend { run, append }| {
            if append.import().is_some() {
                return false;
            }
            let Some(head) = self.run_states.get(run) else { return false };
            let mut event_ids = append.events.iter().filter_map(|event| event.event_id.as_ref());
            event_ids.all(|event_id| existing::is_new(&self.ids, head, event_id))
        })
    }

    /// Reads the runs and existing events that a plan of these appends needs.
    pub async fn load(&mut self, writer: &mut SqliteConnection, appends: &[QueuedAppend]) -> Result<ExistingEvents> {
        self.run_states.load(writer, &self.tail, appends.iter().map(|append| &append.run)).await?;
        existing::load(writer, &self.run_states, &self.ids, &self.tail, &self.rewrites, appends).await
    }

    /// Plans the appends on top of all planned groups.
    pub fn plan(&mut self, appends: Vec<QueuedAppend>, known: &ExistingEvents) -> Planned {
        let now = plan::now();
        let mut new_runs = LastRuns::default();
        let head = |run: &RunKey| {
            self.run_states.get(run).cloned().unwrap_or_else(|| {
                let last = new_runs.entry(run.project).or_insert_with(|| self.run_states.last_number(run.project));
                *last += 1;
                RunState { number: *last, run: Run::new(run.run_id.clone(), now) }
            })
        };
        let mut plan = Plan::new(head, known, self.lifecycle, now);
        let outcomes = appends.into_iter().map(|append| plan.add(append)).collect();
        let runs = plan.finish();
        let writes = (!runs.is_empty()).then(|| self.encode(runs));
        Planned { outcomes, writes }
    }

    fn encode(&mut self, planned: Vec<PlannedRun>) -> Writes {
        let last_pos = |project: ProjectNumber| self.last_positions.get(&project).copied().unwrap_or(project.pos(0));
        let laid = plan::encode(&planned, last_pos);
        let commits = plan::announcements(&laid, &planned);
        self.last_positions.extend(last_positions(&commits));
        let ends: Vec<(i64, RunEnd)> = planned.iter().map(|planned| self.end_of(planned)).collect();
        let changed = planned.iter().zip(&ends).filter(|(_, (_, end))| end.row_seq > 0).map(|(run, _)| &run.head);
        let run_rows = changed.clone().next().is_some().then(|| runs::rows_json(changed));
        let has_documents = planned.iter().any(|planned| !planned.documents.is_empty());
        let documents = has_documents.then(|| runs::documents_json(planned.iter().map(document_of)));
        let ids = producer_ids(&planned).collect();
        self.run_states.plan(planned.into_iter().map(|planned| planned.head));
        Writes { rows: laid.rows, entries: laid.entries, ids, ends, run_rows, documents, commits }
    }

    /// End of a run after the commit; `row_seq` is 0 if the run's row need not be written.
    fn end_of(&self, planned: &PlannedRun) -> (i64, RunEnd) {
        let run = &planned.head.run;
        let before = self.run_states.get(&planned.head.key()).map(|head| &head.run);
        let row_changes = !planned.documents.is_empty() || before.is_none_or(|before| changes_more(before, run));
        let row_seq = if row_changes { run.last_seq } else { 0 };
        (
            planned.head.number,
            RunEnd { last_seq: run.last_seq, updated_at: run.updated_at, row_seq, status: run.status },
        )
    }
}

/// Stored positions of the last events of commits.
pub fn last_positions(commits: &[Commit]) -> impl Iterator<Item = (ProjectNumber, u64)> {
    commits.iter().map(|commit| (commit.project, commit.project.pos(commit.feed_end.last)))
}

/// Ids that producers gave to new events, with the place of each event.
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
