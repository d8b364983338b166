//! What to read: one run or all, and which of its events. Shared by `list` and `tail`.

use clap::{Args, ValueEnum};

use crate::pb;

/// One run, or all of them.
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
    /// The run; `None` for all runs.
    pub fn run(&self) -> Option<&str> {
        self.id.as_deref().or(self.run.as_deref())
    }
}

/// Which events, and how much of them.
#[derive(Clone, Debug, Args)]
pub struct FilterArgs {
    /// Only events of this type; may be given several times, and may end in `*` as in 'run.worker.*'
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events of this origin
    #[arg(long, value_enum)]
    origin: Option<OriginArg>,
    /// Payloads whole: without it `input`, `metadata`, `attachment_refs` and `sensitivity_tags` are left out,
    /// which ▒ tells
    #[arg(long)]
    full: bool,
}

impl FilterArgs {
    /// The filter; `None` where nothing is held back.
    pub fn filter(&self) -> Option<pb::EventFilter> {
        let origins: Vec<i32> = self.origin.iter().map(|origin| origin.number()).collect();
        let all = self.types.is_empty() && origins.is_empty();
        (!all).then(|| pb::EventFilter { types: self.types.clone(), origins })
    }

    /// The view.
    pub fn view(&self) -> i32 {
        if self.full { pb::EventView::Full as i32 } else { pb::EventView::Public as i32 }
    }
}

/// Who says that something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OriginArg {
    /// The runtime around the agent
    System,
    /// The agent's own code
    User,
}

impl OriginArg {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        match self {
            Self::System => pb::Origin::System as i32,
            Self::User => pb::Origin::User as i32,
        }
    }
}
