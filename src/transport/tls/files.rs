//! The PEM files of the options, and the configuration of rustls made of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};

use super::not_after::not_after;

const CERT: &str = "--tls-cert";
const KEY: &str = "--tls-key";
const CLIENT_CA: &str = "--tls-client-ca";

/// Paths of the files. They are read by path each time, so links may be replaced.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// `--tls-cert`: the certificate, then intermediate certificates.
    pub cert: PathBuf,
    /// `--tls-key`: the private key of the certificate.
    pub key: PathBuf,
    /// `--tls-client-ca`: authorities of the clients. `None`: clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// A file that cannot be used. The text names the option, the file and the problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} {}: {problem}", file.display())]
pub struct TlsFileError {
    option: &'static str,
    file: PathBuf,
    problem: String,
}

impl TlsFileError {
    fn new(option: &'static str, file: &Path, problem: impl ToString) -> Self {
        Self { option, file: file.to_owned(), problem: problem.to_string() }
    }
}

/// The bytes of the files at one time.
#[derive(PartialEq, Eq)]
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// What a listener needs for new connections.
pub(super) struct Loaded {
    pub config: Arc<ServerConfig>,
    /// End of the validity of the server's certificate.
    pub not_after: Option<Timestamp>,
}

impl TlsFiles {
    /// Checks that the files can be used. Returns the end of the validity of the certificate.
    pub async fn check(&self) -> Result<Option<Timestamp>, TlsFileError> {
        Ok(self.load(&self.read().await?)?.not_after)
    }

    pub(super) async fn read(&self) -> Result<Contents, TlsFileError> {
        Ok(Contents {
            cert: read(CERT, &self.cert).await?,
            key: read(KEY, &self.key).await?,
            client_ca: match &self.client_ca {
                Some(file) => Some(read(CLIENT_CA, file).await?),
                None => None,
            },
        })
    }

    pub(super) fn load(&self, contents: &Contents) -> Result<Loaded, TlsFileError> {
        let provider = Arc::new(ring::default_provider());
        let certified = self.certified(contents, &provider)?;
        let not_after = certified.cert.first().and_then(|certificate| not_after(certificate));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsFileError::new(CERT, &self.cert, error))?;
        let builder = match (&self.client_ca, &contents.client_ca) {
            (Some(file), Some(pem)) => {
                let refused = |problem: String| TlsFileError::new(CLIENT_CA, file, problem);
                let mut roots = RootCertStore::empty();
                for certificate in certificates(CLIENT_CA, file, pem)? {
                    roots.add(certificate).map_err(|error| refused(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(|error| refused(error.to_string()))?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Loaded { config: Arc::new(config), not_after })
    }

    fn certified(&self, contents: &Contents, provider: &CryptoProvider) -> Result<CertifiedKey, TlsFileError> {
        let chain = certificates(CERT, &self.cert, &contents.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|error| match error {
            pem::Error::NoItemsFound => {
                TlsFileError::new(KEY, &self.key, "there is no private key in it, or one with a password")
            }
            error => TlsFileError::new(KEY, &self.key, error),
        })?;
        let key = provider.key_provider.load_private_key(key);
        let certified = CertifiedKey::new(chain, key.map_err(|error| TlsFileError::new(KEY, &self.key, error))?);
        match certified.keys_match() {
            // Rustls cannot compare keys of every kind.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
            Err(rustls::Error::InconsistentKeys(_)) => {
                let problem = format!("the key is not that of the certificate in {CERT} {}", self.cert.display());
                Err(TlsFileError::new(KEY, &self.key, problem))
            }
            Err(error) => Err(TlsFileError::new(CERT, &self.cert, error)),
        }
    }
}

async fn read(option: &'static str, file: &Path) -> Result<Vec<u8>, TlsFileError> {
    tokio::fs::read(file).await.map_err(|error| TlsFileError::new(option, file, error))
}

/// All certificates of a PEM file, at least one.
fn certificates(option: &'static str, file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsFileError::new(option, file, "there is no PEM certificate in it")),
        found => found.map_err(|error| TlsFileError::new(option, file, error)),
    }
}
