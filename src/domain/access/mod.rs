//! Keys of callers, what a key allows, limits of keys and addresses, and stream tokens.

mod key;
mod rate_limit;
mod scope;
mod stream_token;

pub use key::{Credential, Digest, KEY_NAME_CHARS, Key, KeyId, KeyProblem, ProjectId};
pub use rate_limit::{Excess, RateLimit};
pub use scope::{KeyScope, KeyScopes};
pub use stream_token::{Secret, StreamToken};
