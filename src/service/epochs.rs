//! Whether what a reader has read is still stored: an older copy of the data may have been put back since.

use crate::domain::history::Mark;
use crate::domain::{Cursor, Error, Result, Scope};

use super::Service;

impl Service {
    /// Fails with `HistoryLost` where a reader that stands at this coordinate, given in the epoch of this mark, has read what
    /// is not stored any more.
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

    /// The epoch in which pages and frames are given out now, for readers to give back.
    #[must_use]
    pub fn epoch(&self) -> String {
        self.store.history().mark().to_string()
    }
}

/// Reads an epoch that a reader gives back; none where it gives none.
pub(super) fn parse(text: &str) -> Result<Option<Mark>> {
    if text.is_empty() {
        return Ok(None);
    }
    let problem = "must be the epoch that a page or a frame gave, unchanged";
    Mark::parse(text).map(Some).ok_or_else(|| Error::invalid("epoch", problem))
}
