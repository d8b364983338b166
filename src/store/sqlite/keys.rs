//! Keys in the file. Rare writes with a connection of their own; the committer waits for them in SQLite's lock.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Connection, Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::Mutex;

use super::error::{from_sqlx, of_commit};
use super::watch::FileWatch;
use crate::domain::access::Key;
use crate::domain::{Error, KeyId, Result};
use crate::store::keys::{KeyRow, KeyStore, key_columns, rotated};

const FIND: &str = concat!("SELECT ", key_columns!(), " FROM keys WHERE key_id = ?");
const LIST: &str = concat!("SELECT ", key_columns!(), " FROM keys WHERE key_id > ? ORDER BY key_id LIMIT ?");
const ANY: &str = "SELECT EXISTS (SELECT 1 FROM keys)";
const INSERT: &str =
    concat!("INSERT INTO keys (", key_columns!(), ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING");
const END: &str = "UPDATE keys SET expires_ms = ?, revoked_ms = ?, checksum = ? WHERE key_id = ?";
const USED: &str = "UPDATE keys SET used_ms = ? WHERE key_id = ?";

/// The table `keys` of a file.
pub struct SqliteKeys {
    pub readers: SqlitePool,
    pub watch: Arc<FileWatch>,
    /// `None` after the store is closed.
    pub writer: Mutex<Option<SqliteConnection>>,
}

/// A write transaction on the connection of the keys.
macro_rules! written {
    ($keys:expr, $transaction:ident => $work:expr) => {{
        let keys: &SqliteKeys = $keys;
        keys.watch.verdict()?;
        let mut writer = keys.writer.lock().await;
        let connection = writer.as_mut().ok_or(Error::ShuttingDown)?;
        let mut $transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(from_sqlx)?;
        let done = $work?;
        $transaction.commit().await.map_err(of_commit)?;
        // A commit to files that are lost may be gone.
        keys.watch.look_again().map_err(|_| Error::OutcomeUnknown)?;
        Ok(done)
    }};
}

impl SqliteKeys {
    /// Closes the writing connection, after a write under way.
    pub async fn close(&self) {
        if let Some(writer) = self.writer.lock().await.take() {
            // The file is whole without a clean close.
            let _ = writer.close().await;
        }
    }
}

#[async_trait]
impl KeyStore for SqliteKeys {
    async fn create(&self, key: &Key) -> Result<()> {
        written!(self, transaction => insert(&mut transaction, key).await)
    }

    async fn find(&self, key_ids: &[KeyId]) -> Result<Vec<Key>> {
        self.watch.verdict()?;
        let mut reader = self.readers.acquire().await.map_err(from_sqlx)?;
        let mut found = Vec::with_capacity(key_ids.len());
        for key_id in key_ids {
            let query = sqlx::query_as::<_, KeyRow>(FIND).bind(key_id.as_str());
            let row = query.fetch_optional(&mut *reader).await.map_err(from_sqlx)?;
            found.extend(row.map(KeyRow::into_key).transpose()?);
        }
        found.sort_by(|a, b| a.key_id.cmp(&b.key_id));
        Ok(found)
    }

    async fn list(&self, after: Option<&KeyId>, limit: usize) -> Result<Vec<Key>> {
        self.watch.verdict()?;
        let query = sqlx::query_as::<_, KeyRow>(LIST).bind(after.map_or("", KeyId::as_str));
        let rows = query.bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(&self.readers).await;
        rows.map_err(from_sqlx)?.into_iter().map(KeyRow::into_key).collect()
    }

    async fn any(&self) -> Result<bool> {
        self.watch.verdict()?;
        sqlx::query_scalar(ANY).fetch_one(&self.readers).await.map_err(from_sqlx)
    }

    async fn revoke(&self, key_id: &KeyId, at: Timestamp) -> Result<Key> {
        written!(self, transaction => async {
            let key = one(&mut transaction, key_id).await?;
            let key = Key { revoked_at: key.revoked_at.or(Some(at)), ..key };
            end(&mut transaction, &key).await?;
            Ok::<_, Error>(key)
        }.await)
    }

    async fn rotate(&self, old: &KeyId, until: Timestamp, new: &Key, now: Timestamp) -> Result<()> {
        written!(self, transaction => async {
            let old = rotated(one(&mut transaction, old).await?, until, now)?;
            end(&mut transaction, &old).await?;
            insert(&mut transaction, new).await
        }.await)
    }

    async fn used(&self, uses: &[(KeyId, Timestamp)]) -> Result<()> {
        written!(self, transaction => async {
            for (key_id, at) in uses {
                let query = sqlx::query(USED).bind(at.as_millisecond()).bind(key_id.as_str());
                query.execute(&mut *transaction).await.map_err(from_sqlx)?;
            }
            Ok::<_, Error>(())
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
