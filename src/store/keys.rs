//! The [`KeyStore`] trait, whose comments are the contract, and the rows of keys and secrets, the same in both stores.

use std::borrow::Cow;

use async_trait::async_trait;
use jiff::Timestamp;

use super::checksum::Checksum;
use crate::domain::access::{Digest, Key, Secret};
use crate::domain::{Error, KeyId, KeyScopes, ProjectId, Result};

/// Keys of callers, and secrets of the server. A key is never deleted, so that a store that once had a key never serves callers
/// without one.
///
/// Every method may fail with `StoreUnavailable`, `StoreLost`, `StoreDamaged`, `StoreFull`, `StoreReadOnly` or `Internal`, and one
/// that writes with `OutcomeUnknown`. A row that does not match its checksum is logged and read as no row; a change of it fails
/// with `StoreDamaged`, and so does a read of a secret.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Stores a new key. Fails with `KeyExists` if a key with this id and another digest exists.
    async fn create(&self, key: &Key) -> Result<()>;

    /// The keys with these ids, in the order of ids. Unknown ids are left out.
    async fn find(&self, key_ids: &[KeyId]) -> Result<Vec<Key>>;

    /// The keys of one project, or of all, after this id in the order of ids: at most `limit` rows, of which damaged ones are left
    /// out.
    async fn list(&self, project: Option<&ProjectId>, after: Option<&KeyId>, limit: usize) -> Result<KeyList>;

    /// Whether there is any key, revoked and expired ones included.
    async fn any(&self) -> Result<bool>;

    /// Revokes a key. A second revocation changes nothing. Fails with `KeyNotFound`.
    async fn revoke(&self, key_id: &KeyId, at: Timestamp) -> Result<Key>;

    /// Stores the new key and lets the old one expire at `until`, unless the old one ends before, in one transaction. Returns the
    /// old key. Fails with `KeyNotFound`, and with `KeyEnded` if the old key is revoked or has expired at `now`.
    async fn rotate(&self, old: &KeyId, until: Timestamp, new: &Key, now: Timestamp) -> Result<Key>;

    /// Records the times of recent uses.
    async fn used(&self, uses: &[(KeyId, Timestamp)]) -> Result<()>;

    /// The secret with this name, the same for all replicas; `None` before the first [`create_secret`](Self::create_secret).
    async fn secret(&self, name: &str) -> Result<Option<Secret>>;

    /// Stores a secret. If there is one with this name, that one stays.
    async fn create_secret(&self, name: &str, secret: &Secret, at: Timestamp) -> Result<()>;
}

/// A part of a list of keys.
#[derive(Clone, Debug)]
pub struct KeyList {
    /// The keys.
    pub keys: Vec<Key>,
    /// Id after which the next part begins; `None`: the list has no more rows.
    pub next: Option<KeyId>,
}

impl KeyList {
    /// The part that these rows are, at most `limit`.
    pub(super) fn of(rows: Vec<KeyRow>, limit: usize) -> Self {
        let last = rows.last().filter(|_| rows.len() >= limit);
        let next = last.and_then(|row| KeyId::parse(&row.key_id).ok());
        Self { keys: rows.into_iter().filter_map(|row| row.into_key().ok()).collect(), next }
    }
}

/// Stands before the name of another project than `default` in the column `project`, which a program without projects does not
/// read as a key: it would serve the runs of `default` to its holder.
const OTHER_PROJECT: char = '@';

/// Text of the column `project`.
pub(super) fn stored_project(project: &ProjectId) -> Cow<'_, str> {
    if project.as_str() == ProjectId::DEFAULT {
        ProjectId::DEFAULT.into()
    } else {
        format!("{OTHER_PROJECT}{project}").into()
    }
}

/// Columns of [`KeyRow`].
macro_rules! key_columns {
    () => {
        "key_id, digest, project, name, scopes, created_ms, expires_ms, revoked_ms, used_ms, checksum"
    };
}
pub(crate) use key_columns;

/// A row of the table `keys`; the migrations describe its columns.
#[derive(Debug, sqlx::FromRow)]
pub struct KeyRow {
    pub key_id: String,
    pub digest: Vec<u8>,
    pub project: String,
    pub name: String,
    pub scopes: String,
    pub created_ms: i64,
    pub expires_ms: Option<i64>,
    pub revoked_ms: Option<i64>,
    pub used_ms: Option<i64>,
    pub checksum: i64,
}

impl KeyRow {
    /// The row of a key, with its checksum.
    pub fn of(key: &Key) -> Self {
        let row = Self {
            key_id: key.key_id.to_string(),
            digest: key.digest.0.to_vec(),
            project: stored_project(&key.project).into_owned(),
            name: key.name.clone(),
            scopes: key.scopes.to_text(),
            created_ms: key.created_at.as_millisecond(),
            expires_ms: key.expires_at.map(|time| time.as_millisecond()),
            revoked_ms: key.revoked_at.map(|time| time.as_millisecond()),
            used_ms: key.last_used_at.map(|time| time.as_millisecond()),
            checksum: 0,
        };
        Self { checksum: row.sum(), ..row }
    }

    /// The key. Fails with `StoreDamaged` if the row does not match its checksum.
    pub fn into_key(self) -> Result<Key> {
        let key = if self.checksum == self.sum() { self.read() } else { None };
        key.ok_or_else(|| {
            tracing::error!(key_id = self.key_id, "damaged: the row of a key");
            Error::StoreDamaged
        })
    }

    fn read(&self) -> Option<Key> {
        let time = |ms: Option<i64>| ms.map(Timestamp::from_millisecond).transpose().ok();
        Some(Key {
            key_id: KeyId::parse(&self.key_id).ok()?,
            digest: Digest(self.digest.as_slice().try_into().ok()?),
            project: ProjectId::parse(self.project.strip_prefix(OTHER_PROJECT).unwrap_or(&self.project)).ok()?,
            name: self.name.clone(),
            scopes: KeyScopes::parse(&self.scopes).ok()?,
            created_at: Timestamp::from_millisecond(self.created_ms).ok()?,
            expires_at: time(self.expires_ms)?,
            revoked_at: time(self.revoked_ms)?,
            last_used_at: time(self.used_ms)?,
        })
    }

    fn sum(&self) -> i64 {
        Checksum::default()
            .bytes(self.key_id.as_bytes())
            .bytes(&self.digest)
            .bytes(self.project.as_bytes())
            .bytes(self.name.as_bytes())
            .bytes(self.scopes.as_bytes())
            .number(self.created_ms)
            .number(self.expires_ms.unwrap_or(i64::MIN))
            .number(self.revoked_ms.unwrap_or(i64::MIN))
            .finish()
    }
}

/// Columns of [`SecretRow`].
macro_rules! secret_columns {
    () => {
        "name, value, created_ms, checksum"
    };
}
pub(crate) use secret_columns;

/// A row of the table `secrets`; the migrations describe its columns.
#[derive(sqlx::FromRow)]
pub struct SecretRow {
    pub name: String,
    pub value: Vec<u8>,
    pub created_ms: i64,
    pub checksum: i64,
}

impl SecretRow {
    /// The row of a secret, with its checksum.
    pub fn of(name: &str, secret: &Secret, at: Timestamp) -> Self {
        let (name, value, created_ms) = (name.to_owned(), secret.0.to_vec(), at.as_millisecond());
        let row = Self { name, value, created_ms, checksum: 0 };
        Self { checksum: row.sum(), ..row }
    }

    /// The secret. Fails with `StoreDamaged` if the row does not match its checksum.
    pub fn into_secret(self) -> Result<Secret> {
        let value = if self.checksum == self.sum() { self.value.as_slice().try_into().ok() } else { None };
        value.map(Secret).ok_or_else(|| {
            tracing::error!(name = self.name, "damaged: the row of a secret");
            Error::StoreDamaged
        })
    }

    fn sum(&self) -> i64 {
        Checksum::default().bytes(self.name.as_bytes()).bytes(&self.value).number(self.created_ms).finish()
    }
}

/// The old key of a rotation, which expires at `until` or before. Fails with `KeyEnded`.
pub fn rotated(old: Key, until: Timestamp, now: Timestamp) -> Result<Key> {
    old.check(now).map_err(|_| Error::KeyEnded { key_id: old.key_id.to_string() })?;
    let expires_at = Some(old.expires_at.map_or(until, |expires_at| expires_at.min(until)));
    Ok(Key { expires_at, ..old })
}
