//! Who calls: keys, the callers that they make, and their limits.

pub mod audit;
mod authenticator;
mod caller;
mod failed_keys;
mod key_limits;
mod keys;
mod rate;

pub use authenticator::{AuthMode, Authenticator};
pub use caller::Caller;
pub use key_limits::{AccessLimits, StreamPlace};
pub use keys::{CreateKey, IssuedKey, KeysPage, ListKeys, RotateKey};
pub use rate::Rate;
