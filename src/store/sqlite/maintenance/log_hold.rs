//! A backup reads one state of the store for long. SQLite cannot restart the write-ahead log meanwhile, and moving pages that came
//! later is in vain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a backup holds the write-ahead log: then no commit waits for a checkpoint, and the log grows. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct LogHold(Arc<AtomicBool>);

/// The time of one backup; ends when dropped.
#[derive(Debug)]
pub struct Held(LogHold);

impl LogHold {
    /// Begins the time of a backup. There is one at a time.
    pub fn hold(&self) -> Held {
        self.0.store(true, Ordering::Release);
        Held(self.clone())
    }

    pub fn is_held(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}
