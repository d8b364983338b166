//! Stream tokens: their creation, and their check with the secret that all replicas share.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::access::{KeyProblem, Secret, StreamToken};
use crate::domain::{Error, KeyScope, Result, RunId, Scope};
use crate::service::Service;
use crate::service::access::audit::Action;
use crate::store::KeyStore;

/// Time until a token expires.
const LIFE: SignedDuration = SignedDuration::from_mins(5);

/// Name of the secret in the store.
const SECRET: &str = "stream_tokens";

/// A secret that was read longer ago is read again: a store may be put back as it was, or promoted without its last commits.
const MAX_AGE: Duration = Duration::from_secs(60);

/// A new token.
pub struct IssuedStreamToken {
    /// The text for the client, good for the parameter `token` of a URL.
    pub token: String,
    /// Time from which on the token is refused.
    pub expires_at: Timestamp,
}

impl Service {
    /// Creates a token for reading the events of this run for 5 minutes, in the views that the caller may have. The token ends
    /// before with the caller's key. Fails with `RunNotFound`. The bearer of a token gets no other token, so that none lives on.
    pub async fn create_stream_token(&self, run_id: &RunId) -> Result<IssuedStreamToken> {
        let action = Action::begin(&self.caller, "stream_tokens.create", run_id.as_str());
        let issued = self.issue_stream_token(run_id).await;
        action.end(&issued);
        issued
    }

    async fn issue_stream_token(&self, run_id: &RunId) -> Result<IssuedStreamToken> {
        self.caller.require(KeyScope::EventsRead)?;
        self.store.extent(&Scope::Run(run_id.clone())).await?;
        let now = Timestamp::now();
        let end = now.checked_add(LIFE).map_err(Error::internal)?;
        let token = StreamToken {
            run_id: run_id.clone(),
            project: self.caller.project().clone(),
            key_id: self.caller.key_id().cloned(),
            is_sensitive: self.caller.has(KeyScope::EventsReadSensitive),
            expires_at: Timestamp::from_second(end.as_second()).map_err(Error::internal)?,
        };
        let secret = shared_secret(self.store.keys(), now).await?;
        Ok(IssuedStreamToken { token: token.sign(&secret), expires_at: token.expires_at })
    }
}

/// The secret of the store, after its creation if there is none.
async fn shared_secret(store: &dyn KeyStore, now: Timestamp) -> Result<Secret> {
    if let Some(secret) = store.secret(SECRET).await? {
        return Ok(secret);
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(Error::internal)?;
    store.create_secret(SECRET, &Secret(random), now).await?;
    // Another replica may have been faster: the stored secret counts.
    store.secret(SECRET).await?.ok_or(Error::StoreUnavailable)
}

/// The check of tokens, with the secret in memory.
#[derive(Default)]
pub struct StreamTokens(Mutex<Option<CachedSecret>>);

/// A secret, and when it was read.
#[derive(Clone, Copy)]
struct CachedSecret {
    secret: Secret,
    read: Instant,
}

impl StreamTokens {
    /// Checks a token; `None`: the store has to be asked, with [`check`](Self::check).
    pub fn known(&self, text: &str) -> Option<Result<StreamToken, KeyProblem>> {
        let cached = (*self.0.lock()).filter(|cached| cached.read.elapsed() < MAX_AGE)?;
        Some(StreamToken::verify(text, &cached.secret, Timestamp::now()))
    }

    /// Checks a token with the secret of the store. A store without a secret has issued no token.
    pub async fn check(&self, store: &dyn KeyStore, text: &str) -> Result<StreamToken> {
        let read = Instant::now();
        let secret = store.secret(SECRET).await?.ok_or(Error::Unauthenticated(KeyProblem::TokenInvalid))?;
        *self.0.lock() = Some(CachedSecret { secret, read });
        StreamToken::verify(text, &secret, Timestamp::now()).map_err(Error::Unauthenticated)
    }
}
