//! The audit log: actions on keys and runs, and refused access, as structured records of the log. Never a secret.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Caller;
use crate::domain::{Error, Result};

/// Target of the records, for filters of the log.
const TARGET: &str = "runlog::audit";

/// Outcome of an action that was carried out.
const DONE: &str = "DONE";

/// Shortest time between two records of the same refusal.
const PAUSE: Duration = Duration::from_secs(60);

/// Most refusals that are remembered; then all are forgotten, and recorded again.
const MAX_REFUSALS: usize = 10_000;

/// An action of a caller on a run or a key. It is recorded when it ends, also where its caller goes away before.
#[derive(Debug)]
pub struct Action {
    caller: Caller,
    name: &'static str,
    /// Id of the run or the key.
    subject: String,
    outcome: &'static str,
}

impl Action {
    /// Begins an action.
    #[must_use]
    pub fn begin(caller: &Caller, name: &'static str, subject: &str) -> Self {
        let outcome = Error::OutcomeUnknown.reason();
        Self { caller: caller.clone(), name, subject: subject.to_owned(), outcome }
    }

    /// Names the subject of an action that made it.
    pub fn made(&mut self, subject: &str) {
        subject.clone_into(&mut self.subject);
    }

    /// Ends the action with this outcome.
    pub fn end<T>(mut self, outcome: &Result<T>) {
        self.outcome = outcome.as_ref().err().map_or(DONE, Error::reason);
    }
}

impl Drop for Action {
    fn drop(&mut self) {
        let Self { caller, name: action, subject, outcome } = self;
        let (key_id, project) = (caller.key_id().map(tracing::field::display), caller.project());
        let address = caller.address().map(tracing::field::display);
        tracing::info!(target: TARGET, action, subject, outcome, key_id, %project, address, "audit");
    }
}

/// Records an access that was refused before it had a caller.
pub fn refused(key_id: Option<&str>, address: Option<IpAddr>, error: &Error) {
    let (outcome, address) = (error.reason(), address.map(tracing::field::display));
    tracing::warn!(target: TARGET, action = "access", outcome, key_id, address, "audit");
}

/// Refusals recorded in the last minute: a flood makes one record a minute.
#[derive(Debug)]
pub struct Refusals<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Refusals<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Refusals<K> {
    /// Whether this refusal is due for a record.
    pub fn is_due(&self, refusal: K) -> bool {
        let now = Instant::now();
        let mut recorded = self.0.lock();
        if recorded.get(&refusal).is_some_and(|at| now.duration_since(*at) < PAUSE) {
            return false;
        }
        if recorded.len() >= MAX_REFUSALS {
            recorded.clear();
        }
        recorded.insert(refusal, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_one_refusal_is_one_record_a_minute_and_memory_is_bounded() {
        let refusals = Refusals::default();
        assert!(refusals.is_due(0) && !refusals.is_due(0) && refusals.is_due(1));
        tokio::time::advance(PAUSE).await;
        assert!(refusals.is_due(0));
        for refusal in 0..3 * MAX_REFUSALS {
            refusals.is_due(refusal);
            assert!(refusals.0.lock().len() <= MAX_REFUSALS);
        }
    }
}
