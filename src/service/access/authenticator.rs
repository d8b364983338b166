//! The check of keys and stream tokens, with a bounded cache of keys. Every replica reads the keys in use again each second, so
//! that a revoked key ends everywhere within seconds, and open streams end with their key.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};

use super::cached_key::CachedKey;
use super::failed_keys::FailedKeys;
use super::key_limits::{AccessLimits, KeyLimits};
use super::stream_tokens::StreamTokens;
use super::{Caller, Presented};
use crate::domain::access::{Digest, Key, KeyProblem, StreamToken};
use crate::domain::{Error, KeyId, Result};
use crate::store::{ProjectNumber, SharedStore};
use crate::telemetry;

/// Time between two reads of the keys in use.
const REFRESH: Duration = Duration::from_secs(1);

/// A key that was read longer ago is read again before it is trusted: while the store does not answer, no key is.
const MAX_AGE: Duration = Duration::from_secs(4);

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

/// Makes a [`Caller`] of what a request presents.
pub struct Authenticator {
    store: SharedStore,
    mode: AuthMode,
    /// The caller of requests without a key, as long as they are served.
    keyless: Mutex<Option<Caller>>,
    known: Mutex<HashMap<KeyId, CachedKey>>,
    lookups: Semaphore,
    limits: AccessLimits,
    failed_keys: FailedKeys,
    tokens: StreamTokens,
}

impl Authenticator {
    /// Reads whether the store has keys.
    pub async fn open(store: SharedStore, mode: AuthMode, limits: AccessLimits) -> Result<Self> {
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
            limits,
            failed_keys: FailedKeys::new(limits.failed_keys),
            tokens: StreamTokens::default(),
        })
    }

    /// Whether calls need a key now.
    #[must_use]
    pub fn needs_keys(&self) -> bool {
        self.keyless.lock().is_none()
    }

    /// The caller of a request from this address. A server without keys ignores whatever stands for a key, and checks a token as it
    /// would with keys. Fails with `Unauthenticated`, or with `RateLimited` if the address has too many failed keys. `None`: the
    /// store has to be asked, with [`caller`](Self::caller).
    #[must_use]
    pub fn known(&self, presented: &Presented<'_>, from: IpAddr) -> Option<Result<Caller>> {
        if let Presented::Token(text) = presented {
            let refused = |problem| Some(Err(Error::Unauthenticated(problem)));
            return self.tokens.known(text)?.map_or_else(refused, |token| self.known_bearer(&token, from));
        }
        if let Some(caller) = &*self.keyless.lock() {
            return Some(Ok(caller.clone()));
        }
        match presented.credential() {
            Ok(credential) => self.known_holder(&credential.key_id, Some(&credential.digest()), from),
            Err(problem) => Some(self.counted(Err(problem), from)),
        }
    }

    fn known_holder(&self, key_id: &KeyId, digest: Option<&Digest>, from: IpAddr) -> Option<Result<Caller>> {
        let mut all = self.known.lock();
        let known = all.get_mut(key_id).filter(|known| known.read.elapsed() < MAX_AGE)?;
        let admitted = known.admit(digest);
        drop(all);
        Some(self.counted(admitted, from))
    }

    fn known_bearer(&self, token: &StreamToken, from: IpAddr) -> Option<Result<Caller>> {
        let keyless = self.keyless.lock().clone();
        let holder = match (keyless, &token.key_id) {
            (Some(caller), _) => Ok(caller),
            (None, Some(key_id)) => self.known_holder(key_id, None, from)?,
            // The token was issued before the store had a key.
            (None, None) => Err(Error::Unauthenticated(KeyProblem::TokenInvalid)),
        };
        Some(holder.and_then(|holder| holder.bearer_of(token)))
    }

    /// Counts a key that is not valid.
    fn counted(&self, admitted: Result<Caller, KeyProblem>, from: IpAddr) -> Result<Caller> {
        admitted.map_err(|problem| match problem {
            KeyProblem::Invalid => self.failed_keys.count(from),
            problem => Error::Unauthenticated(problem),
        })
    }

    /// The caller of a request, after a look into the store.
    pub async fn caller(&self, presented: &Presented<'_>, from: IpAddr) -> Result<Caller> {
        // An address with too many failed keys does not even wait.
        self.may_look_up(presented, from)?;
        // A store that does not answer in time is unavailable: the other bounds of a call begin after this.
        let looked_up = tokio::time::timeout(MAX_WAIT, self.look_up(presented, from)).await;
        looked_up.map_err(|_| Error::StoreUnavailable)?
    }

    /// Fails with `RateLimited` if the address has too many failed keys. A key in use is read again all the same.
    fn may_look_up(&self, presented: &Presented<'_>, from: IpAddr) -> Result<()> {
        let Ok(credential) = presented.credential() else { return Ok(()) };
        let digest = credential.digest();
        let is_in_use = self.known.lock().get(&credential.key_id).is_some_and(|known| known.key.digest == digest);
        if is_in_use { Ok(()) } else { self.failed_keys.check(from) }
    }

    async fn look_up(&self, presented: &Presented<'_>, from: IpAddr) -> Result<Caller> {
        let _permit = self.lookups.acquire().await.map_err(|_| Error::ShuttingDown)?;
        // Another request with this key may have come first.
        if let Some(caller) = self.known(presented, from) {
            return caller;
        }
        // Other keys of the address may have failed during the wait.
        self.may_look_up(presented, from)?;
        let Presented::Token(text) = presented else {
            let credential = presented.credential().map_err(Error::Unauthenticated)?;
            return self.read_holder(&credential.key_id, Some(&credential.digest()), from).await;
        };
        let token = self.tokens.check(self.store.keys(), text).await?;
        match (self.known_bearer(&token, from), &token.key_id) {
            (None, Some(key_id)) => self.read_holder(key_id, None, from).await?.bearer_of(&token),
            (known, _) => known.unwrap_or(Err(Error::Unauthenticated(KeyProblem::TokenInvalid))),
        }
    }

    /// Reads a key, and admits its caller if the digest is right. `None`: a token names the key.
    async fn read_holder(&self, key_id: &KeyId, digest: Option<&Digest>, from: IpAddr) -> Result<Caller> {
        telemetry::KEY_LOOKUPS.add(1);
        let read = Instant::now();
        let found = self.store.keys().find(std::slice::from_ref(key_id)).await?.pop();
        let Some(key) = found.filter(|key| digest.is_none_or(|digest| key.digest == *digest)) else {
            return self.counted(Err(KeyProblem::Invalid), from);
        };
        // A project is created before its first key, and never removed.
        let project = self.store.project(&key.project).await?.ok_or(Error::StoreDamaged)?;
        let overloaded = || Error::Overloaded { what: "too many keys are in use", retry_after: Duration::from_secs(1) };
        let mut all = self.known.lock();
        if all.len() >= MAX_KEYS && !all.contains_key(key_id) {
            let idle = all.iter().filter(|(_, known)| known.is_idle());
            let oldest = idle.min_by_key(|(_, known)| known.used).map(|(key_id, _)| key_id.clone());
            all.remove(&oldest.ok_or_else(overloaded)?);
        }
        let known = match all.entry(key_id.clone()) {
            Entry::Occupied(known) => {
                let known = known.into_mut();
                known.read_again(key, project, read, self.limits);
                known
            }
            Entry::Vacant(new) => {
                let caller = Caller::of(&key, project, KeyLimits::new(self.limits));
                new.insert(CachedKey { key, caller, read, used: read, unrecorded: None })
            }
        };
        let admitted = known.admit(digest);
        drop(all);
        self.counted(admitted, from)
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
            all.retain(|_, known| !known.is_idle() || known.used.elapsed() < known.max_idle());
            all.keys().cloned().collect()
        };
        if key_ids.is_empty() {
            return Ok(());
        }
        let read = Instant::now();
        let mut keys: HashMap<KeyId, (Key, ProjectNumber)> = HashMap::with_capacity(key_ids.len());
        for key in self.store.keys().find(&key_ids).await? {
            // The store has its projects in memory.
            if let Some(project) = self.store.project(&key.project).await? {
                keys.insert(key.key_id.clone(), (key, project));
            }
        }
        let mut all = self.known.lock();
        for key_id in key_ids {
            let Entry::Occupied(mut known) = all.entry(key_id.clone()) else { continue };
            match keys.remove(&key_id) {
                Some((key, project)) => known.get_mut().read_again(key, project, read, self.limits),
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
