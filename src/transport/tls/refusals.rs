//! Failed handshakes: the metric by reason, and at most one line of the log a minute.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry;

/// Shortest time between two log lines about failed handshakes.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// Reason of a connection that ended before the end of the handshake.
const DISCONNECTED: &str = "disconnected";

/// Counts the failed handshakes of the listeners.
#[derive(Debug, Default)]
pub struct Refusals {
    logged: Mutex<Option<Instant>>,
}

impl Refusals {
    /// Counts a handshake that failed with this error.
    pub fn failed(&self, error: &io::Error) {
        let reason = reason(error);
        telemetry::TLS_HANDSHAKE_FAILURES.add_one(&[("reason", reason)]);
        // Probes open a connection and close it.
        if reason == DISCONNECTED {
            return;
        }
        let now = Instant::now();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| now.duration_since(at) >= LOG_PAUSE) {
            *logged = Some(now);
            tracing::warn!(reason, %error, "TLS handshakes fail; runlog_tls_handshake_failures_total counts all of them");
        }
    }
}

fn reason(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::TimedOut {
        return "timeout";
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(_)) => "no_tls",
        Some(rustls::Error::NoCertificatesPresented) => "no_client_certificate",
        Some(rustls::Error::InvalidCertificate(_)) => "client_certificate",
        Some(rustls::Error::AlertReceived(_)) => "refused_by_client",
        Some(rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol) => "incompatible",
        Some(_) => "protocol",
        None => DISCONNECTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_that_failed_has_a_reason_by_its_error() {
        let tls = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        for (error, expected) in [
            (tls(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)), "no_tls"),
            (tls(rustls::Error::NoCertificatesPresented), "no_client_certificate"),
            (tls(rustls::CertificateError::UnknownIssuer.into()), "client_certificate"),
            (tls(rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA)), "refused_by_client"),
            (tls(rustls::Error::NoApplicationProtocol), "incompatible"),
            (tls(rustls::Error::DecryptError), "protocol"),
            (io::ErrorKind::UnexpectedEof.into(), "disconnected"),
            (io::ErrorKind::ConnectionReset.into(), "disconnected"),
            (io::ErrorKind::TimedOut.into(), "timeout"),
        ] {
            assert_eq!(reason(&error), expected, "{error}");
        }
    }
}
