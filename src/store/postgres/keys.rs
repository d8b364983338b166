//! Keys and secrets in the database, shared by all replicas. Every write can be repeated, so writes are retried like reads: an attempt that was
//! stored without an answer is found again.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::PgConnection;

use super::connect::executor::PgExecutor;
use super::connect::readers::{Readers, retried, written};
use super::error::Fault;
use crate::domain::access::{Key, Secret};
use crate::domain::{Error, KeyId, ProjectId, Result};
use crate::store::keys::{KeyList, KeyRow, KeyStore, SecretRow, key_columns, rotated, secret_columns, stored_project};

const FIND: &str = concat!("SELECT ", key_columns!(), " FROM keys WHERE key_id = ANY($1) ORDER BY key_id");
const LOCKED: &str = concat!("SELECT ", key_columns!(), " FROM keys WHERE key_id = $1 FOR UPDATE");
const LIST: &str = concat!(
    "SELECT ",
    key_columns!(),
    " FROM keys WHERE key_id > $1 AND project = coalesce($2, project) ORDER BY key_id LIMIT $3"
);
const ANY: &str = "SELECT EXISTS (SELECT 1 FROM keys)";
const INSERT: &str = concat!(
    "INSERT INTO keys (",
    key_columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING"
);
const END: &str = "UPDATE keys SET expires_ms = $1, revoked_ms = $2, checksum = $3 WHERE key_id = $4";
const USED: &str = "UPDATE keys SET used_ms = $1 WHERE key_id = $2 AND (used_ms IS NULL OR used_ms < $1)";
const SECRET: &str = concat!("SELECT ", secret_columns!(), " FROM secrets WHERE name = $1");
const INSERT_SECRET: &str =
    concat!("INSERT INTO secrets (", secret_columns!(), ") VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING");

/// Most uses in one transaction.
const USES_AT_ONCE: usize = 100;

/// The tables `keys` and `secrets` of a database.
pub struct PostgresKeys {
    pub readers: Arc<Readers>,
}

#[async_trait]
impl KeyStore for PostgresKeys {
    async fn create(&self, key: &Key) -> Result<()> {
        written!(&self.readers, connection => insert(connection, key))
    }

    async fn find(&self, key_ids: &[KeyId]) -> Result<Vec<Key>> {
        let key_ids: Vec<String> = key_ids.iter().map(KeyId::to_string).collect();
        retried!(&self.readers, connection => rows(connection, &key_ids)).map_err(Fault::into_error).and_then(read)
    }

    async fn list(&self, project: Option<&ProjectId>, after: Option<&KeyId>, limit: usize) -> Result<KeyList> {
        let (project, after) = (project.map(stored_project), after.map_or("", KeyId::as_str));
        let rows = retried!(&self.readers, connection => page(connection, project.as_deref(), after, limit));
        rows.map(|rows| KeyList::of(rows, limit)).map_err(Fault::into_error)
    }

    async fn any(&self) -> Result<bool> {
        retried!(&self.readers, connection => any(connection)).map_err(Fault::into_error)
    }

    async fn revoke(&self, key_id: &KeyId, at: Timestamp) -> Result<Key> {
        written!(&self.readers, connection => async {
            let key = locked(connection, key_id).await?;
            let key = Key { revoked_at: key.revoked_at.or(Some(at)), ..key };
            end(connection, &key).await?;
            Ok::<_, Fault>(key)
        })
    }

    async fn rotate(&self, old: &KeyId, until: Timestamp, new: &Key, now: Timestamp) -> Result<Key> {
        written!(&self.readers, connection => async {
            let old = locked(connection, old).await?;
            if exists(connection, new).await? {
                // An attempt before was stored, and its answer was lost.
                return Ok(old);
            }
            let old = rotated(old, until, now)?;
            end(connection, &old).await?;
            insert(connection, new).await?;
            Ok::<_, Fault>(old)
        })
    }

    async fn used(&self, uses: &[(KeyId, Timestamp)]) -> Result<()> {
        let mut uses = uses.to_vec();
        // In one order in all replicas, so that no two wait for each other.
        uses.sort();
        for uses in uses.chunks(USES_AT_ONCE) {
            written!(&self.readers, connection => async {
                for (key_id, at) in uses {
                    let query = sqlx::query(USED).bind(at.as_millisecond()).bind(key_id.as_str());
                    query.execute(&mut PgExecutor::pooled(connection)).await?;
                }
                Ok::<_, Fault>(())
            })?;
        }
        Ok(())
    }

    async fn secret(&self, name: &str) -> Result<Option<Secret>> {
        let row = retried!(&self.readers, connection => secret(connection, name)).map_err(Fault::into_error)?;
        row.map(SecretRow::into_secret).transpose()
    }

    async fn create_secret(&self, name: &str, secret: &Secret, at: Timestamp) -> Result<()> {
        written!(&self.readers, connection => insert_secret(connection, SecretRow::of(name, secret, at)))
    }
}

fn read(rows: Vec<KeyRow>) -> Result<Vec<Key>> {
    Ok(rows.into_iter().filter_map(|row| row.into_key().ok()).collect())
}

async fn rows(connection: &mut PgExecutor<'_>, key_ids: &[String]) -> Result<Vec<KeyRow>, Fault> {
    Ok(sqlx::query_as(FIND).bind(key_ids.to_vec()).fetch_all(connection).await?)
}

async fn page(
    connection: &mut PgExecutor<'_>,
    project: Option<&str>,
    after: &str,
    limit: usize,
) -> Result<Vec<KeyRow>, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let query = sqlx::query_as(LIST).bind(after.to_owned()).bind(project.map(ToOwned::to_owned)).bind(limit);
    Ok(query.fetch_all(connection).await?)
}

async fn any(connection: &mut PgExecutor<'_>) -> Result<bool, Fault> {
    Ok(sqlx::query_scalar(ANY).fetch_one(connection).await?)
}

async fn secret(connection: &mut PgExecutor<'_>, name: &str) -> Result<Option<SecretRow>, Fault> {
    Ok(sqlx::query_as(SECRET).bind(name.to_owned()).fetch_optional(connection).await?)
}

async fn insert_secret(connection: &mut PgConnection, row: SecretRow) -> Result<(), Fault> {
    let query = sqlx::query(INSERT_SECRET).bind(row.name).bind(row.value).bind(row.created_ms).bind(row.checksum);
    query.execute(&mut PgExecutor::pooled(connection)).await?;
    Ok(())
}

async fn insert(connection: &mut PgConnection, key: &Key) -> Result<(), Fault> {
    let row = KeyRow::of(key);
    let query = sqlx::query(INSERT).bind(row.key_id).bind(row.digest).bind(row.project).bind(row.name).bind(row.scopes);
    let query =
        query.bind(row.created_ms).bind(row.expires_ms).bind(row.revoked_ms).bind(row.used_ms).bind(row.checksum);
    let inserted = query.execute(&mut PgExecutor::pooled(connection)).await?;
    if inserted.rows_affected() == 0 && locked(connection, &key.key_id).await?.digest != key.digest {
        return Err(Error::KeyExists { key_id: key.key_id.to_string() }.into());
    }
    Ok(())
}

/// Whether the key is stored with this digest.
async fn exists(connection: &mut PgConnection, key: &Key) -> Result<bool, Fault> {
    const STORED: &str = "SELECT EXISTS (SELECT 1 FROM keys WHERE key_id = $1 AND digest = $2)";
    let query = sqlx::query_scalar(STORED).bind(key.key_id.to_string()).bind(key.digest.0.to_vec());
    Ok(query.fetch_one(&mut PgExecutor::pooled(connection)).await?)
}

async fn locked(connection: &mut PgConnection, key_id: &KeyId) -> Result<Key, Fault> {
    let query = sqlx::query_as::<_, KeyRow>(LOCKED).bind(key_id.to_string());
    let row = query.fetch_optional(&mut PgExecutor::pooled(connection)).await?;
    Ok(row.ok_or_else(|| Error::KeyNotFound { key_id: key_id.to_string() })?.into_key()?)
}

/// Writes the end of a key.
async fn end(connection: &mut PgConnection, key: &Key) -> Result<(), Fault> {
    let row = KeyRow::of(key);
    let query = sqlx::query(END).bind(row.expires_ms).bind(row.revoked_ms).bind(row.checksum).bind(row.key_id);
    query.execute(&mut PgExecutor::pooled(connection)).await?;
    Ok(())
}
