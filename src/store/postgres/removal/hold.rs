//! Holds of runs.

use sqlx::PgConnection;

use crate::domain::{Result, RunId};
use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::connect::readers::written;
use crate::store::postgres::error::Fault;
use crate::store::postgres::read::runs;
use crate::store::{ProjectNumber, RunKey};

use super::Removals;
use super::state::{State, lock};

impl Removals {
    /// Holds or releases a run. A slice of retention that had begun has ended before.
    pub async fn hold(&self, project: ProjectNumber, run_id: &RunId, is_held: bool) -> Result<()> {
        let key = RunKey::new(project, run_id.clone());
        written!(&self.readers, connection => write(connection, &key, is_held))
    }
}

async fn write(connection: &mut PgConnection, key: &RunKey, is_held: bool) -> Result<(), Fault> {
    const HOLD: &str = "INSERT INTO run_retention (run, first_seq, held) VALUES ($1, 1, true) \
        ON CONFLICT (run) DO UPDATE SET held = true";
    const RELEASE: &str = "UPDATE run_retention SET held = false WHERE run = $1 AND held";
    let mut executor = PgExecutor::pooled(connection);
    lock(&mut executor, key.project).await?;
    let (run, _) = runs::scope_end(&mut executor, key).await?;
    let write = sqlx::query(if is_held { HOLD } else { RELEASE }).bind(run).execute(&mut executor).await?;
    // The release of a run that is not held leaves retention nothing to begin again for.
    if !is_held && write.rows_affected() > 0 {
        let mut state = State::read(&mut executor, key.project).await?;
        state.releases += 1;
        state.write(&mut executor).await?;
    }
    Ok(())
}
