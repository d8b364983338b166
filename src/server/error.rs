//! Errors of the server.

use std::net::SocketAddr;

use crate::config::InvalidOptions;
use crate::domain::Error;
use crate::store::{postgres, sqlite};
use crate::transport::tls::TlsFileError;

/// Errors at the start and during serving, with advice.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Options that contradict each other.
    #[error(transparent)]
    Options(#[from] InvalidOptions),
    /// The SQLite file does not open.
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    /// The PostgreSQL database does not open.
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    /// A file of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// The address is in use, or not an address of this machine.
    #[error("cannot listen on {address}: {cause}; choose another with {option}")]
    Bind {
        /// The option with the address: `--listen` or `--admin-listen`.
        option: &'static str,
        /// The address of the option.
        address: SocketAddr,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// The first key of the options is in the store with another secret.
    #[error(
        "--admin-key-file: the store has key {key_id} with another secret; give that secret, or a key with another id"
    )]
    AdminKey {
        /// Id of the key.
        key_id: String,
    },
    /// The keys of the store cannot be read or written.
    #[error("the keys of the store: {0}")]
    Keys(#[from] Error),
    /// The store has no project of this name.
    #[error("there is no project {project}; `runlog keys create --project` makes one")]
    UnknownProject {
        /// Name of the project.
        project: String,
    },
    /// An error of the HTTP server while serving.
    #[error("serving failed: {0}")]
    Serve(#[from] tonic::transport::Error),
    /// A task of the store ended by a defect.
    #[error(
        "a task of the store has ended by a defect, which the log has; nothing can be stored or followed until the server is \
         started again"
    )]
    StoreDefect,
}
