//! Keys of callers, what a key allows, and limits of keys and addresses.

mod key;
mod rate_limit;
mod scope;

pub use key::{Credential, Digest, KEY_NAME_CHARS, Key, KeyId, KeyProblem, ProjectId};
pub use rate_limit::{Excess, RateLimit};
pub use scope::{KeyScope, KeyScopes};
