//! A key: who calls, and what the caller may do. The secret itself is never stored.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use super::KeyScopes;
use crate::domain::error::{Error, Result};
use crate::domain::ids::MAX_NAME_CHARS;

/// Longest name of a key, characters.
pub const KEY_NAME_CHARS: usize = MAX_NAME_CHARS;

/// First characters of the id of every key.
const PREFIX: &str = "key_";

/// Characters of an id after the prefix, at most.
const MAX_ID_CHARS: usize = 64;

/// Characters of a secret: 22 of them hold 128 random bits in base64.
const SECRET_CHARS: std::ops::RangeInclusive<usize> = 22..=200;

/// Random bytes of a generated secret, and of a generated id.
const SECRET_BYTES: usize = 32;
const ID_BYTES: usize = 4;

/// Id of a key: `key_` and 1 to 64 letters, digits, `-` or `_`. The ids that the server gives begin with the time of their
/// creation, so that their order is the order of creation.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(std::sync::Arc<str>);

impl KeyId {
    /// Checks the text. Fails with `InvalidField` for the field `key_id`.
    pub fn parse(text: &str) -> Result<Self> {
        let rest = text.strip_prefix(PREFIX).unwrap_or_default();
        if !(1..=MAX_ID_CHARS).contains(&rest.len()) || !rest.bytes().all(is_word) {
            let problem = format!("must be {PREFIX} and 1 to {MAX_ID_CHARS} letters, digits, - or _");
            return Err(Error::invalid("key_id", problem));
        }
        Ok(Self(text.into()))
    }

    /// The text as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a project: 1 to 64 lower-case letters, digits, `-` or `_`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectId(std::sync::Arc<str>);

impl ProjectId {
    /// The project of all runs without another one.
    pub const DEFAULT: &str = "default";

    /// Checks the text. Fails with `InvalidField` for the field `project`.
    pub fn parse(text: &str) -> Result<Self> {
        let is_valid = |byte: u8| is_word(byte) && !byte.is_ascii_uppercase();
        if !(1..=MAX_ID_CHARS).contains(&text.len()) || !text.bytes().all(is_valid) {
            let problem = format!("must be 1 to {MAX_ID_CHARS} lower-case letters, digits, - or _");
            return Err(Error::invalid("project", problem));
        }
        Ok(Self(text.into()))
    }

    /// The text as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ProjectId {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl fmt::Debug for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// What a caller presents: the id of a key and its secret, as `key_<id>:<secret>`. Never printed or logged.
#[derive(Clone)]
pub struct Credential {
    /// Id of the key.
    pub key_id: KeyId,
    secret: String,
}

impl Credential {
    /// A new key: an id that begins with the time, and a secret of 256 random bits.
    #[must_use]
    pub fn of_random(random: &[u8; ID_BYTES + SECRET_BYTES], now: Timestamp) -> Self {
        let (of_id, of_secret) = random.split_at(ID_BYTES);
        let key_id = KeyId(format!("{PREFIX}{:012x}{}", now.as_millisecond(), hex(of_id)).into());
        Self { key_id, secret: hex(of_secret) }
    }

    /// The text for the caller: `key_<id>:<secret>`.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{}:{}", self.key_id, self.secret)
    }

    /// SHA-256 of the secret. The secret is random, so a slow hash would protect nothing.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.secret.as_bytes()).into())
    }
}

impl FromStr for Credential {
    type Err = KeyProblem;

    fn from_str(text: &str) -> Result<Self, KeyProblem> {
        let (key_id, secret) = text.split_once(':').ok_or(KeyProblem::Invalid)?;
        let key_id = KeyId::parse(key_id).map_err(|_| KeyProblem::Invalid)?;
        if !SECRET_CHARS.contains(&secret.len()) || !secret.bytes().all(is_word) {
            return Err(KeyProblem::Invalid);
        }
        Ok(Self { key_id, secret: secret.to_owned() })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:…", self.key_id)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of a secret. Compared in constant time.
#[derive(Clone, Copy)]
pub struct Digest(pub [u8; 32]);

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// A key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Id of the key.
    pub key_id: KeyId,
    /// Digest of the secret.
    pub digest: Digest,
    /// The project of all runs that the key reads and writes.
    pub project: ProjectId,
    /// Name for people.
    pub name: String,
    /// What the key allows.
    pub scopes: KeyScopes,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time from which on the key is refused; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// Time of revocation; `None`: not revoked.
    pub revoked_at: Option<Timestamp>,
    /// Time of a recent use, a minute behind at most; `None`: never used.
    pub last_used_at: Option<Timestamp>,
}

impl Key {
    /// Fails if the key is revoked or expired at this time.
    pub fn check(&self, now: Timestamp) -> Result<(), KeyProblem> {
        if self.revoked_at.is_some() {
            return Err(KeyProblem::Revoked);
        }
        match self.expires_at {
            Some(expires_at) if expires_at <= now => Err(KeyProblem::Expired),
            _ => Ok(()),
        }
    }
}

/// Why a call is not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeyProblem {
    /// The request has no key, and the server needs one.
    #[error("a key is required; send `Authorization: Bearer key_…:…`; `runlog keys create` makes a key")]
    Missing,
    /// No such key, or a wrong secret.
    #[error("the key is not valid; send all of `key_…:…` as `Authorization: Bearer …`")]
    Invalid,
    /// The key has expired.
    #[error("the key has expired; create a key, or rotate this one before its end")]
    Expired,
    /// The key was revoked.
    #[error("the key was revoked; create another one")]
    Revoked,
    /// No stream token, a changed one, or one of another store.
    #[error("the stream token is not valid; ask for one with `POST /v1/runs/{{id}}/stream-token`")]
    TokenInvalid,
    /// The stream token has expired.
    #[error("the stream token has expired; ask for another one with `POST /v1/runs/{{id}}/stream-token`")]
    TokenExpired,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    #[test]
    fn a_generated_credential_is_read_back_and_never_printed() {
        let (one, other) = (Credential::of_random(&[1; 36], now()), Credential::of_random(&[2; 36], now()));
        let read: Credential = one.expose().parse().unwrap();
        assert_eq!((&read.key_id, read.digest()), (&one.key_id, one.digest()));
        assert!(one.key_id != other.key_id && one.digest() != other.digest());
        assert!(one.secret.len() == 2 * SECRET_BYTES, "256 bits");
        assert!(!format!("{one:?}").contains(&one.secret), "a secret is never printed");
    }

    #[test]
    fn a_credential_of_another_form_is_invalid_and_short_secrets_are() {
        let secret = "x".repeat(22);
        assert!(format!("key_admin:{secret}").parse::<Credential>().is_ok());
        let long = "x".repeat(201);
        let long_id = "x".repeat(65);
        for text in [
            String::new(),
            "key_admin".to_owned(),
            "key_admin:".to_owned(),
            format!("key_admin:{}", &secret[1..]),
            format!("key_admin:{long}"),
            format!("key_:{secret}"),
            format!("key_{long_id}:{secret}"),
            format!("admin:{secret}"),
            format!("key_a b:{secret}"),
            format!("key_admin:{secret} "),
            format!("key_admin:{secret}é"),
        ] {
            assert_eq!(text.parse::<Credential>().err(), Some(KeyProblem::Invalid), "{text:?}");
        }
    }

    #[test]
    fn a_revoked_or_expired_key_is_refused_by_name() {
        let credential = Credential::of_random(&[1; 36], now());
        let key = Key {
            digest: credential.digest(),
            key_id: credential.key_id,
            project: ProjectId::default(),
            name: "test".to_owned(),
            scopes: KeyScopes::all(),
            created_at: now(),
            expires_at: Some(now()),
            revoked_at: None,
            last_used_at: None,
        };
        let second = jiff::SignedDuration::from_secs(1);
        assert_eq!(key.check(now() - second), Ok(()));
        assert_eq!(key.check(now()), Err(KeyProblem::Expired));
        assert_eq!(Key { revoked_at: Some(now()), ..key }.check(now() - second), Err(KeyProblem::Revoked));
    }

    #[test]
    fn a_project_is_a_short_name_in_lower_case() {
        for good in ["default", "a", "team-1_x", &"p".repeat(64)] {
            assert_eq!(ProjectId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "Team", "a b", "é", "a/b", &"p".repeat(65)] {
            assert_eq!(ProjectId::parse(bad).unwrap_err().field().as_deref(), Some("project"));
        }
    }
}
