//! What every connection is told: an acknowledged event is durable, nothing waits for ever, and statements use indexes.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

/// The settings of the connections of one replica.
#[derive(Debug)]
pub struct Session {
    /// Opens a transaction. Behind a pooler that gives a server's connection for one transaction, its settings must be
    /// made in each.
    pub begin: String,
    /// Makes the settings for a connection.
    settings: String,
    /// How replicas tell each other of commits; `None` where they only poll.
    pub notify: Option<Names>,
}

/// Names under which a replica tells of its commits.
#[derive(Clone, Debug)]
pub struct Names {
    /// The channel of this store's replicas.
    pub channel: String,
    /// This replica.
    pub teller: String,
}

impl Session {
    /// Settings with this bound on a statement.
    pub fn new(statement_timeout: Duration, notify: Option<Names>) -> Self {
        let timeout = statement_timeout.as_millis();
        let settings = [
            // Promise 1. `local` and the stronger ones are left as they are: they flush too.
            "synchronous_commit = on".to_owned(),
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
        ];
        let all = |word: &str| settings.iter().map(|setting| format!("{word} {setting};")).collect::<String>();
        let begin = match notify {
            Some(_) => "BEGIN; SET LOCAL synchronous_commit = on".to_owned(),
            None => format!("BEGIN; {}", all("SET LOCAL")),
        };
        Self { begin, settings: all("SET"), notify }
    }

    /// Opens a connection and makes its settings.
    pub async fn open(&self, options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
        let mut connection = options.connect().await?;
        self.prepare(&mut connection).await?;
        Ok(connection)
    }

    /// Makes the settings of a connection.
    pub async fn prepare(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(self.settings.clone())).execute(connection).await?;
        Ok(())
    }
}
