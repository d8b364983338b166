//! The certificates in use, and their reload when the files change.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use rustls::ServerConfig;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;

use super::files::{Contents, Loaded, TlsFileError, TlsFiles};
use super::refusals::Refusals;
use crate::telemetry;

/// Interval between two looks at the files. A change is taken when the next look finds the same bytes, so that a file is not
/// taken while it is written, nor a certificate whose key follows.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The certificates for new connections. Open connections keep those that they began with.
pub struct Certificates {
    config: RwLock<Arc<ServerConfig>>,
    refusals: Refusals,
}

impl Certificates {
    /// Reads the files. The second value takes their changes.
    ///
    /// # Errors
    /// A file cannot be read, holds no certificate or no key, or the key is that of another certificate.
    pub async fn open(files: TlsFiles) -> Result<(Arc<Self>, Reload), TlsFileError> {
        let contents = files.read().await?;
        let loaded = files.load(&contents)?;
        let certificates = Arc::new(Self { config: RwLock::new(loaded.config), refusals: Refusals::default() });
        shows(loaded.not_after);
        Ok((Arc::clone(&certificates), Reload { certificates, files, judged: Ok(contents) }))
    }

    /// Acceptor with the present certificate.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Counts a handshake that failed.
    pub(super) fn failed(&self, error: &io::Error) {
        self.refusals.failed(error);
    }

    fn replace(&self, config: Arc<ServerConfig>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

/// The bytes of the files, or the reason why they could not be read.
type Look = Result<Contents, TlsFileError>;

/// Takes changes of the files into use.
pub struct Reload {
    certificates: Arc<Certificates>,
    files: TlsFiles,
    /// The last state of the files that was loaded or refused.
    judged: Look,
}

impl Reload {
    /// Compares the files by content at an interval. Files that cannot be used are logged once, and the present certificate
    /// stays. Never ends.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before: Option<Look> = None;
        loop {
            ticks.tick().await;
            let look = self.files.read().await;
            if look == self.judged {
                before = None;
            } else if before.as_ref() == Some(&look) {
                before = None;
                self.take(look);
            } else {
                before = Some(look);
            }
        }
    }

    fn take(&mut self, look: Look) {
        let loaded = look.as_ref().map_err(TlsFileError::clone).and_then(|contents| self.files.load(contents));
        match loaded {
            Ok(Loaded { config, not_after }) => {
                self.certificates.replace(config);
                telemetry::TLS_CERTIFICATE_RELOADS.add_one(&[("outcome", "loaded")]);
                tracing::info!("the changed TLS certificate is in use for new connections");
                shows(not_after);
            }
            Err(error) => {
                telemetry::TLS_CERTIFICATE_RELOADS.add_one(&[("outcome", "refused")]);
                tracing::error!(%error, "the changed TLS files cannot be used; the certificate before stays in use");
            }
        }
        self.judged = look;
    }
}

/// Logs and exports the end of the validity of the certificate in use.
fn shows(not_after: Option<Timestamp>) {
    let Some(not_after) = not_after else { return };
    telemetry::TLS_CERTIFICATE_NOT_AFTER.set(u64::try_from(not_after.as_second()).unwrap_or(0));
    if not_after < Timestamp::now() {
        tracing::warn!(%not_after, "the TLS certificate has expired: clients refuse it");
    } else {
        tracing::info!(%not_after, "the TLS certificate is valid until then");
    }
}
