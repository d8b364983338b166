//! Settings of every connection: durable commits, bounded waits, index access.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::executor::{PgExecutor, Reading};
use crate::store::ProjectNumber;
use crate::store::postgres::epochs::Epochs;

/// Connection settings of one replica.
#[derive(Debug)]
pub struct Session {
    /// Statements that open a transaction.
    pub begin: String,
    /// `SET` statements for a connection that keeps its session.
    settings: String,
    /// Channel of commit notifications; `None` if replicas only poll. Without notifications a transaction pooler may be
    /// in use: the pooler assigns a server connection for one transaction, so every transaction applies the settings
    /// with `SET LOCAL` and leaves no session state.
    pub notify: Option<NotifyIdentity>,
}

/// Channels and sender name of the commit notifications of a replica.
#[derive(Clone, Debug)]
pub struct NotifyIdentity {
    /// NOTIFY channel of the project `default`, shared by all replicas of the store.
    pub channel: String,
    /// NOTIFY channel of all other projects, which a replica of version 7 does not know.
    pub of_projects: String,
    /// Unique name of this replica in notifications.
    pub announcer: String,
}

impl NotifyIdentity {
    /// Channel of the commits to a project.
    pub fn channel_of(&self, project: ProjectNumber) -> &str {
        if project == ProjectNumber::DEFAULT { &self.channel } else { &self.of_projects }
    }
}

impl Session {
    /// Settings with this statement timeout, for a server with this `synchronous_commit`.
    pub fn new(statement_timeout: Duration, synchronous_commit: &str, notify: Option<NotifyIdentity>) -> Self {
        let timeout = statement_timeout.as_millis();
        // Acknowledged events are durable. Only `remote_apply` is stronger than `on`: commits also wait until standbys
        // show the commit.
        let synchronous_commit = match synchronous_commit {
            "remote_apply" => "synchronous_commit = remote_apply",
            _ => "synchronous_commit = on",
        };
        let settings = [
            synchronous_commit.to_owned(),
            format!("statement_timeout = {timeout}"),
            format!("lock_timeout = {timeout}"),
            // A replica that lost its connection must not hold locks.
            format!("idle_in_transaction_session_timeout = {timeout}"),
            // Every statement uses an index. A cached plan made while a table was small would use a sequential scan
            // later.
            "enable_seqscan = off".to_owned(),
            "enable_hashjoin = off".to_owned(),
            "enable_mergejoin = off".to_owned(),
            "jit = off".to_owned(),
            // Every statement must see the commits made during its lock wait, whatever the default of the database is.
            "default_transaction_isolation = 'read committed'".to_owned(),
        ];
        let all = |word: &str| settings.iter().map(|setting| format!("{word} {setting};")).collect::<String>();
        let made = match notify {
            Some(_) => format!("SET LOCAL {synchronous_commit};"),
            None => all("SET LOCAL"),
        };
        // A `SET LOCAL` of `default_transaction_isolation` would come too late for the transaction being opened.
        let begin = format!("BEGIN ISOLATION LEVEL READ COMMITTED; {made}");
        Self { begin, settings: all("SET"), notify }
    }

    /// Channel and sender name of notifications; `None` if replicas only poll.
    pub fn notify_identity(&self) -> Option<&NotifyIdentity> {
        self.notify.as_ref()
    }

    /// Whether a connection keeps the same server session for its lifetime (no transaction pooler).
    pub fn keeps_session(&self) -> bool {
        self.notify.is_some()
    }

    /// Executor for the writer's connection, which is in a transaction unless the session is kept.
    pub fn executor<'c>(&self, connection: &'c mut PgConnection) -> PgExecutor<'c> {
        if self.keeps_session() { PgExecutor::session(connection) } else { PgExecutor::pooled(connection) }
    }

    /// Prepares a connection for one read.
    pub async fn reading<'c>(&self, connection: &'c mut PgConnection) -> Result<Reading<'c>, sqlx::Error> {
        if self.keeps_session() {
            return Ok(Reading::Session(connection));
        }
        let begin = format!("{}SET TRANSACTION READ ONLY", self.begin);
        Ok(Reading::Transaction(connection.begin_with(sqlx::AssertSqlSafe(begin)).await?))
    }

    /// Opens a connection, applies the settings and checks the lineage.
    pub async fn open(&self, options: &PgConnectOptions, epochs: &Epochs) -> Result<PgConnection, sqlx::Error> {
        let mut connection = options.connect().await?;
        self.prepare(&mut connection).await?;
        epochs.check(&mut connection).await?;
        Ok(connection)
    }

    /// Applies the settings if the connection keeps its session.
    pub async fn prepare(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.keeps_session() {
            sqlx::raw_sql(sqlx::AssertSqlSafe(self.settings.clone())).execute(connection).await?;
        }
        Ok(())
    }
}
