//! Sums over the usage of runs.

use super::Service;
use crate::domain::usage::{UsageGrouping, UsageReport};
use crate::domain::{KeyScope, Result, RunFilter};
use crate::store::UsageQuery;

impl Service {
    /// Sums over the usage of the newest 1,000,000 runs, as far as they pass the filter; at most 1,000 groups, and one more
    /// for all others. Without a grouping: only the sums over all of them.
    pub async fn usage(&self, filter: RunFilter, group_by: Option<UsageGrouping>) -> Result<UsageReport> {
        self.caller.require(KeyScope::EventsRead)?;
        // One at a time: each may take seconds of one of the store's few connections for readers.
        let _turn = self.shared.usage_turn.lock().await;
        self.store.usage(&UsageQuery { filter, group_by, ..UsageQuery::default() }).await
    }
}
