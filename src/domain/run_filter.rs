//! Filter of runs, for lists, counts and sums.

use jiff::Timestamp;

use super::ids::{AgentName, SearchText, StructureId};
use super::run_status::RunStatus;

/// Passes a run that matches every part that is set; the default passes all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only runs with one of these statuses; empty: all statuses.
    pub statuses: Vec<RunStatus>,
    /// Only runs of this agent.
    pub agent_name: Option<AgentName>,
    /// Only runs of this structure.
    pub structure_id: Option<StructureId>,
    /// Only runs created at this time or later.
    pub created_from: Option<Timestamp>,
    /// Only runs created before this time.
    pub created_until: Option<Timestamp>,
    /// Only runs with this text in the id or the agent name; ASCII letters match in either case.
    pub text: Option<SearchText>,
}
