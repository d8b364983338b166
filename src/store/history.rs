//! The history of an open store: its epochs, which a store in PostgreSQL may learn to be others while it serves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::history::{Epoch, History};

use super::CommitListener;

/// See the module.
pub struct CurrentHistory {
    history: RwLock<Arc<History>>,
    generation: AtomicU64,
}

impl CurrentHistory {
    /// Begins with this one.
    pub fn new(history: History) -> Self {
        Self { history: RwLock::new(Arc::new(history)), generation: AtomicU64::new(0) }
    }

    /// As it is known now.
    pub fn get(&self) -> Arc<History> {
        Arc::clone(&self.history.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often it has changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes another one, in one step with the listener forgetting what it keeps of the former. Whatever is read after that is
    /// of a later generation.
    pub fn replace(&self, history: History, listener: &dyn CommitListener) {
        let mut current = self.history.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(history);
        self.generation.fetch_add(1, Ordering::AcqRel);
        listener.history_changed();
    }

    /// Announces a commit, unless it was read in another generation.
    pub fn announce(&self, generation: u64, announce: impl FnOnce()) -> bool {
        let _current = self.history.read().unwrap_or_else(PoisonError::into_inner);
        let is_same = self.generation() == generation;
        if is_same {
            announce();
        }
        is_same
    }
}

/// An epoch that begins after this position, with an id that no other has.
pub fn begin_epoch(start: u64) -> Epoch {
    let random = uuid::Uuid::new_v4().as_u128();
    // The version of the UUID lies elsewhere.
    let id = u32::try_from(random >> 96).unwrap_or_default().max(1);
    Epoch { id, start }
}
