//! Options of the store, for each command that opens a store itself.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{InvalidOptions, millis};

/// URL of the database. May hold a password, so the URL is never printed, not even after a parse error.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(String);

impl StoreUrl {
    /// The URL in plain text, to open a connection.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for StoreUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreUrl(…)")
    }
}

/// The SQLite file, or the PostgreSQL database with timeouts and retries.
#[derive(Clone, Debug, Args)]
pub struct StoreOptions {
    /// The SQLite file that holds everything; created where it is missing. One server at a time owns it. Not used with
    /// --store.
    #[arg(long, env = "RUNLOG_DATA", value_name = "FILE", default_value = "runlog.db")]
    pub data: PathBuf,
    /// A PostgreSQL database (14 or newer) in place of the file, as postgres://USER:PASSWORD@HOST:PORT/DATABASE with
    /// sslmode, sslrootcert and others as parameters. Any number of servers may share it.
    #[arg(long = "store", env = "RUNLOG_STORE", value_name = "URL", hide_env_values = true)]
    pub url: Option<StoreUrl>,

    /// How long a statement or a lock may take, milliseconds (100 to 600,000); a transaction that idles longer is ended,
    /// so that a server that vanished keeps no lock.
    #[arg(long = "pg-statement-timeout-ms", env = "RUNLOG_PG_STATEMENT_TIMEOUT_MS", help_heading = "PostgreSQL", default_value = "10000",
          value_parser = millis(100..=600_000))]
    pub pg_statement_timeout: Duration,
    /// How long to wait for a connection to PostgreSQL, milliseconds (100 to 600,000).
    #[arg(long = "pg-connect-timeout-ms", env = "RUNLOG_PG_CONNECT_TIMEOUT_MS", help_heading = "PostgreSQL", default_value = "5000",
          value_parser = millis(100..=600_000))]
    pub pg_connect_timeout: Duration,
    /// How long a lost connection, a failover or a deadlock is retried inside, and a commit that was not answered is looked
    /// for, before the caller is answered UNAVAILABLE, milliseconds (0 to 600,000).
    #[arg(long = "pg-retry-ms", env = "RUNLOG_PG_RETRY_MS", help_heading = "PostgreSQL", default_value = "10000",
          value_parser = millis(0..=600_000))]
    pub pg_retry: Duration,
}

impl StoreOptions {
    /// Checks the scheme of the URL here and not in the parser: the parser's error would print the value.
    pub(super) fn validate(&self) -> Result<(), InvalidOptions> {
        let is_postgres = |url: &StoreUrl| ["postgres://", "postgresql://"].iter().any(|s| url.0.starts_with(s));
        if self.url.as_ref().is_some_and(|url| !is_postgres(url)) {
            return Err(InvalidOptions(
                "--store must begin with postgres:// or postgresql://; a SQLite file is given with --data".to_owned(),
            ));
        }
        Ok(())
    }
}
