//! Replication state of the database server: whether a promoted standby has all acknowledged events.

use sqlx::{Connection, PgConnection};

use crate::store::inspect::CheckResult;

use super::executor::PgExecutor;

/// Settings and standbys that decide when a commit is confirmed.
pub struct Replication {
    /// `synchronous_commit` of the server; connections of a replica override the setting with `on` or `remote_apply`.
    synchronous_commit: String,
    /// `synchronous_standby_names`; empty: commits do not wait for a standby.
    synchronous_standby_names: String,
    /// Attached standbys: name and state (`sync`, `quorum`, `potential` or `async`); `?` if the role may not see the
    /// value.
    standbys: Vec<(String, String)>,
}

impl Replication {
    /// Reads the state in a transaction of its own.
    pub async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let mut transaction = connection.begin().await?;
        let read = Self::read_in(&mut PgExecutor::pooled(&mut transaction)).await?;
        transaction.rollback().await?;
        Ok(read)
    }

    /// Reads the state in an open transaction.
    pub async fn read_in(executor: &mut PgExecutor<'_>) -> Result<Self, sqlx::Error> {
        const SETTINGS: &str =
            "SELECT current_setting('synchronous_commit'), current_setting('synchronous_standby_names')";
        const STANDBYS: &str = "SELECT coalesce(application_name, '?'), coalesce(sync_state, '?') FROM pg_stat_replication \
            ORDER BY 1";
        let (synchronous_commit, synchronous_standby_names) =
            sqlx::query_as(SETTINGS).fetch_one(&mut *executor).await?;
        let standbys = sqlx::query_as(STANDBYS).fetch_all(executor).await?;
        Ok(Self { synchronous_commit, synchronous_standby_names, standbys })
    }

    /// What an operator has to know about acknowledged events and standbys.
    fn warning(&self) -> Option<String> {
        let is_any = |states: &[&str]| self.standbys.iter().any(|(_, state)| states.contains(&state.as_str()));
        if self.synchronous_standby_names.is_empty() {
            return (!self.standbys.is_empty()).then(|| MAY_LOSE.to_owned());
        }
        if !is_any(&["sync", "quorum", "?"]) {
            return Some(NOBODY_CONFIRMS.to_owned());
        }
        let asynchronous = self.standbys.iter().filter(|(_, state)| state == "async").map(|(name, _)| name.as_str());
        let names = asynchronous.collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| format!("asynchronous, so that they may lack acknowledged events: {names}"))
    }

    fn standbys(&self) -> String {
        let all: Vec<String> = self.standbys.iter().map(|(name, state)| format!("{name} ({state})")).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    }

    /// Logs the state, with a warning if a promotion may lose events or if no standby confirms commits.
    pub fn log(&self) {
        let Self { synchronous_commit, synchronous_standby_names, .. } = self;
        let standbys = self.standbys();
        tracing::info!(synchronous_commit, synchronous_standby_names, standbys, "PostgreSQL confirms commits so");
        if let Some(warning) = self.warning() {
            tracing::warn!("{warning}");
        }
    }

    /// Result of the check `standbys`.
    pub fn finding(&self) -> CheckResult {
        const NAME: &str = "standbys";
        let names = match self.synchronous_standby_names.as_str() {
            "" => "synchronous_standby_names is empty".to_owned(),
            names => format!("commits wait for {names:?}"),
        };
        let detail = format!("attached: {}; {names}", self.standbys());
        match self.warning() {
            Some(warning) => CheckResult::warning(NAME, format!("{detail}; {warning}")),
            None => CheckResult::ok(NAME, detail),
        }
    }
}

const MAY_LOSE: &str = "an asynchronous standby that is promoted may lack acknowledged events, and cursors of them are refused \
    then; set synchronous_standby_names";

const NOBODY_CONFIRMS: &str =
    "no standby that synchronous_standby_names names is attached: publishes wait until one confirms them";
