//! TLS of the listeners: the certificates, their reload, and the socket below a connection.

mod certificates;
mod files;
mod not_after;
mod refusals;
mod socket;

pub use certificates::{Certificates, Reload};
pub use files::{TlsFileError, TlsFiles};
pub use socket::Socket;
