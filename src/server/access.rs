//! Keys at the start of a server: the first key, and the check of all keys.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tower::Layer;

use super::error::StartError;
use super::parts;
use crate::config::ServeOptions;
use crate::domain::Error;
use crate::service::Service;
use crate::service::access::{AuthMode, Authenticator};
use crate::store::SharedStore;
use crate::transport::authentication::Authentication;

/// Stores the first key, if the options name one, and begins to check keys.
pub async fn open(
    options: &ServeOptions,
    service: &Service,
    store: SharedStore,
) -> Result<Arc<Authenticator>, StartError> {
    if let Some(credential) = options.access.admin_credential()? {
        let key_id = &credential.key_id;
        match service.ensure_admin_key(&credential).await {
            Ok(true) => tracing::info!(%key_id, "the first key is stored, with the scope admin"),
            Ok(false) => tracing::info!(%key_id, "the first key is stored already"),
            Err(Error::KeyEnded { .. }) => {
                tracing::warn!(%key_id, "the first key is revoked or has expired: it is refused like any other");
            }
            Err(Error::KeyExists { .. }) => return Err(StartError::AdminKey { key_id: key_id.to_string() }),
            Err(error) => return Err(error.into()),
        }
    }
    let mode = parts::auth_mode(options);
    let has_keys = store.keys().any().await?;
    match mode {
        AuthMode::Required if !has_keys => {
            tracing::warn!(
                "every call needs a key and the store has none: `runlog keys create` makes one, while no server runs"
            );
        }
        AuthMode::Off if has_keys => tracing::warn!("--auth off: the keys of the store are not asked for"),
        _ => {}
    }
    Ok(Arc::new(Authenticator::open(store, mode, parts::access_limits(options)).await?))
}

/// The layer that authenticates requests.
pub fn layer<S>(
    authenticator: &Arc<Authenticator>,
    options: &ServeOptions,
) -> impl Layer<S, Service = Authentication<S>> + Clone + use<S> {
    Authentication::layer(Arc::clone(authenticator), parts::open_routes(options))
}

/// The tasks that read the keys in use again and again, and record their uses.
pub struct Watch {
    authenticator: Arc<Authenticator>,
    tasks: [JoinHandle<()>; 2],
}

/// Longest wait for the record of the last uses at the end.
const LAST_RECORD: Duration = Duration::from_secs(1);

impl Watch {
    pub fn begin(authenticator: &Arc<Authenticator>) -> Self {
        let (watched, used) = (Arc::clone(authenticator), Arc::clone(authenticator));
        let watch = tokio::spawn(async move { watched.watch().await });
        let uses = tokio::spawn(async move { used.watch_uses().await });
        Self { authenticator: Arc::clone(authenticator), tasks: [watch, uses] }
    }

    /// Ends the tasks, after a record of the last uses.
    pub async fn end(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        if tokio::time::timeout(LAST_RECORD, self.authenticator.record_uses()).await.is_err() {
            tracing::warn!("the last uses of keys are not recorded");
        }
    }
}
