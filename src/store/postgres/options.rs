//! Options of the store.

use std::time::Duration;

use crate::domain::projection::Lifecycle;
use crate::store::commit::queue::QueueOptions;

/// Options of the PostgreSQL store. Each field is an option of `runlog serve`.
#[derive(Clone)]
pub struct PostgresOptions {
    /// URL of the database: `postgres://user:password@host:port/database?sslmode=…`. Never printed or logged.
    pub url: String,
    /// Policy for events after the end of a run.
    pub lifecycle: Lifecycle,
    /// Limits of the commit queue and of a commit.
    pub queue: QueueOptions,
    /// Size of the read pool. A replica has three more connections: writer, follower and LISTEN.
    pub pool_size: u32,
    /// Timeout of a statement and of a lock wait (`statement_timeout`, `lock_timeout`).
    pub statement_timeout: Duration,
    /// Timeout of opening a connection, and of waiting for a pooled connection.
    pub connect_timeout: Duration,
    /// Retry deadline of transient errors, and of finding out whether an in-doubt commit took place: the last attempt
    /// begins before the deadline.
    pub retry: Duration,
    /// Whether to announce commits to other replicas with NOTIFY, and to LISTEN to theirs.
    pub notify: bool,
    /// Interval of polling the feed for commits of other replicas.
    pub poll: Duration,
}

impl PostgresOptions {
    /// The defaults for a database URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            lifecycle: Lifecycle::Record,
            queue: QueueOptions::default(),
            pool_size: 8,
            statement_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            retry: Duration::from_secs(10),
            notify: true,
            poll: Duration::from_secs(1),
        }
    }

    /// Client-side deadline of a statement. The server times out first unless the server is unreachable.
    pub(super) fn statement_deadline(&self) -> Duration {
        self.statement_timeout + Duration::from_secs(1)
    }
}
