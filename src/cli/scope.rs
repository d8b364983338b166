//! Scope and filter options of `list` and `tail`.

use clap::{Args, ValueEnum};

use crate::pb;

/// Scope: one run or all runs.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ScopeArgs {
    /// The run
    #[arg(value_name = "RUN")]
    id: Option<String>,
    /// The run, as an option
    #[arg(long = "run", value_name = "RUN")]
    run: Option<String>,
    /// All runs, in the order in which events were stored
    #[arg(long)]
    all: bool,
}

impl ScopeArgs {
    /// Id of the run; `None` for all runs.
    pub fn run(&self) -> Option<&str> {
        self.id.as_deref().or(self.run.as_deref())
    }
}

/// Filter of events by type, origin and agent, and the view of payloads.
#[derive(Clone, Debug, Args)]
pub struct FilterArgs {
    /// Only events of this type; may be given several times, and may end in `*` as in 'run.worker.*'
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events of this origin
    #[arg(long, value_enum)]
    origin: Option<OriginArg>,
    /// Only events of this agent; may be given several times
    #[arg(long = "agent", value_name = "AGENT")]
    agents: Vec<String>,
    /// Payloads whole: without it `input`, `metadata`, `attachment_refs` and `sensitivity_tags` are left out,
    /// marked by ▒
    #[arg(long)]
    full: bool,
}

impl FilterArgs {
    /// `None` without a filter option.
    pub fn filter(&self) -> Option<pb::EventFilter> {
        let origins: Vec<i32> = self.origin.iter().map(|origin| origin.number()).collect();
        let all = self.types.is_empty() && origins.is_empty() && self.agents.is_empty();
        let (types, agent_names) = (self.types.clone(), self.agents.clone());
        (!all).then(|| pb::EventFilter { types, origins, run_ids: Vec::new(), agent_names })
    }

    pub fn view(&self) -> i32 {
        if self.full { pb::EventView::Full as i32 } else { pb::EventView::Public as i32 }
    }
}

/// Source of an event: the runtime or the agent's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OriginArg {
    /// The runtime around the agent
    System,
    /// The agent's own code
    User,
}

impl OriginArg {
    /// Number of the protobuf enum.
    pub fn number(self) -> i32 {
        match self {
            Self::System => pb::Origin::System as i32,
            Self::User => pb::Origin::User as i32,
        }
    }
}
