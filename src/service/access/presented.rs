//! What a request presents to say who calls.

use std::borrow::Cow;

use crate::domain::access::{Credential, KeyProblem};

/// A key, a stream token, or nothing. Never printed or logged.
pub enum Presented<'a> {
    /// Neither a key nor a token.
    Nothing,
    /// A header that holds no key.
    Malformed,
    /// The text of a key, `key_<id>:<secret>`.
    Key(Cow<'a, str>),
    /// The text of a stream token, where the route takes one.
    Token(Cow<'a, str>),
}

impl Presented<'_> {
    /// The key. Fails if there is none, or no form of one.
    pub fn credential(&self) -> Result<Credential, KeyProblem> {
        match self {
            Self::Key(text) => text.parse(),
            Self::Malformed => Err(KeyProblem::Invalid),
            Self::Nothing | Self::Token(_) => Err(KeyProblem::Missing),
        }
    }

    /// The same, without a borrow of the request.
    #[must_use]
    pub fn into_owned(self) -> Presented<'static> {
        match self {
            Self::Nothing => Presented::Nothing,
            Self::Malformed => Presented::Malformed,
            Self::Key(text) => Presented::Key(Cow::Owned(text.into_owned())),
            Self::Token(text) => Presented::Token(Cow::Owned(text.into_owned())),
        }
    }
}
