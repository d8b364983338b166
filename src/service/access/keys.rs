//! Creation, listing, revocation and rotation of keys.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::access::{Credential, KEY_NAME_CHARS, Key};
use crate::domain::{Error, KeyId, KeyScope, KeyScopes, ProjectId, Result};
use crate::service::Service;
use crate::service::access::audit::Action;
use crate::store::KeyList;

/// Keys in one page if the request has no page size.
const DEFAULT_PAGE_SIZE: usize = 100;

/// How long a rotated key goes on, if the request does not say.
const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 3_600);

/// Longest overlap of a rotation, and longest life of a key.
const MAX_OVERLAP: Duration = Duration::from_secs(30 * 86_400);
const MAX_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A request to create a key.
#[derive(Clone, Debug)]
pub struct CreateKey {
    /// Name for people, 1 to 200 characters.
    pub name: String,
    /// Project of the key; `None`: the project of the caller.
    pub project: Option<ProjectId>,
    /// What the key allows; at least one scope.
    pub scopes: KeyScopes,
    /// Time until the key expires; `None`: never.
    pub expires_in: Option<Duration>,
}

/// A new key with its secret, which is shown once.
#[derive(Clone, Debug)]
pub struct IssuedKey {
    /// The key as stored.
    pub key: Key,
    /// Id and secret, for the holder.
    pub credential: Credential,
}

/// A request for a page of keys.
#[derive(Clone, Debug, Default)]
pub struct ListKeys {
    /// Most keys; 0: 100.
    pub page_size: usize,
    /// `next_cursor` of the previous page; empty: the first page.
    pub cursor: String,
}

/// One page of keys.
#[derive(Clone, Debug)]
pub struct KeysPage {
    /// The keys, in the order of ids.
    pub keys: Vec<Key>,
    /// Cursor of the next page; empty: the last page.
    pub next_cursor: String,
}

/// A request to replace a key.
#[derive(Clone, Debug)]
pub struct RotateKey {
    /// The key to replace.
    pub key_id: KeyId,
    /// How long the replaced key goes on; `None`: 24 hours.
    pub overlap: Option<Duration>,
    /// Time until the new key expires; `None`: never, which is refused for a key that expires.
    pub expires_in: Option<Duration>,
}

impl Service {
    /// Creates a key. The secret is in the answer only.
    pub async fn create_key(&self, create: CreateKey) -> Result<IssuedKey> {
        let mut action = Action::begin(&self.caller, "keys.create", "");
        let issued = self.issue_key(create).await;
        if let Ok(issued) = &issued {
            action.made(issued.key.key_id.as_str());
        }
        action.end(&issued);
        issued
    }

    async fn issue_key(&self, create: CreateKey) -> Result<IssuedKey> {
        self.caller.require(KeyScope::Admin)?;
        let CreateKey { name, project, scopes, expires_in } = create;
        check_name(&name)?;
        if scopes.is_empty() {
            let names = KeyScope::ALL.map(KeyScope::as_str).join(", ");
            return Err(Error::invalid("scopes", format!("must hold at least one of {names}")));
        }
        let project = project.unwrap_or_else(|| self.caller.project().clone());
        self.require_project(&project)?;
        let issued = issue(name, project, scopes, expires_in)?;
        self.store.create_project(&issued.key.project).await?;
        self.store.keys().create(&issued.key).await?;
        Ok(issued)
    }

    /// Whether the caller's project is `default`, whose admin keys manage the keys of all projects.
    fn manages_all_projects(&self) -> bool {
        !self.caller.is_of_another_project()
    }

    /// Fails unless the caller may manage keys of this project.
    fn require_project(&self, project: &ProjectId) -> Result<()> {
        if self.manages_all_projects() || project == self.caller.project() {
            return Ok(());
        }
        let own = self.caller.project();
        let problem = format!("must be {own} or absent: a key of the project {own} manages keys of this project only");
        Err(Error::invalid("project", problem))
    }

    /// The key with this id. Fails with `KeyNotFound` also for a key of another project, unless the caller manages them all.
    async fn managed_key(&self, key_id: &KeyId) -> Result<Key> {
        self.caller.require(KeyScope::Admin)?;
        let found = self.store.keys().find(std::slice::from_ref(key_id)).await?.pop();
        let found = found.filter(|key| self.require_project(&key.project).is_ok());
        found.ok_or_else(|| Error::KeyNotFound { key_id: key_id.to_string() })
    }

    /// One page of keys, revoked and expired ones included.
    pub async fn list_keys(&self, list: ListKeys) -> Result<KeysPage> {
        self.caller.require(KeyScope::Admin)?;
        let limit = self.page_size("page_size", list.page_size, DEFAULT_PAGE_SIZE)?;
        let after = match list.cursor.as_str() {
            "" => None,
            cursor => Some(KeyId::parse(cursor).map_err(|_| Error::CursorInvalid {
                cursor: cursor.chars().take(200).collect(),
                problem: "it is no next_cursor of a list of keys",
            })?),
        };
        let project = Some(self.caller.project()).filter(|_| !self.manages_all_projects());
        let KeyList { keys, next } = self.store.keys().list(project, after.as_ref(), limit).await?;
        Ok(KeysPage { keys, next_cursor: next.map(|key_id| key_id.to_string()).unwrap_or_default() })
    }

    /// Revokes a key, within seconds on every replica. A second revocation changes nothing.
    pub async fn revoke_key(&self, key_id: &KeyId) -> Result<Key> {
        let action = Action::begin(&self.caller, "keys.revoke", key_id.as_str());
        let revoked = match self.managed_key(key_id).await {
            Ok(_) => self.store.keys().revoke(key_id, now()).await,
            Err(error) => Err(error),
        };
        action.end(&revoked);
        revoked
    }

    /// Creates a key like another one, which expires after the overlap.
    pub async fn rotate_key(&self, rotate: RotateKey) -> Result<(Key, IssuedKey)> {
        let action = Action::begin(&self.caller, "keys.rotate", rotate.key_id.as_str());
        let rotated = self.replace_key(rotate).await;
        action.end(&rotated);
        rotated
    }

    async fn replace_key(&self, rotate: RotateKey) -> Result<(Key, IssuedKey)> {
        self.caller.require(KeyScope::Admin)?;
        let RotateKey { key_id, overlap, expires_in } = rotate;
        let overlap = overlap.unwrap_or(DEFAULT_OVERLAP);
        let until = later("overlap", overlap, MAX_OVERLAP)?;
        let old = self.managed_key(&key_id).await?;
        if old.expires_at.is_some() && expires_in.is_none() {
            // It may expire by an earlier rotation only, so its time says nothing.
            return Err(Error::invalid("expires_in", "must be given: the replaced key expires"));
        }
        let new = issue(old.name, old.project, old.scopes, expires_in)?;
        Ok((self.store.keys().rotate(&key_id, until, &new.key, now()).await?, new))
    }

    /// Stores the first key of a server, whose text the operator chose, with the scope `admin`. Returns whether the key is new.
    /// Fails with `KeyExists` if there is a key with this id and another secret, with `KeyEnded` if it is revoked or has expired.
    pub async fn ensure_admin_key(&self, credential: &Credential) -> Result<bool> {
        self.caller.require(KeyScope::Admin)?;
        let keys = self.store.keys();
        let exists = Error::KeyExists { key_id: credential.key_id.to_string() };
        if let Some(key) = keys.find(std::slice::from_ref(&credential.key_id)).await?.pop() {
            if key.digest != credential.digest() {
                return Err(exists);
            }
            let ended = Error::KeyEnded { key_id: key.key_id.to_string() };
            return key.check(now()).map(|()| false).map_err(|_| ended);
        }
        let scopes = [KeyScope::Admin].into_iter().collect();
        let key = key("admin".to_owned(), ProjectId::default(), scopes, credential, now(), None);
        keys.create(&key).await.map(|()| true)
    }
}

fn issue(name: String, project: ProjectId, scopes: KeyScopes, expires_in: Option<Duration>) -> Result<IssuedKey> {
    let expires_at = expires_in.map(|life| match life.is_zero() {
        true => Err(Error::invalid("expires_in", "must be longer than 0 seconds")),
        false => later("expires_in", life, MAX_LIFE),
    });
    let (expires_at, created_at) = (expires_at.transpose()?, now());
    let mut random = [0; 36];
    getrandom::fill(&mut random).map_err(Error::internal)?;
    let credential = Credential::of_random(&random, created_at);
    Ok(IssuedKey { key: key(name, project, scopes, &credential, created_at, expires_at), credential })
}

fn key(
    name: String,
    project: ProjectId,
    scopes: KeyScopes,
    credential: &Credential,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
) -> Key {
    let (key_id, digest) = (credential.key_id.clone(), credential.digest());
    Key { key_id, digest, project, name, scopes, created_at, expires_at, revoked_at: None, last_used_at: None }
}

/// The current time in whole milliseconds, as stored.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// The time after this duration, at most `longest`.
fn later(field: &str, duration: Duration, longest: Duration) -> Result<Timestamp> {
    let days = longest.as_secs() / 86_400;
    let too_long = || Error::invalid(field, format!("must be at most {days} days"));
    if duration > longest {
        return Err(too_long());
    }
    let duration = jiff::SignedDuration::try_from(duration).map_err(|_| too_long())?;
    now().checked_add(duration).map_err(|_| too_long())
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.chars().count() > KEY_NAME_CHARS || name.chars().any(char::is_control) {
        let problem = format!("must be 1 to {KEY_NAME_CHARS} characters without control characters");
        return Err(Error::invalid("name", problem));
    }
    Ok(())
}
