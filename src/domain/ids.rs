//! Names that producers give: checked once, cheap to clone.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::error::{Error, Result};

/// Bound of every name in characters.
pub const MAX_NAME_CHARS: usize = 200;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $field:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text; the error names the field.
            pub fn parse(text: &str) -> Result<Self> {
                $check(text).map_err(|problem| Error::invalid($field, problem))?;
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Identifies a run: 1 to 200 characters without control characters. Two ids are the same if their bytes are: nothing is
    /// normalized, and their order is that of their bytes.
    RunId, "run_id", printable
);
name!(
    /// Identifies an event in its run: 1 to 200 characters without control characters.
    EventId, "event_id", printable
);
name!(
    /// What happened: 1 to 200 characters without control characters. Any text; the documented types have a meaning.
    EventType, "type", printable
);
name!(
    /// The agent that ran: 1 to 200 characters without control characters.
    AgentName, "agent_name", printable
);
name!(
    /// The structure that a run belongs to (door A): 1 to 200 characters without control characters.
    StructureId, "structure_id", printable
);

/// A UUID as text is a valid id.
impl From<Uuid> for EventId {
    fn from(id: Uuid) -> Self {
        Self(Arc::from(&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer())))
    }
}

fn printable(text: &str) -> Result<(), String> {
    // Most names: there is one in every event.
    if (1..=MAX_NAME_CHARS).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Ok(());
    }
    length(text)?;
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, c)) => Err(format!("must not hold control characters; found {c:?} at byte {at}")),
        None => Ok(()),
    }
}

fn length(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty".into());
    }
    // The byte length bounds the count from above, so the characters of a hostile megabyte are never counted.
    let chars = if text.len() > 4 * MAX_NAME_CHARS { text.len() / 4 } else { text.chars().count() };
    if chars > MAX_NAME_CHARS {
        return Err(format!("must be at most {MAX_NAME_CHARS} characters; it has at least {chars}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_is_1_to_200_characters_of_any_text_without_control_characters() {
        for good in ["r", "a b", " ", "é", "e\u{301}", "שלום", "a/b?c#d%20&+", &"r".repeat(200), &"🦀".repeat(200)]
        {
            assert_eq!(RunId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", &"r".repeat(201), &"🦀".repeat(201), &"r".repeat(5_000_000), "a\n", "\0", "\u{7f}", "\u{9f}"]
        {
            let error = RunId::parse(bad).unwrap_err();
            assert_eq!(error.field().as_deref(), Some("run_id"));
        }
    }

    #[test]
    fn a_type_counts_characters_not_bytes() {
        assert!(EventType::parse(&"é".repeat(200)).is_ok());
        assert!(EventType::parse(&"é".repeat(201)).is_err());
        assert!(EventType::parse("a\0b").is_err());
    }
}
