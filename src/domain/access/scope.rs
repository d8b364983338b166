//! Scopes: the kinds of requests that a key allows.

use std::fmt;
use std::str::FromStr;

use crate::domain::error::{Error, Result};

/// A kind of request that a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyScope {
    /// Publish events of origin USER, and create runs by publishing.
    EventsPublish,
    /// Publish events of origin SYSTEM, which only the runtime of an agent may send.
    EventsPublishSystem,
    /// List and follow events, and read runs.
    EventsRead,
    /// Read payloads in the full view.
    EventsReadSensitive,
    /// Create, signal, cancel and resume runs.
    RunsWrite,
    /// Manage keys, erase payloads, hold runs.
    Admin,
}

impl KeyScope {
    /// All scopes, in the order of lists.
    pub const ALL: [Self; 6] = [
        Self::EventsPublish,
        Self::EventsPublishSystem,
        Self::EventsRead,
        Self::EventsReadSensitive,
        Self::RunsWrite,
        Self::Admin,
    ];

    /// Name in requests, answers and the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventsPublish => "events.publish",
            Self::EventsPublishSystem => "events.publish_system",
            Self::EventsRead => "events.read",
            Self::EventsReadSensitive => "events.read_sensitive",
            Self::RunsWrite => "runs.write",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyScope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Error::invalid("scopes", format!("{text:?} is no scope; the scopes are {names}"))
        })
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyScopes(u8);

impl KeyScopes {
    /// Every scope: a caller in this process, or of a server without keys.
    #[must_use]
    pub fn all() -> Self {
        KeyScope::ALL.into_iter().collect()
    }

    /// Whether the set has this scope.
    #[must_use]
    pub fn has(self, scope: KeyScope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether the set has no scope.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes, in the order of [`KeyScope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = KeyScope> {
        KeyScope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    /// The set as stored: the names, separated by spaces.
    #[must_use]
    pub fn to_text(self) -> String {
        self.iter().map(KeyScope::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Reads the set as stored.
    pub fn parse(text: &str) -> Result<Self> {
        text.split_ascii_whitespace().map(KeyScope::from_str).collect()
    }
}

impl FromIterator<KeyScope> for KeyScopes {
    fn from_iter<I: IntoIterator<Item = KeyScope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Debug for KeyScopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_scopes_is_read_back_as_stored() {
        for scope in KeyScope::ALL {
            let one: KeyScopes = [scope].into_iter().collect();
            assert_eq!(KeyScopes::parse(&one.to_text()).unwrap(), one);
            assert_eq!(KeyScope::ALL.map(|other| one.has(other)), KeyScope::ALL.map(|other| other == scope));
        }
        assert_eq!(KeyScopes::parse(&KeyScopes::all().to_text()).unwrap(), KeyScopes::all());
        assert!(KeyScopes::parse("").unwrap().is_empty());
        let refused = KeyScopes::parse("events.read events.write").unwrap_err();
        assert_eq!(refused.field().as_deref(), Some("scopes"));
        assert!(refused.to_string().contains("events.read_sensitive"), "{refused}");
    }
}
