//! Who calls: keys, and the callers that they make.

pub mod audit;
mod authenticator;
mod caller;
mod keys;

pub use authenticator::{AuthMode, Authenticator};
pub use caller::Caller;
pub use keys::{CreateKey, IssuedKey, KeysPage, ListKeys, RotateKey};
