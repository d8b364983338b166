//! Rewrites of stored rows, as readers see them. Retention and erasure change rows of the log and their entries in the index
//! in one transaction, and a reader takes several statements for a page. So a generation changes before and after each such
//! COMMIT: what does not fit together is damage only if no rewrite came between, and is read again otherwise.

use std::collections::HashMap;

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::domain::Error;
use crate::store::ProjectNumber;

use super::feed_floors::FeedFloor;

/// Generation of the rows, and the first position of each feed.
#[derive(Debug, Default)]
pub struct Rewrites {
    /// Odd while a rewrite is being committed.
    generation: watch::Sender<u64>,
    floors: RwLock<HashMap<ProjectNumber, FeedFloor>>,
}

/// Failure of a read of several statements.
#[derive(Debug)]
pub enum ReadError {
    /// A rewrite came between the statements: the caller reads again.
    Stale,
    Failed(Error),
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The generation at the begin of a read.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    rewrites: &'a Rewrites,
    generation: u64,
}

impl Seen<'_> {
    /// Fails if a rewrite came between: before anything is called damage.
    pub fn check(&self) -> Result<(), ReadError> {
        let is_same = *self.rewrites.generation.borrow() == self.generation;
        if is_same { Ok(()) } else { Err(ReadError::Stale) }
    }
}

/// A rewrite that is being committed; ends when dropped.
#[derive(Debug)]
pub struct Rewriting<'a>(&'a Rewrites);

impl Drop for Rewriting<'_> {
    fn drop(&mut self) {
        self.0.generation.send_modify(|generation| *generation += 1);
    }
}

impl Rewrites {
    /// With the floors read from the file.
    pub fn new(floors: Vec<FeedFloor>) -> Self {
        let rewrites = Self::default();
        floors.into_iter().for_each(|floor| rewrites.set_floor(floor));
        rewrites
    }

    /// Begin of a read of several statements; waits for the COMMIT of a rewrite.
    pub async fn seen(&self) -> Seen<'_> {
        let mut generation = self.generation.subscribe();
        let settled = generation.wait_for(|generation| generation.is_multiple_of(2)).await.map(|now| *now);
        // Never fails: the sender is a field of `self`.
        Seen { rewrites: self, generation: settled.unwrap_or_default() }
    }

    /// Begins the COMMIT of a rewrite; one at a time.
    pub fn begin(&self) -> Rewriting<'_> {
        self.generation.send_modify(|generation| *generation += 1);
        Rewriting(self)
    }

    /// First position of the feed of a project. Changes only during a rewrite.
    pub fn first(&self, project: ProjectNumber) -> u64 {
        self.floors.read().get(&project).map_or(1, FeedFloor::first)
    }

    pub fn set_floor(&self, floor: FeedFloor) {
        if let Some(project) = floor.project() {
            self.floors.write().insert(project, floor);
        }
    }
}
