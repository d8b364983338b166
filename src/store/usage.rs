//! Sums over the usage of runs: the query, and the rows that both stores answer it with.

use crate::domain::usage::{UsageGroup, UsageGrouping, UsageKey, UsageReport, UsageTotals};
use crate::domain::{Error, Result, RunFilter, RunStatus};

/// Filter and grouping of sums over the usage of runs.
#[derive(Clone, Debug)]
pub struct UsageQuery {
    /// The runs.
    pub filter: RunFilter,
    /// What the runs of a group have in common; `None`: only the sums over all runs.
    pub group_by: Option<UsageGrouping>,
    /// Maximum number of groups: those of the highest cost. The runs of all others are one group more, without a key.
    pub max_groups: u32,
    /// Maximum number of runs that are examined, the newest ones; at most 1,000,000.
    pub max_runs: u32,
}

/// Maximum of `max_runs`: as many times [`max_counted`] is less than the largest number of both databases.
const MAX_EXAMINED_RUNS: u32 = 1_000_000;

/// What one run adds to a sum at most. A run may report any number; without a bound, one run could exceed what the
/// databases can add up.
macro_rules! max_counted {
    () => {
        "9000000000000"
    };
}
pub(super) use max_counted;

impl Default for UsageQuery {
    fn default() -> Self {
        Self { filter: RunFilter::default(), group_by: None, max_groups: 1_000, max_runs: MAX_EXAMINED_RUNS }
    }
}

impl UsageQuery {
    /// Lowest number of a run that is examined, where runs have the numbers from `first` to `newest`.
    pub(super) fn oldest(&self, first: i64, newest: i64) -> i64 {
        newest.saturating_sub(i64::from(self.max_runs.min(MAX_EXAMINED_RUNS)) - 1).max(first)
    }

    /// The report of the rows, which come by falling cost.
    pub(super) fn report(&self, rows: Vec<UsageRow>, complete: bool) -> Result<UsageReport> {
        let groups: Vec<UsageGroup> =
            rows.into_iter().map(|row| row.into_group(self.group_by)).collect::<Result<_>>()?;
        let mut total = UsageTotals::default();
        groups.iter().for_each(|group| total.add(&group.totals));
        Ok(UsageReport { groups: if self.group_by.is_some() { groups } else { Vec::new() }, total, complete })
    }
}

/// Sums over the runs of one group, as both databases compute them.
#[derive(sqlx::FromRow)]
pub struct UsageRow {
    /// Name of the group, or the number of its status as text.
    key: Option<String>,
    runs: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    total_tokens: i64,
    cost_usd: f64,
}

impl UsageRow {
    fn into_group(self, group_by: Option<UsageGrouping>) -> Result<UsageGroup> {
        let Self { key, runs, prompt_tokens, completion_tokens, total_tokens, cost_usd } = self;
        let [runs, prompt_tokens, completion_tokens, total_tokens] =
            [runs, prompt_tokens, completion_tokens, total_tokens].map(i64::unsigned_abs);
        let totals = UsageTotals { runs, prompt_tokens, completion_tokens, total_tokens, cost_usd };
        let status = |number: String| number.parse().ok().and_then(RunStatus::from_number).ok_or(Error::StoreDamaged);
        let key = match (group_by, key) {
            (_, None) => None,
            (Some(UsageGrouping::Status), Some(number)) => Some(UsageKey::Status(status(number)?)),
            (_, Some(name)) => Some(UsageKey::Name(name)),
        };
        Ok(UsageGroup { key, totals })
    }
}
