//! The check of keys, with a bounded cache. Every replica reads the keys in use again each second, so that a revoked key ends
//! everywhere within seconds, and open streams end with their key.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};

use super::Caller;
use crate::domain::access::{Credential, Digest, Key, KeyProblem};
use crate::domain::{Error, KeyId, Result};
use crate::store::SharedStore;

/// Time between two reads of the keys in use.
const REFRESH: Duration = Duration::from_secs(1);

/// A key that was read longer ago is read again before it is trusted: while the store does not answer, no key is.
const MAX_AGE: Duration = Duration::from_secs(4);

/// A key without a request for this time leaves the cache, unless a stream uses it.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// Most keys in the cache.
const MAX_KEYS: usize = 10_000;

/// Most reads of unknown keys at a time, and the longest wait of another one.
const MAX_LOOKUPS: usize = 16;
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Time between two records of the last uses in the store.
const RECORD: Duration = Duration::from_secs(60);

/// Whether calls need a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// As soon as the store holds a key, revoked and expired ones included.
    Auto,
    /// Always.
    Required,
    /// Never.
    Off,
}

/// Makes a [`Caller`] of the key of a request.
pub struct Authenticator {
    store: SharedStore,
    mode: AuthMode,
    /// The caller of requests without a key, as long as they are served.
    keyless: Mutex<Option<Caller>>,
    known: Mutex<HashMap<KeyId, Known>>,
    lookups: Semaphore,
}

/// A key of the cache.
struct Known {
    key: Key,
    caller: Caller,
    /// When the key was read last.
    read: Instant,
    used: Instant,
    /// Time of the last use that the store does not have yet.
    unrecorded: Option<Timestamp>,
}

impl Authenticator {
    /// Reads whether the store has keys.
    pub async fn open(store: SharedStore, mode: AuthMode) -> Result<Self> {
        let is_keyless = match mode {
            AuthMode::Off => true,
            AuthMode::Required => false,
            AuthMode::Auto => !store.keys().any().await?,
        };
        Ok(Self {
            store,
            mode,
            keyless: Mutex::new(is_keyless.then(Caller::local)),
            known: Mutex::default(),
            lookups: Semaphore::new(MAX_LOOKUPS),
        })
    }

    /// Whether calls need a key now.
    #[must_use]
    pub fn needs_keys(&self) -> bool {
        self.keyless.lock().is_none()
    }

    /// The caller of a request with this key, `key_<id>:<secret>`. A server without keys ignores the key. `None`: the store has
    /// to be asked, with [`caller`](Self::caller).
    #[must_use]
    pub fn known(&self, presented: Option<&str>) -> Option<Result<Caller>> {
        if let Some(caller) = &*self.keyless.lock() {
            return Some(Ok(caller.clone()));
        }
        let refused = |problem| Some(Err(Error::Unauthenticated(problem)));
        let Some(presented) = presented else { return refused(KeyProblem::Missing) };
        let credential = match presented.parse::<Credential>() {
            Ok(credential) => credential,
            Err(problem) => return refused(problem),
        };
        let mut all = self.known.lock();
        let known = all.get_mut(&credential.key_id).filter(|known| known.read.elapsed() < MAX_AGE)?;
        Some(known.admit(&credential.digest()))
    }

    /// The caller of a request with this key, after a look into the store if the key is not known.
    pub async fn caller(&self, presented: Option<&str>) -> Result<Caller> {
        if let Some(known) = self.known(presented) {
            return known;
        }
        let Some(presented) = presented else { return Err(Error::Unauthenticated(KeyProblem::Missing)) };
        let credential: Credential = presented.parse().map_err(Error::Unauthenticated)?;
        self.look_up(&credential.key_id, &credential.digest()).await
    }

    async fn look_up(&self, key_id: &KeyId, digest: &Digest) -> Result<Caller> {
        let what = "too many keys are being looked up";
        let overloaded = || Error::Overloaded { what, retry_after: Duration::from_secs(1) };
        let permit = tokio::time::timeout(MAX_WAIT, self.lookups.acquire()).await;
        let _permit = permit.map_err(|_| overloaded())?.map_err(|_| Error::ShuttingDown)?;
        let read = Instant::now();
        let found = self.store.keys().find(std::slice::from_ref(key_id)).await?.pop();
        let key = found.ok_or(Error::Unauthenticated(KeyProblem::Invalid))?;
        if key.digest != *digest {
            return Err(Error::Unauthenticated(KeyProblem::Invalid));
        }
        let mut all = self.known.lock();
        if all.len() >= MAX_KEYS && !all.contains_key(key_id) {
            let idle = all.iter().filter(|(_, known)| !known.caller.is_in_use() && known.unrecorded.is_none());
            let oldest = idle.min_by_key(|(_, known)| known.used).map(|(key_id, _)| key_id.clone());
            all.remove(&oldest.ok_or_else(overloaded)?);
        }
        let known = match all.entry(key_id.clone()) {
            Entry::Occupied(known) => {
                let known = known.into_mut();
                known.read_again(key, read);
                known
            }
            Entry::Vacant(new) => {
                let caller = Caller::of(&key);
                new.insert(Known { key, caller, read, used: read, unrecorded: None })
            }
        };
        known.admit(digest)
    }

    /// Reads the keys in use again and again, and records their uses. Never returns.
    pub async fn watch(&self) {
        let mut pulse = tokio::time::interval(REFRESH);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut recorded = Instant::now();
        loop {
            pulse.tick().await;
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "the keys in use cannot be read");
            }
            if recorded.elapsed() >= RECORD {
                recorded = Instant::now();
                self.record_uses().await;
            }
        }
    }

    async fn refresh(&self) -> Result<()> {
        if self.mode == AuthMode::Auto && !self.needs_keys() {
            if !self.store.keys().any().await? {
                return Ok(());
            }
            tracing::info!("the store holds a key: from now on every call needs one");
            if let Some(caller) = self.keyless.lock().take() {
                caller.end(KeyProblem::Missing);
            }
        }
        let key_ids: Vec<KeyId> = {
            let mut all = self.known.lock();
            all.retain(|_, known| {
                known.caller.is_in_use() || known.unrecorded.is_some() || known.used.elapsed() < MAX_IDLE
            });
            all.keys().cloned().collect()
        };
        if key_ids.is_empty() {
            return Ok(());
        }
        let read = Instant::now();
        let mut keys: HashMap<KeyId, Key> =
            self.store.keys().find(&key_ids).await?.into_iter().map(|key| (key.key_id.clone(), key)).collect();
        let mut all = self.known.lock();
        for key_id in key_ids {
            let Entry::Occupied(mut known) = all.entry(key_id.clone()) else { continue };
            match keys.remove(&key_id) {
                Some(key) => known.get_mut().read_again(key, read),
                None => {
                    // A store that was put back as it was before.
                    known.get().caller.end(KeyProblem::Invalid);
                    known.remove();
                }
            }
        }
        Ok(())
    }

    /// Writes the times of the last uses to the store.
    pub async fn record_uses(&self) {
        let uses: Vec<(KeyId, Timestamp)> = {
            let mut all = self.known.lock();
            let unrecorded = |(key_id, known): (&KeyId, &mut Known)| Some((key_id.clone(), known.unrecorded.take()?));
            all.iter_mut().filter_map(unrecorded).collect()
        };
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.store.keys().used(&uses).await {
            tracing::warn!(%error, "the last uses of keys are not recorded");
        }
    }
}

impl Known {
    /// The caller, if the secret is right and the key has not ended.
    fn admit(&mut self, digest: &Digest) -> Result<Caller> {
        if self.key.digest != *digest {
            return Err(Error::Unauthenticated(KeyProblem::Invalid));
        }
        let now = Timestamp::now();
        self.key.check(now).map_err(Error::Unauthenticated)?;
        self.used = Instant::now();
        self.unrecorded = Some(now);
        Ok(self.caller.clone())
    }

    /// Takes what the store has now. An older read than the last one says nothing.
    fn read_again(&mut self, key: Key, read: Instant) {
        if read < self.read {
            return;
        }
        match key.check(Timestamp::now()) {
            Err(problem) => self.caller.end(problem),
            // A store that was put back as it was before.
            Ok(()) if self.caller.check().is_err() => self.caller = Caller::of(&key),
            Ok(()) => {}
        }
        (self.key, self.read) = (key, read);
    }
}
