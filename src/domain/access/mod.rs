//! Keys of callers, and what a key allows.

mod key;
mod scope;

pub use key::{Credential, Digest, KEY_NAME_CHARS, Key, KeyId, KeyProblem, ProjectId};
pub use scope::{KeyScope, KeyScopes};
