//! Cache of the runs with recent appends, so that a publish to an active run reads nothing from the disk.

use foldhash::fast::RandomState;
use lru::LruCache;
use sqlx::SqliteConnection;

use crate::domain::{Error, Result, RunId};
use crate::store::commit::plan::RunState;
use crate::store::run_row::RunRow;

use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::index::unindexed_tail::UnindexedTail;
use crate::store::sqlite::read::runs;

/// Maximum number of cached runs; above, the runs that were written or loaded least recently are evicted.
const MAX_RUNS: usize = 32_768;

/// Run states by run id, and the number of the newest run.
#[derive(Debug)]
pub struct RunStateCache {
    /// Without a capacity of its own: [`load`](Self::load) evicts.
    by_id: LruCache<RunId, RunState, RandomState>,
    last_number: i64,
}

impl RunStateCache {
    /// An empty cache; `last_number` is the number of the newest run.
    pub fn new(last_number: i64) -> Self {
        Self { by_id: LruCache::unbounded_with_hasher(RandomState::default()), last_number }
    }

    /// Reads the runs that are not cached. Missing runs stay absent.
    pub async fn load<'a>(
        &mut self,
        writer: &mut SqliteConnection,
        tail: &UnindexedTail,
        run_ids: impl Iterator<Item = &'a RunId>,
    ) -> Result<()> {
        // Evicts here and not after a commit: appends without new events load run states too, and states loaded below
        // are needed.
        while self.by_id.len() > MAX_RUNS {
            self.by_id.pop_lru();
        }
        let missing: Vec<&str> = run_ids.filter(|run_id| !self.by_id.contains(*run_id)).map(RunId::as_str).collect();
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
        .bind(ids)
        .fetch_all(writer)
        .await
        .map_err(from_sqlx)?;
        for row in rows {
            let number = row.run;
            // Only this writer changes rows, so row and tail always agree.
            let Some(run) = runs::current(row, tail)? else {
                return Err(Error::internal("the row of a run and the unindexed tail do not agree"));
            };
            self.by_id.put(run.run_id.clone(), RunState { number, run });
        }
        Ok(())
    }

    pub fn get(&self, run_id: &RunId) -> Option<&RunState> {
        self.by_id.peek(run_id)
    }

    pub fn last_number(&self) -> i64 {
        self.last_number
    }

    /// Stores the run states after a planned commit.
    pub fn plan(&mut self, run_states: impl IntoIterator<Item = RunState>) {
        for head in run_states {
            self.last_number = self.last_number.max(head.number);
            self.by_id.put(head.run.run_id.clone(), head);
        }
    }
}
