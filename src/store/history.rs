//! The current history (list of epochs) of an open store. A PostgreSQL store may replace its history while serving.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::domain::history::{Epoch, History};

use super::CommitListener;

/// The current history and a counter of its replacements.
pub struct CurrentHistory {
    history: RwLock<Arc<History>>,
    generation: AtomicU64,
}

impl CurrentHistory {
    /// Starts with this history, in generation 0.
    pub fn new(history: History) -> Self {
        Self { history: RwLock::new(Arc::new(history)), generation: AtomicU64::new(0) }
    }

    /// The current history.
    pub fn get(&self) -> Arc<History> {
        Arc::clone(&self.history.read())
    }

    /// Number of replacements.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Replaces the history and makes the listener drop its cached events, atomically. Every later read belongs to a
    /// later generation.
    pub fn replace(&self, history: History, listener: &dyn CommitListener) {
        let mut current = self.history.write();
        *current = Arc::new(history);
        self.generation.fetch_add(1, Ordering::AcqRel);
        listener.history_changed();
    }

    /// Announces a commit unless the generation has changed since the commit was read. Returns whether the commit was
    /// announced.
    pub fn announce(&self, generation: u64, announce: impl FnOnce()) -> bool {
        let _current = self.history.read();
        let is_same = self.generation() == generation;
        if is_same {
            announce();
        }
        is_same
    }
}

/// A new epoch that begins after this position, with a random id.
pub fn begin_epoch(start: u64) -> Epoch {
    let random = uuid::Uuid::new_v4().as_u128();
    // The upper 32 bits of a version 4 UUID are random; version and variant bits lie further down.
    let id = u32::try_from(random >> 96).unwrap_or_default().max(1);
    Epoch { id, start }
}
