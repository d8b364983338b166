//! Usage of many runs: sums over all of them, and over groups of them.

use std::cmp::Ordering;

use super::run_status::RunStatus;

/// What the runs of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageGrouping {
    /// Name of the agent.
    Agent,
    /// Name of the model.
    Model,
    /// Day of the creation in UTC.
    Day,
    /// Status.
    Status,
}

/// Sums over runs. A run whose usage is not reported counts as a run without tokens and cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UsageTotals {
    /// Number of runs.
    pub runs: u64,
    /// Tokens sent to models.
    pub prompt_tokens: u64,
    /// Tokens returned by models.
    pub completion_tokens: u64,
    /// Totals as reported, not computed.
    pub total_tokens: u64,
    /// Cost in US dollars.
    pub cost_usd: f64,
}

impl UsageTotals {
    /// Adds the sums over other runs.
    pub fn add(&mut self, other: &Self) {
        let Self { runs, prompt_tokens, completion_tokens, total_tokens, cost_usd } = other;
        self.runs = self.runs.saturating_add(*runs);
        self.prompt_tokens = self.prompt_tokens.saturating_add(*prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(*completion_tokens);
        self.total_tokens = self.total_tokens.saturating_add(*total_tokens);
        self.cost_usd += cost_usd;
    }

    /// The order of groups: by falling cost, then by falling tokens.
    #[must_use]
    pub fn by_falling_cost(&self, other: &Self) -> Ordering {
        other.cost_usd.total_cmp(&self.cost_usd).then(other.total_tokens.cmp(&self.total_tokens))
    }
}

/// What the runs of one group have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageKey {
    /// Agent, model or day (`2026-04-02`); empty: the runs have no agent or no model.
    Name(String),
    /// Status.
    Status(RunStatus),
}

/// Sums over the runs of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageGroup {
    /// What the runs have in common. `None`: the runs of all groups beyond the maximum.
    pub key: Option<UsageKey>,
    /// The sums.
    pub totals: UsageTotals,
}

/// Sums over runs, by group.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageReport {
    /// The groups by falling cost, then by falling tokens; the one without a key is the last. Empty if the runs are not
    /// grouped.
    pub groups: Vec<UsageGroup>,
    /// Sums over all groups.
    pub total: UsageTotals,
    /// Whether every run of the project was examined; false: only the newest ones.
    pub complete: bool,
}
