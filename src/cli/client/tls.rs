//! TLS of the client: trusted authorities, and the certificate of the client.

use std::path::{Path, PathBuf};

use clap::Args;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::cli::outcome::{Exit, Failure, root_cause};

/// The options of a connection with TLS, for servers with an `https://` URL.
#[derive(Clone, Debug, Default, Args)]
pub struct TlsArgs {
    /// Authorities that may vouch for an https:// server, as a PEM file, in place of those of this system
    #[arg(long, env = "RUNLOG_CA", value_name = "FILE", help_heading = "Server")]
    pub ca: Option<PathBuf>,
    /// Certificate of this client as a PEM file, for a server that asks for one; with --cert-key
    #[arg(long, env = "RUNLOG_CERT", value_name = "FILE", requires = "cert_key", help_heading = "Server")]
    pub cert: Option<PathBuf>,
    /// Private key of --cert as a PEM file
    #[arg(long, env = "RUNLOG_CERT_KEY", value_name = "FILE", requires = "cert", help_heading = "Server")]
    pub cert_key: Option<PathBuf>,
}

impl TlsArgs {
    /// The endpoint with TLS as by these options.
    pub fn apply(&self, endpoint: Endpoint) -> Result<Endpoint, Failure> {
        let mut config = match &self.ca {
            Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificates("--ca", file)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.cert, &self.cert_key) {
            config = config.identity(Identity::from_pem(certificates("--cert", cert)?, read("--cert-key", key)?));
        }
        endpoint.tls_config(config).map_err(|error| {
            let cause = root_cause(&error);
            match (&self.cert, &self.cert_key) {
                (Some(cert), Some(key)) => {
                    let files = format!("--cert {} and --cert-key {}", cert.display(), key.display());
                    Failure::new(Exit::Usage, format!("{files}: {cause}"))
                        .hint("the key must be that of the certificate")
                }
                _ => Failure::new(Exit::Usage, format!("cannot use TLS: {cause}"))
                    .hint("--ca FILE names the authorities to trust where the system has none"),
            }
        })
    }
}

/// A PEM file with at least one certificate.
fn certificates(option: &str, file: &Path) -> Result<Vec<u8>, Failure> {
    let pem = read(option, file)?;
    match CertificateDer::from_pem_slice(&pem) {
        Ok(_) => Ok(pem),
        Err(_) => {
            Err(Failure::new(Exit::Usage, format!("{option} {}: there is no PEM certificate in it", file.display())))
        }
    }
}

fn read(option: &str, file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::of_file(option, file, &error))
}
