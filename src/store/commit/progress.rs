//! Progress of the committer: one half of readiness; the other half is whether the store answers reads.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::event::Appended;
use crate::domain::{Error, Result};

/// Maximum duration of a commit before the store counts as stuck.
const MAX_COMMIT_TIME: Duration = Duration::from_secs(5);

/// Duration for which a failed commit makes the store unready if no other commit follows. Afterwards the next publish
/// decides.
const FAILURE_COUNTS: Duration = Duration::from_secs(10);

/// Progress of the committer, shared with the readiness check.
#[derive(Debug, Default)]
pub struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Groups taken from the queue and not answered yet.
    in_hand: usize,
    /// Time since which the oldest unanswered group is the oldest.
    since: Option<Instant>,
    /// Error and time of the last group, if no append of the group was stored.
    failure: Option<(Error, Instant)>,
}

impl Progress {
    /// Records that the committer has taken a group.
    pub fn taken(&self) {
        self.change(|state| {
            state.in_hand += 1;
            state.since.get_or_insert_with(Instant::now);
        });
    }

    /// Records the outcomes of a group.
    pub fn answered(&self, outcomes: &[Result<Appended>]) {
        let is_stored = outcomes.iter().any(Result::is_ok);
        let failure = outcomes.iter().find_map(|outcome| outcome.as_ref().err().filter(|error| is_of_store(error)));
        self.change(|state| {
            state.in_hand = state.in_hand.saturating_sub(1);
            state.since = (state.in_hand > 0).then(Instant::now);
            if is_stored {
                state.failure = None;
            } else if let Some(error) = failure {
                state.failure = Some((error.clone(), Instant::now()));
            }
        });
    }

    /// Fails if publishes cannot be stored at the moment, as far as the last groups show.
    pub fn check(&self) -> Result<()> {
        self.change(|state| match (&state.failure, state.since) {
            (_, Some(since)) if since.elapsed() > MAX_COMMIT_TIME => Err(Error::StoreUnavailable),
            (Some((error, at)), _) if at.elapsed() < FAILURE_COUNTS => Err(error.clone()),
            _ => Ok(()),
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock())
    }
}

/// Whether an error concerns the whole store. `StoreDamaged` and `Internal` may concern a single run, and the producers
/// of one run must not make the server unready for all others.
fn is_of_store(error: &Error) -> bool {
    use Error::{OutcomeUnknown, StoreFull, StoreLost, StoreReadOnly, StoreUnavailable};
    matches!(error, OutcomeUnknown | StoreFull | StoreLost { .. } | StoreReadOnly | StoreUnavailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RunStatus;

    fn stored() -> Vec<Result<Appended>> {
        vec![Ok(Appended { events: Vec::new(), status: RunStatus::Running, last_seq: 1 })]
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_is_in_hand_for_too_long_makes_the_store_unready_until_it_is_answered() {
        let progress = Progress::default();
        progress.taken();
        tokio::time::advance(MAX_COMMIT_TIME).await;
        assert!(progress.check().is_ok());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(progress.check().unwrap_err().reason(), "STORE_UNAVAILABLE");
        progress.taken();
        progress.answered(&stored());
        assert!(progress.check().is_ok(), "the next one has its own time");
        tokio::time::advance(2 * MAX_COMMIT_TIME).await;
        assert!(progress.check().is_err());
        progress.answered(&stored());
        assert!(progress.check().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_of_the_store_counts_for_a_while_or_until_something_is_stored() {
        let progress = Progress::default();
        let answered = |outcomes: &[Result<Appended>]| {
            progress.taken();
            progress.answered(outcomes);
        };
        answered(&[Err(Error::StoreFull)]);
        assert_eq!(progress.check().unwrap_err().reason(), "STORE_FULL");
        answered(&[Err(Error::RunChanged { run_id: "r".to_owned() })]);
        assert_eq!(progress.check().unwrap_err().reason(), "STORE_FULL", "a refusal says nothing about the store");
        answered(&stored());
        assert!(progress.check().is_ok());
        answered(&[Err(Error::StoreDamaged)]);
        answered(&[Err(Error::internal("a test"))]);
        answered(&[Err(Error::StoreUnavailable), stored().remove(0)]);
        assert!(progress.check().is_ok(), "one run is not the store");
        answered(&[Err(Error::OutcomeUnknown)]);
        assert_eq!(progress.check().unwrap_err().reason(), "OUTCOME_UNKNOWN");
        tokio::time::advance(FAILURE_COUNTS).await;
        assert!(progress.check().is_ok());
    }
}
