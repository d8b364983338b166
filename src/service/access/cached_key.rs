//! A key in the cache of the authenticator.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Caller;
use super::key_limits::{AccessLimits, KeyLimits};
use crate::domain::access::{Digest, Key, KeyProblem};
use crate::store::ProjectNumber;

/// A key without a request for this time leaves the cache, unless a stream uses it or its limits have not recovered.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// A key of the cache.
pub struct CachedKey {
    pub key: Key,
    pub caller: Caller,
    /// When the key was read last.
    pub read: Instant,
    pub used: Instant,
    /// Time of the last use that the store does not have yet.
    pub unrecorded: Option<Timestamp>,
}

impl CachedKey {
    /// The caller, if the secret is right and the key has not ended. `None`: a token names the key.
    pub fn admit(&mut self, digest: Option<&Digest>) -> Result<Caller, KeyProblem> {
        if digest.is_some_and(|digest| self.key.digest != *digest) {
            return Err(KeyProblem::Invalid);
        }
        let now = Timestamp::now();
        self.key.check(now)?;
        self.used = Instant::now();
        self.unrecorded = Some(now);
        Ok(self.caller.clone())
    }

    /// Whether the key may leave the cache: nothing uses it, and its last use is recorded.
    pub fn is_idle(&self) -> bool {
        !self.caller.is_in_use() && self.unrecorded.is_none()
    }

    /// A key that left the cache before its limits have recovered would come back with all of them.
    pub fn max_idle(&self) -> Duration {
        MAX_IDLE.max(self.caller.limits().recovery())
    }

    /// Takes what the store has now; `project` is the number of the key's project. An older read than the last one says nothing.
    pub fn read_again(&mut self, key: Key, project: ProjectNumber, read: Instant, limits: AccessLimits) {
        if read < self.read {
            return;
        }
        if project != self.caller.project_number() {
            // A store that lost the creation of the project, which was created again with another number.
            self.caller.end(KeyProblem::Invalid);
        }
        match key.check(Timestamp::now()) {
            Err(problem) => self.caller.end(problem),
            // A store that was put back as it was before.
            Ok(()) if self.caller.check().is_err() => self.caller = Caller::of(&key, project, KeyLimits::new(limits)),
            Ok(()) => {}
        }
        (self.key, self.read) = (key, read);
    }
}
