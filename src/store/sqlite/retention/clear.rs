//! What is cleared after erasures: copies in free space of the file, and the write-ahead log. Erasures that wait at the same time
//! share it, and one that follows a removal already cleared has nothing to do.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::Connection;
use tokio::time::Instant;

use crate::domain::{Error, Result};

use super::{Open, Removals, space, vacuum};

/// Pause after a rewrite of the file, as a multiple of its time, and at most: commits go on meanwhile, however many erasures come.
const PAUSE: u32 = 4;
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// How far removals are cleared, as numbers of [`Removals::removed`].
pub struct Clearing {
    /// The last removal of which no free space of the file has a copy.
    rewritten: u64,
    /// The last removal of which the write-ahead log has no copy.
    emptied: u64,
    /// Earliest begin of the next rewrite.
    next: Instant,
}

impl Default for Clearing {
    fn default() -> Self {
        Self { rewritten: 0, emptied: 0, next: Instant::now() }
    }
}

impl Removals {
    /// Clears what was removed before this call. The caller does not hold `open`, so that others erase before the rewrite begins.
    pub(super) async fn clear(&self) -> Result<()> {
        let due = self.removed.load(Ordering::Acquire);
        let mut clearing = self.clearing.lock().await;
        if clearing.rewritten < due {
            tokio::time::sleep_until(clearing.next).await;
        } else if clearing.emptied >= due {
            return Ok(());
        }
        // No removal and no slice that gives pages back comes between.
        let open = self.open.lock().await;
        let begin = Instant::now();
        let cleared = self.clear_on(open.as_ref().ok_or(Error::ShuttingDown)?, &mut clearing, due).await;
        clearing.next = Instant::now() + (PAUSE * begin.elapsed()).min(MAX_PAUSE);
        cleared
    }

    async fn clear_on(&self, open: &Open, clearing: &mut Clearing, due: u64) -> Result<()> {
        let removed = self.removed.load(Ordering::Acquire);
        let mut connection = self.connect(&open.connect).await?;
        if clearing.rewritten < due && vacuum::clear_free_space(&open.connect, &self.watch).await {
            clearing.rewritten = removed;
        }
        let emptied = space::empty_log(&mut connection, &open.log_length).await;
        let _ = connection.close().await;
        emptied?;
        self.watch.end_rewrite();
        clearing.emptied = removed;
        Ok(())
    }
}
