//! Who calls: keys, and the callers that they make.

mod authenticator;
mod caller;
mod keys;

pub use authenticator::{AuthMode, Authenticator};
pub use caller::Caller;
pub use keys::{CreateKey, IssuedKey, KeysPage, ListKeys, RotateKey};
