//! Keys and secrets in the file.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Sqlite, SqlitePool, Transaction};

use super::error::from_sqlx;
use super::rare_writes::{RareWrites, written};
use crate::domain::access::{Key, Secret};
use crate::domain::{Error, KeyId, ProjectId, Result};
use crate::store::keys::{KeyList, KeyRow, KeyStore, SecretRow, key_columns, rotated, secret_columns, stored_project};

const FIND: &str = concat!("SELECT ", key_columns!(), " FROM keys WHERE key_id = ?");
const LIST: &str = concat!(
    "SELECT ",
    key_columns!(),
    " FROM keys WHERE key_id > ? AND project = coalesce(?, project) ORDER BY key_id LIMIT ?"
);
const ANY: &str = "SELECT EXISTS (SELECT 1 FROM keys)";
const INSERT: &str =
    concat!("INSERT INTO keys (", key_columns!(), ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING");
const END: &str = "UPDATE keys SET expires_ms = ?, revoked_ms = ?, checksum = ? WHERE key_id = ?";
const USED: &str = "UPDATE keys SET used_ms = ? WHERE key_id = ?";
const SECRET: &str = concat!("SELECT ", secret_columns!(), " FROM secrets WHERE name = ?");
const INSERT_SECRET: &str =
    concat!("INSERT INTO secrets (", secret_columns!(), ") VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING");

/// The tables `keys` and `secrets` of a file.
pub struct SqliteKeys {
    pub readers: SqlitePool,
    pub writes: Arc<RareWrites>,
}

/// Most uses in one transaction.
const USES_AT_ONCE: usize = 100;

#[async_trait]
impl KeyStore for SqliteKeys {
    async fn create(&self, key: &Key) -> Result<()> {
        written!(&self.writes, transaction => insert(&mut transaction, key).await)
    }

    async fn find(&self, key_ids: &[KeyId]) -> Result<Vec<Key>> {
        self.writes.watch.verdict()?;
        let mut reader = self.readers.acquire().await.map_err(from_sqlx)?;
        let mut found = Vec::with_capacity(key_ids.len());
        for key_id in key_ids {
            let query = sqlx::query_as::<_, KeyRow>(FIND).bind(key_id.as_str());
            let row = query.fetch_optional(&mut *reader).await.map_err(from_sqlx)?;
            found.extend(row.and_then(|row| row.into_key().ok()));
        }
        found.sort_by(|a, b| a.key_id.cmp(&b.key_id));
        Ok(found)
    }

    async fn list(&self, project: Option<&ProjectId>, after: Option<&KeyId>, limit: usize) -> Result<KeyList> {
        self.writes.watch.verdict()?;
        let query = sqlx::query_as::<_, KeyRow>(LIST).bind(after.map_or("", KeyId::as_str));
        let query = query.bind(project.map(stored_project)).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        Ok(KeyList::of(query.fetch_all(&self.readers).await.map_err(from_sqlx)?, limit))
    }

    async fn any(&self) -> Result<bool> {
        self.writes.watch.verdict()?;
        sqlx::query_scalar(ANY).fetch_one(&self.readers).await.map_err(from_sqlx)
    }

    async fn revoke(&self, key_id: &KeyId, at: Timestamp) -> Result<Key> {
        written!(&self.writes, transaction => async {
            let key = one(&mut transaction, key_id).await?;
            let key = Key { revoked_at: key.revoked_at.or(Some(at)), ..key };
            end(&mut transaction, &key).await?;
            Ok::<_, Error>(key)
        }.await)
    }

    async fn rotate(&self, old: &KeyId, until: Timestamp, new: &Key, now: Timestamp) -> Result<Key> {
        written!(&self.writes, transaction => async {
            let old = rotated(one(&mut transaction, old).await?, until, now)?;
            end(&mut transaction, &old).await?;
            insert(&mut transaction, new).await?;
            Ok::<_, Error>(old)
        }.await)
    }

    async fn used(&self, uses: &[(KeyId, Timestamp)]) -> Result<()> {
        for uses in uses.chunks(USES_AT_ONCE) {
            let write = async || {
                written!(&self.writes, transaction => async {
                for (key_id, at) in uses {
                    let query = sqlx::query(USED).bind(at.as_millisecond()).bind(key_id.as_str());
                    query.execute(&mut *transaction).await.map_err(from_sqlx)?;
                }
                Ok::<_, Error>(())
            }.await)
            };
            write().await?;
        }
        Ok(())
    }

    async fn secret(&self, name: &str) -> Result<Option<Secret>> {
        self.writes.watch.verdict()?;
        let row = sqlx::query_as::<_, SecretRow>(SECRET).bind(name).fetch_optional(&self.readers).await;
        row.map_err(from_sqlx)?.map(SecretRow::into_secret).transpose()
    }

    async fn create_secret(&self, name: &str, secret: &Secret, at: Timestamp) -> Result<()> {
        let row = SecretRow::of(name, secret, at);
        written!(&self.writes, transaction => async {
            let query = sqlx::query(INSERT_SECRET).bind(row.name).bind(row.value).bind(row.created_ms).bind(row.checksum);
            query.execute(&mut *transaction).await.map(drop).map_err(from_sqlx)
        }.await)
    }
}

async fn insert(transaction: &mut Transaction<'_, Sqlite>, key: &Key) -> Result<()> {
    let row = KeyRow::of(key);
    let query = sqlx::query(INSERT).bind(row.key_id).bind(row.digest).bind(row.project).bind(row.name).bind(row.scopes);
    let query =
        query.bind(row.created_ms).bind(row.expires_ms).bind(row.revoked_ms).bind(row.used_ms).bind(row.checksum);
    let inserted = query.execute(&mut **transaction).await.map_err(from_sqlx)?;
    if inserted.rows_affected() == 0 && one(transaction, &key.key_id).await?.digest != key.digest {
        return Err(Error::KeyExists { key_id: key.key_id.to_string() });
    }
    Ok(())
}

async fn one(transaction: &mut Transaction<'_, Sqlite>, key_id: &KeyId) -> Result<Key> {
    let query = sqlx::query_as::<_, KeyRow>(FIND).bind(key_id.as_str());
    let row = query.fetch_optional(&mut **transaction).await.map_err(from_sqlx)?;
    row.ok_or_else(|| Error::KeyNotFound { key_id: key_id.to_string() })?.into_key()
}

/// Writes the end of a key.
async fn end(transaction: &mut Transaction<'_, Sqlite>, key: &Key) -> Result<()> {
    let row = KeyRow::of(key);
    let query = sqlx::query(END).bind(row.expires_ms).bind(row.revoked_ms).bind(row.checksum).bind(row.key_id);
    query.execute(&mut **transaction).await.map(drop).map_err(from_sqlx)
}
