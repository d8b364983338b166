//! Writes beside the log, of keys, secrets and projects. Each of the rare writes opens a connection of its own, so that no failed one
//! leaves anything behind. The committer waits for a write in SQLite's lock, a few milliseconds.

use std::sync::Arc;

use sqlx::sqlite::SqliteConnectOptions;
use tokio::sync::{Mutex, mpsc};

use super::maintenance::checkpointer::Request;
use super::watch::FileWatch;

/// Writes one at a time, until [`close`](Self::close).
pub struct RareWrites {
    pub watch: Arc<FileWatch>,
    /// `None` after the store is closed; locked during a write.
    pub open: Mutex<Option<Writes>>,
}

/// What a write needs.
pub struct Writes {
    pub connect: SqliteConnectOptions,
    /// Written pages are moved out of the write-ahead log also while nothing is published.
    pub checkpoints: mpsc::Sender<Request>,
}

/// A write transaction.
macro_rules! written {
    ($writes:expr, $transaction:ident => $work:expr) => {{
        let writes: &$crate::store::sqlite::rare_writes::RareWrites = $writes;
        let open = writes.open.lock().await;
        let $crate::store::sqlite::rare_writes::Writes { connect, checkpoints } =
            open.as_ref().ok_or($crate::domain::Error::ShuttingDown)?;
        writes.watch.look_again()?;
        let connection = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(connect).await;
        let mut connection = connection.map_err($crate::store::sqlite::error::from_sqlx)?;
        let begun = sqlx::Connection::begin_with(&mut connection, "BEGIN IMMEDIATE").await;
        let mut $transaction = begun.map_err($crate::store::sqlite::error::from_sqlx)?;
        let done = $work?;
        $transaction.commit().await.map_err($crate::store::sqlite::error::of_commit)?;
        // A commit to files that are lost may be gone.
        writes.watch.look_again().map_err(|_| $crate::domain::Error::OutcomeUnknown)?;
        // A full channel holds such a request already.
        let _ = checkpoints.try_send($crate::store::sqlite::maintenance::checkpointer::Request::Checkpoint);
        Ok(done)
    }};
}
pub(super) use written;

impl RareWrites {
    /// Refuses further writes, after a write under way. The task of checkpoints ends after this.
    pub async fn close(&self) {
        *self.open.lock().await = None;
    }
}
