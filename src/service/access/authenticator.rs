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

/// Most reads of unknown keys at a time, so that the readers of events find connections, and the longest wait for a read.
const MAX_LOOKUPS: usize = 2;
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
    known: Mutex<HashMap<KeyId, CachedKey>>,
    lookups: Semaphore,
}

/// A key of the cache.
struct CachedKey {
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
            keyless: Mutex::new(is_keyless.then(Caller::keyless)),
            known: Mutex::default(),
            lookups: Semaphore::new(MAX_LOOKUPS),
        })
    }

    /// Whether calls need a key now.
    #[must_use]
    pub fn needs_keys(&self) -> bool {
        self.keyless.lock().is_none()
    }

    /// The caller of a request with this key, `key_<id>:<secret>`. A server without keys ignores whatever is presented. `None`: the
    /// store has to be asked, with [`caller`](Self::caller).
    #[must_use]
    pub fn known(&self, presented: Result<Option<&str>, KeyProblem>) -> Option<Result<Caller>> {
        if let Some(caller) = &*self.keyless.lock() {
            return Some(Ok(caller.clone()));
        }
        let refused = |problem| Some(Err(Error::Unauthenticated(problem)));
        let parsed = presented.and_then(|key| key.ok_or(KeyProblem::Missing)?.parse::<Credential>());
        let credential = match parsed {
            Ok(credential) => credential,
            Err(problem) => return refused(problem),
        };
        let mut all = self.known.lock();
        let known = all.get_mut(&credential.key_id).filter(|known| known.read.elapsed() < MAX_AGE)?;
        Some(known.admit(&credential.digest()))
    }

    /// The caller of a request with this key, after a look into the store.
    pub async fn caller(&self, presented: &str) -> Result<Caller> {
        // A store that does not answer in time is unavailable: the other bounds of a call begin after this.
        tokio::time::timeout(MAX_WAIT, self.look_up(presented)).await.map_err(|_| Error::StoreUnavailable)?
    }

    async fn look_up(&self, presented: &str) -> Result<Caller> {
        let _permit = self.lookups.acquire().await.map_err(|_| Error::ShuttingDown)?;
        // Another request with this key may have come first.
        if let Some(caller) = self.known(Ok(Some(presented))) {
            return caller;
        }
        let credential: Credential = presented.parse().map_err(Error::Unauthenticated)?;
        let (key_id, digest) = (&credential.key_id, &credential.digest());
        let read = Instant::now();
        let found = self.store.keys().find(std::slice::from_ref(key_id)).await?.pop();
        let key = found.ok_or(Error::Unauthenticated(KeyProblem::Invalid))?;
        if key.digest != *digest {
            return Err(Error::Unauthenticated(KeyProblem::Invalid));
        }
        let overloaded = || Error::Overloaded { what: "too many keys are in use", retry_after: Duration::from_secs(1) };
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
                new.insert(CachedKey { key, caller, read, used: read, unrecorded: None })
            }
        };
        known.admit(digest)
    }

    /// Reads the keys in use again and again. Never returns.
    pub async fn watch(&self) {
        let mut pulse = tokio::time::interval(REFRESH);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_outage = false;
        loop {
            pulse.tick().await;
            let refreshed = tokio::time::timeout(MAX_WAIT, self.refresh()).await;
            match refreshed.unwrap_or(Err(Error::StoreUnavailable)) {
                Ok(()) => is_outage = false,
                Err(error) if !is_outage => {
                    is_outage = true;
                    tracing::warn!(%error, "the keys in use cannot be read; without them calls are refused");
                }
                Err(_) => {}
            }
        }
    }

    /// Records the uses of keys again and again. Never returns.
    pub async fn watch_uses(&self) {
        loop {
            tokio::time::sleep(RECORD).await;
            self.record_uses().await;
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
            let unrecorded =
                |(key_id, known): (&KeyId, &mut CachedKey)| Some((key_id.clone(), known.unrecorded.take()?));
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

impl CachedKey {
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
