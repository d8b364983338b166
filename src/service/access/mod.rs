//! Keys and stream tokens, the callers that they make, and their limits.

pub mod audit;
mod authenticator;
mod cached_key;
mod caller;
mod failed_keys;
mod key_limits;
mod keys;
mod presented;
mod rate;
mod stream_tokens;

pub use authenticator::{AuthMode, Authenticator};
pub use caller::{Caller, CallerDescription, Project};
pub use key_limits::{AccessLimits, StreamPlace};
pub use keys::{CreateKey, IssuedKey, KeysPage, ListKeys, RotateKey};
pub use presented::Presented;
pub use rate::Rate;
pub use stream_tokens::IssuedStreamToken;
