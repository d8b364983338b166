//! Checks of a reader's epoch: events that a reader has read may be lost after a restore of an older copy of the data.

use crate::domain::history::Mark;
use crate::domain::{Cursor, Error, Result, Scope};

use super::Service;

impl Service {
    /// Fails with `HistoryLost` if events up to the offset `at`, which a reader received in the epoch of `mark`, are not stored
    /// any more.
    pub(super) async fn check_history(&self, scope: &Scope, at: u64, mark: &Mark) -> Result<()> {
        let history = self.store.history();
        let agrees = history.agrees_with(mark);
        if at == 0 || agrees == Some(u64::MAX) {
            return Ok(());
        }
        let end = match (scope, agrees) {
            (_, None) => None,
            (Scope::Feed, Some(position)) => Some(position),
            (Scope::Run(run_id), Some(position)) => match self.store.last_seq_at(run_id, position).await {
                Err(Error::RunNotFound { .. }) => Some(0),
                seq => Some(seq?),
            },
        };
        if end.is_some_and(|end| at <= end) {
            return Ok(());
        }
        let text = |at: u64| Cursor(at).to_text(scope, &history);
        Err(Error::HistoryLost { cursor: text(at), end: end.map(text) })
    }

    /// The present epoch as text, for pages and frames. Readers send the epoch back with a cursor.
    #[must_use]
    pub fn epoch(&self) -> String {
        self.store.history().mark().to_string()
    }
}

/// Parses the epoch of a request; `None` for an empty text.
pub(super) fn parse(text: &str) -> Result<Option<Mark>> {
    if text.is_empty() {
        return Ok(None);
    }
    let problem = "must be the epoch that a page or a frame gave, unchanged";
    Mark::parse(text).map(Some).ok_or_else(|| Error::invalid("epoch", problem))
}
