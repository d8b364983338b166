//! What every connection is told: an acknowledged event is durable, nothing waits for ever, and statements use indexes.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::executor::{PgExecutor, Reading};
use crate::store::postgres::epochs::Epochs;

/// The settings of the connections of one replica.
#[derive(Debug)]
pub struct Session {
    /// Opens a transaction.
    pub begin: String,
    /// Makes the settings for a connection.
    settings: String,
    /// How replicas tell each other of commits; `None` where they only poll. Then a pooler may be between: it gives a
    /// server's connection for one transaction, so its settings must be made in each, and nothing may be left of them.
    pub notify: Option<NotifyIdentity>,
}

/// Names under which a replica tells of its commits.
#[derive(Clone, Debug)]
pub struct NotifyIdentity {
    /// The channel of this store's replicas.
    pub channel: String,
    /// This replica.
    pub announcer: String,
}

impl Session {
    /// Settings with this bound on a statement, for a server whose own `synchronous_commit` is this.
    pub fn new(statement_timeout: Duration, synchronous_commit: &str, notify: Option<NotifyIdentity>) -> Self {
        let timeout = statement_timeout.as_millis();
        // Promise 1. Only one mode is stronger than `on`: it also waits until standbys show the commit.
        let synchronous_commit = match synchronous_commit {
            "remote_apply" => "synchronous_commit = remote_apply",
            _ => "synchronous_commit = on",
        };
        let settings = [
            synchronous_commit.to_owned(),
            format!("statement_timeout = {timeout}"),
            format!("lock_timeout = {timeout}"),
            // A replica that vanished must not keep its locks.
            format!("idle_in_transaction_session_timeout = {timeout}"),
            // Each statement looks up what an index has. A plan that was made while a table was small would read all of it
            // later.
            "enable_seqscan = off".to_owned(),
            "enable_hashjoin = off".to_owned(),
            "enable_mergejoin = off".to_owned(),
            "jit = off".to_owned(),
            // Each statement must see what was committed while it waited for a lock, whatever the database's default is.
            "default_transaction_isolation = 'read committed'".to_owned(),
        ];
        let all = |word: &str| settings.iter().map(|setting| format!("{word} {setting};")).collect::<String>();
        let made = match notify {
            Some(_) => format!("SET LOCAL {synchronous_commit};"),
            None => all("SET LOCAL"),
        };
        // Here the default is read too late.
        let begin = format!("BEGIN ISOLATION LEVEL READ COMMITTED; {made}");
        Self { begin, settings: all("SET"), notify }
    }

    /// The channel, and who tells; `None` where nobody listens.
    pub fn notify_identity(&self) -> Option<(&str, &str)> {
        self.notify.as_ref().map(|names| (names.channel.as_str(), names.announcer.as_str()))
    }

    /// Whether a connection is the same session of the server for as long as it lasts.
    pub fn is_kept(&self) -> bool {
        self.notify.is_some()
    }

    /// The connection of the writer, in a transaction where it is not kept.
    pub fn link<'c>(&self, connection: &'c mut PgConnection) -> PgExecutor<'c> {
        if self.is_kept() { PgExecutor::kept(connection) } else { PgExecutor::lent(connection) }
    }

    /// The connection for one read.
    pub async fn reading<'c>(&self, connection: &'c mut PgConnection) -> Result<Reading<'c>, sqlx::Error> {
        if self.is_kept() {
            return Ok(Reading::Kept(connection));
        }
        let begin = format!("{}SET TRANSACTION READ ONLY", self.begin);
        Ok(Reading::Transaction(connection.begin_with(sqlx::AssertSqlSafe(begin)).await?))
    }

    /// Opens a connection, makes its settings and compares its lineage.
    pub async fn open(&self, options: &PgConnectOptions, epochs: &Epochs) -> Result<PgConnection, sqlx::Error> {
        let mut connection = options.connect().await?;
        self.prepare(&mut connection).await?;
        epochs.check(&mut connection).await?;
        Ok(connection)
    }

    /// Makes the settings of a connection, where it keeps them.
    pub async fn prepare(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.is_kept() {
            sqlx::raw_sql(sqlx::AssertSqlSafe(self.settings.clone())).execute(connection).await?;
        }
        Ok(())
    }
}
