//! Cache of the runs with recent appends, so that a publish to an active run reads nothing from the disk.

use foldhash::HashSet;
use foldhash::fast::RandomState;
use lru::LruCache;
use sqlx::SqliteConnection;

use crate::domain::{Error, Result};
use crate::store::commit::plan::RunState;
use crate::store::run_row::RunRow;
use crate::store::{ProjectNumber, RunKey};

use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::index::unindexed_tail::UnindexedTail;
use crate::store::sqlite::read::{absence, runs};

/// Maximum number of cached runs; above, the runs that were written or loaded least recently are evicted.
const MAX_RUNS: usize = 32_768;

/// Number of the newest run of each project that has a run.
pub type LastRuns = std::collections::BTreeMap<ProjectNumber, i64>;

/// Run states by run id, and the number of the newest run of each project.
#[derive(Debug)]
pub struct RunStateCache {
    /// Without a capacity of its own: [`load`](Self::load) evicts.
    by_id: LruCache<RunKey, RunState, RandomState>,
    last_runs: LastRuns,
}

impl RunStateCache {
    /// An empty cache.
    pub fn new(last_runs: LastRuns) -> Self {
        Self { by_id: LruCache::unbounded_with_hasher(RandomState::default()), last_runs }
    }

    /// Reads the runs that are not cached. Missing runs stay absent.
    pub async fn load<'a>(
        &mut self,
        writer: &mut SqliteConnection,
        tail: &UnindexedTail,
        runs: impl Iterator<Item = &'a RunKey>,
    ) -> Result<()> {
        // Evicts here and not after a commit: appends without new events load run states too, and states loaded below
        // are needed.
        while self.by_id.len() > MAX_RUNS {
            self.by_id.pop_lru();
        }
        let missing: HashSet<_> = runs.filter(|run| !self.by_id.contains(*run)).map(RunKey::stored).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let ids = serde_json::to_string(&missing).unwrap_or_default();
        let rows = sqlx::query_as::<_, RunRow>(
            "SELECT run, run_id, status, last_seq, agent_name, structure_id, created_at, updated_at, started_at, \
             completed_at, usage, ended_by, output_at, checksum, end_checksum, \
             NULL AS output, NULL AS error, NULL AS status_detail, \
             NULL AS pending_inputs, (SELECT json_group_array(kind) FROM run_documents d WHERE d.run = r.run \
              AND kind >= 'pending_input:' AND kind < 'pending_input;') AS question_kinds \
             FROM runs r WHERE run_id IN (SELECT value FROM json_each(?))",
        )
        .bind(&ids)
        .fetch_all(&mut *writer)
        .await
        .map_err(from_sqlx)?;
        if rows.len() < missing.len() {
            absence::check(&mut *writer, &ids).await?;
        }
        for row in rows {
            let number = row.run;
            // Only this writer changes rows, so row and tail always agree.
            let Some(run) = runs::current(row, tail)? else {
                return Err(Error::internal("the row of a run and the unindexed tail do not agree"));
            };
            let state = RunState { number, run };
            self.by_id.put(state.key(), state);
        }
        Ok(())
    }

    /// State of a run, if it is cached.
    pub fn get(&self, run: &RunKey) -> Option<&RunState> {
        self.by_id.peek(run)
    }

    /// Number of the newest run of a project, or the number before its first run.
    pub fn last_number(&self, project: ProjectNumber) -> i64 {
        self.last_runs.get(&project).copied().unwrap_or(project.before_runs())
    }

    /// Stores the run states after a planned commit.
    pub fn plan(&mut self, run_states: impl IntoIterator<Item = RunState>) {
        for head in run_states {
            let last = self.last_runs.entry(head.project()).or_default();
            *last = head.number.max(*last);
            self.by_id.put(head.key(), head);
        }
    }
}
