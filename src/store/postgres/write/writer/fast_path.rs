//! The fast path of a commit: one statement, planned from the run state cache.

use std::collections::HashMap;

use tokio::time::timeout;

use crate::domain::Result;
use crate::store::commit::plan;
use crate::store::commit::plan::{ExistingEvents, PlannedRun};
use crate::store::commit::queue::QueuedAppend;
use crate::store::{RunKey, ids};

use super::{Done, Failed, FastPathBackoff, Writer};
use crate::store::postgres::error::Fault;
use crate::store::postgres::write::planned::{Outcomes, Planned, plan_group};
use crate::store::postgres::write::transaction;

/// Maximum number of consecutive groups that skip the fast path.
const MAX_FAST_PATH_BACKOFF: u32 = 32;

impl Writer {
    /// Commits the group on the fast path. `None`: the fast path is not possible, and no row has changed.
    pub(crate) async fn fast_path(
        &mut self,
        appends: &[QueuedAppend],
        in_doubt: &mut Option<Planned>,
    ) -> Result<Option<Done>, Failed> {
        let Some((outcomes, runs)) = self.plan_fast_path(appends) else { return Ok(None) };
        let done = self.write_fast_path(outcomes, runs, in_doubt).await?;
        let length =
            if done.is_some() { 0 } else { (self.fast_path_backoff.length * 2).clamp(1, MAX_FAST_PATH_BACKOFF) };
        self.fast_path_backoff = FastPathBackoff { remaining: length, length };
        Ok(done)
    }

    /// Plans the group for the fast path, if possible.
    fn plan_fast_path(&mut self, appends: &[QueuedAppend]) -> Option<(Outcomes, Vec<PlannedRun>)> {
        // Behind a pooler the settings need a transaction around the statement.
        if !self.session.keeps_session() {
            return None;
        }
        if self.fast_path_backoff.remaining > 0 {
            self.fast_path_backoff.remaining -= 1;
            return None;
        }
        self.connection.as_ref()?;
        for QueuedAppend { run, append } in appends {
            // A failed plan ends its import, so imports are planned only from current states.
            if append.import().is_some() {
                return None;
            }
            let number = self.run_states.get(run)?.number;
            let mut event_ids = append.events.iter().filter_map(|event| event.event_id.as_ref());
            // No unique index covers assigned ids, so a repeat would not be detected.
            if event_ids.any(|event_id| ids::assigned_seq(number, event_id).is_some()) {
                return None;
            }
        }
        let head = |run: &RunKey| self.run_states.get(run).cloned();
        let (outcomes, runs) =
            plan_group(self.options.lifecycle, head, &ExistingEvents::default(), appends, plan::now());
        // The cached state may be stale, so a rejection is not final.
        if outcomes.iter().any(Result::is_err) {
            return None;
        }
        Some((outcomes, runs))
    }

    /// Sends the statement. `None`: the fast path is not possible, and no row has changed.
    async fn write_fast_path(
        &mut self,
        outcomes: Outcomes,
        runs: Vec<PlannedRun>,
        in_doubt: &mut Option<Planned>,
    ) -> Result<Option<Done>, Failed> {
        let limit = self.options.statement_deadline();
        let Some(connection) = self.connection.as_mut().filter(|_| !runs.is_empty()) else { return Ok(None) };
        let (commit, columns) = Planned::encode(&runs);
        let head = |run: &RunKey| self.run_states.get(run);
        let mut executor = self.session.executor(connection);
        let sent = transaction::append(&mut executor, &runs, columns, head, self.session.notify_identity());
        let sent = timeout(limit, sent).await.unwrap_or(Err(Fault::Timeout));
        let mut planned = Planned { outcomes, runs, commit, before: HashMap::new() };
        match sent {
            Ok(Some(last)) => Ok(Some(self.stored(planned, last))),
            Ok(None) => Ok(None),
            // The statement is a transaction of its own: an error rolls back all changes.
            Err(fault) if fault.is_refusal() => Err(Failed::Before(fault)),
            Err(fault) => {
                let keys = planned.runs.iter().map(|planned| planned.head.key());
                let before = keys.filter_map(|key| self.run_states.get(&key).cloned().map(|head| (key, head)));
                planned.before = before.collect();
                *in_doubt = Some(planned);
                Err(Failed::Unknown(fault))
            }
        }
    }
}
