//! A stream token: a signed text that allows to read the events of one run for some minutes. It stands in a URL, for clients that
//! cannot send a header, and cannot be changed without the secret that signs it.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{KeyId, KeyProblem, KeyScope, KeyScopes, ProjectId};
use crate::domain::ids::RunId;

/// Begin of every token: the version of its form. It is signed too, so that a text of another form is no token.
const PREFIX: &str = "st1.";

/// Bytes of a secret: as many as the HMAC has.
const SECRET_BYTES: usize = 32;

/// Random bytes that sign, shared by all replicas of a store. Never printed or logged.
#[derive(Clone, Copy)]
pub struct Secret(pub [u8; SECRET_BYTES]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a token allows, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamToken {
    /// The one run whose events may be read.
    pub run_id: RunId,
    /// Project of the run.
    pub project: ProjectId,
    /// The key that asked for the token, which ends with it; `None`: a server without keys.
    pub key_id: Option<KeyId>,
    /// Whether payloads may be read in the full view.
    pub is_sensitive: bool,
    /// Time from which on the token is refused, in whole seconds.
    pub expires_at: Timestamp,
}

/// The signed members of a token, as JSON.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    run: Cow<'a, str>,
    project: Cow<'a, str>,
    key: Option<Cow<'a, str>>,
    sensitive: bool,
    /// Unix time in seconds.
    until: i64,
}

impl StreamToken {
    /// The text for the client: `st1.<content>.<signature>`, letters, digits, `-`, `_` and `.` only.
    #[must_use]
    pub fn sign(&self, secret: &Secret) -> String {
        let content = Content {
            run: self.run_id.as_str().into(),
            project: self.project.as_str().into(),
            key: self.key_id.as_ref().map(|key_id| key_id.as_str().into()),
            sensitive: self.is_sensitive,
            until: self.expires_at.as_second(),
        };
        let content = serde_json::to_vec(&content).unwrap_or_else(|_| unreachable!("texts and numbers are JSON"));
        let mut text = PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string(content, &mut text);
        let signature = signed(secret, &text).finalize().into_bytes();
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        text
    }

    /// Reads a token. Fails with `TokenInvalid` unless this secret signed the text, byte for byte, and with `TokenExpired` if it
    /// has expired at this time. The signature is compared in constant time.
    pub fn verify(text: &str, secret: &Secret, now: Timestamp) -> Result<Self, KeyProblem> {
        let token = Self::read(text, secret).ok_or(KeyProblem::TokenInvalid)?;
        if token.expires_at <= now { Err(KeyProblem::TokenExpired) } else { Ok(token) }
    }

    fn read(text: &str, secret: &Secret) -> Option<Self> {
        let (content, signature) = text.rsplit_once('.')?;
        signed(secret, content).verify_slice(&URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let content = URL_SAFE_NO_PAD.decode(content.strip_prefix(PREFIX)?).ok()?;
        let content: Content<'_> = serde_json::from_slice(&content).ok()?;
        Some(Self {
            run_id: RunId::parse(&content.run).ok()?,
            project: ProjectId::parse(&content.project).ok()?,
            key_id: content.key.map(|key_id| KeyId::parse(&key_id)).transpose().ok()?,
            is_sensitive: content.sensitive,
            expires_at: Timestamp::from_second(content.until).ok()?,
        })
    }

    /// What the token allows for its run.
    #[must_use]
    pub fn scopes(&self) -> KeyScopes {
        let sensitive = self.is_sensitive.then_some(KeyScope::EventsReadSensitive);
        [KeyScope::EventsRead].into_iter().chain(sensitive).collect()
    }
}

fn signed(secret: &Secret, text: &str) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(&secret.0);
    mac.unwrap_or_else(|_| unreachable!("HMAC takes a key of any length")).chain_update(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = Secret([7; SECRET_BYTES]);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn token(run_id: &str, key_id: Option<&str>) -> StreamToken {
        StreamToken {
            run_id: RunId::parse(run_id).unwrap(),
            project: ProjectId::default(),
            key_id: key_id.map(|key_id| KeyId::parse(key_id).unwrap()),
            is_sensitive: key_id.is_none(),
            expires_at: at(300),
        }
    }

    #[test]
    fn a_token_is_read_back_as_it_was_signed_and_needs_no_escapes_in_a_url() {
        let longest = "🦀".repeat(200);
        for run_id in ["r", "a b/c?d#e&token=f", "\"\\", longest.as_str()] {
            for key_id in [None, Some("key_a")] {
                let token = token(run_id, key_id);
                let text = token.sign(&SECRET);
                assert_eq!(StreamToken::verify(&text, &SECRET, at(299)), Ok(token));
                assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{text}");
            }
        }
    }

    #[test]
    fn a_token_allows_to_read_and_payloads_in_full_only_if_its_key_did() {
        let reads = |token: StreamToken| token.scopes().iter().collect::<Vec<_>>();
        assert_eq!(reads(token("r", Some("key_a"))), [KeyScope::EventsRead]);
        assert_eq!(reads(token("r", None)), [KeyScope::EventsRead, KeyScope::EventsReadSensitive]);
    }

    #[test]
    fn a_token_is_refused_from_its_end_on() {
        let text = token("r", None).sign(&SECRET);
        for second in [300, 301, 1_000_000] {
            assert_eq!(StreamToken::verify(&text, &SECRET, at(second)), Err(KeyProblem::TokenExpired), "{second}");
        }
    }

    #[test]
    fn a_token_with_any_other_byte_is_invalid_and_so_is_one_of_another_secret() {
        let text = token("r", Some("key_a")).sign(&SECRET);
        let is_invalid = |text: &str| StreamToken::verify(text, &SECRET, at(0)) == Err(KeyProblem::TokenInvalid);
        for at_byte in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at_byte] ^= 1 << bit;
                let changed = String::from_utf8_lossy(&bytes);
                assert!(is_invalid(&changed), "{text}\n{changed}");
            }
            assert!(is_invalid(&text[..at_byte]), "cut at byte {at_byte}");
        }
        for other in ["", ".", "..", "st1.", "st1..", &format!("{text}="), &format!("{text}A"), &format!(" {text}")] {
            assert!(is_invalid(other), "{other:?}");
        }
        let other = Secret([8; SECRET_BYTES]);
        assert_eq!(StreamToken::verify(&text, &other, at(0)), Err(KeyProblem::TokenInvalid));
        assert_eq!(format!("{other:?}"), "Secret(…)", "a secret is never printed");
    }

    #[test]
    fn a_signed_text_of_another_form_is_no_token() {
        let signed_as = |content: &str| {
            let signature = URL_SAFE_NO_PAD.encode(signed(&SECRET, content).finalize().into_bytes());
            StreamToken::verify(&format!("{content}.{signature}"), &SECRET, at(0))
        };
        let json = r#"{"run":"r","project":"default","key":null,"sensitive":false,"until":1800000300}"#;
        let content = URL_SAFE_NO_PAD.encode(json);
        assert!(signed_as(&format!("st1.{content}")).is_ok());
        for other in [format!("st2.{content}"), content, "st1.e30".to_owned(), "st1.".to_owned()] {
            assert_eq!(signed_as(&other), Err(KeyProblem::TokenInvalid), "{other}");
        }
    }
}
