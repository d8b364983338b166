//! Sums over the usage of runs.

use jiff::Timestamp;

use super::Service;
use crate::domain::usage::{UsageGrouping, UsageReport};
use crate::domain::{AgentName, KeyScope, Result, RunStatus, StructureId};
use crate::store::{RunQuery, UsageQuery};

/// A request for sums over the usage of runs.
#[derive(Clone, Debug, Default)]
pub struct ReadUsage {
    /// What the runs of a group have in common; `None`: no groups.
    pub group_by: Option<UsageGrouping>,
    /// Only runs with one of these statuses; empty: all runs.
    pub statuses: Vec<RunStatus>,
    /// Only runs of this agent.
    pub agent_name: Option<AgentName>,
    /// Only runs of this structure.
    pub structure_id: Option<StructureId>,
    /// Only runs created at this time or later.
    pub created_from: Option<Timestamp>,
    /// Only runs created before this time.
    pub created_until: Option<Timestamp>,
}

impl Service {
    /// Sums over the usage of the newest 1,000,000 runs, as far as they pass the filters; at most 1,000 groups, and one more
    /// for all others.
    pub async fn usage(&self, read: ReadUsage) -> Result<UsageReport> {
        self.caller.require(KeyScope::EventsRead)?;
        let ReadUsage { group_by, statuses, agent_name, structure_id, created_from, created_until } = read;
        let runs = RunQuery { statuses, agent_name, structure_id, created_from, created_until, ..RunQuery::default() };
        // One at a time: each may take seconds of one of the store's few connections for readers.
        let _turn = self.usage_turn.lock().await;
        self.store.usage(&UsageQuery { runs, group_by, ..UsageQuery::default() }).await
    }
}
