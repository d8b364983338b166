//! TLS of the listeners: certificate, key and the authority of the clients.

use std::path::PathBuf;

use clap::Args;

use super::{InvalidOptions, ListenAddresses};

/// TLS of the listeners.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsOptions {
    /// Certificate of the server as a PEM file, intermediate certificates after it; with --tls-key. `--listen` and
    /// `--admin-listen` then speak TLS only. Changed files are taken while the server serves.
    #[arg(long, env = "RUNLOG_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate as a PEM file without a password; with --tls-cert.
    #[arg(long, env = "RUNLOG_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Authorities of the clients as a PEM file; with --tls-cert. Every client of both listeners then needs a certificate of
    /// one of them.
    #[arg(long, env = "RUNLOG_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Serve an address that other machines reach without TLS: keys and events are readable on the way. For servers behind a
    /// proxy that ends TLS.
    #[arg(long, env = "RUNLOG_INSECURE_NO_TLS")]
    pub insecure_no_tls: bool,
}

impl TlsOptions {
    /// Whether the listeners speak TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// Checks which of the options are given; the server reads the files.
    pub(super) fn validate(&self, addresses: [(&str, Option<&ListenAddresses>); 2]) -> Result<(), InvalidOptions> {
        for (option, addresses) in addresses {
            let is_exposed = |all: &&ListenAddresses| !all.are_loopback() && !self.is_on() && !self.insecure_no_tls;
            let Some(address) = addresses.filter(is_exposed) else { continue };
            return Err(InvalidOptions(format!(
                "{option} {address} is not a loopback address, and without TLS everyone on the way reads keys and events: give \
                 --tls-cert and --tls-key, or behind a proxy that ends TLS accept the risk with --insecure-no-tls"
            )));
        }
        let problem = match (&self.tls_cert, &self.tls_key, &self.tls_client_ca) {
            (Some(_), None, _) => "--tls-cert needs --tls-key, the private key of the certificate",
            (None, Some(_), _) => "--tls-key needs --tls-cert, the certificate of the key",
            (None, None, Some(_)) => {
                "--tls-client-ca needs --tls-cert and --tls-key: clients show certificates over TLS only"
            }
            _ => return Ok(()),
        };
        Err(InvalidOptions(problem.to_owned()))
    }
}
