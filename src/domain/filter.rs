//! Filter of a list or subscribe request.

use super::error::{Error, Result};
use super::event::Origin;
use super::ids::MAX_NAME_CHARS;

/// Maximum number of type patterns in one filter.
pub const MAX_FILTER_TYPES: usize = 100;

/// Passes an event if its type matches one of the patterns (no pattern: all types) and its origin is in the list (empty
/// list: both origins).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    types: Vec<Pattern>,
    origins: Vec<Origin>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Prefix(String),
}

impl EventFilter {
    /// A pattern is a type, or a prefix followed by `*` (`run.*`, `StructureRun*`, `*`).
    ///
    /// # Errors
    /// `InvalidField` for more than [`MAX_FILTER_TYPES`] patterns, an empty or too long pattern, or a `*` before the end.
    pub fn parse(types: &[String], origins: Vec<Origin>) -> Result<Self> {
        if types.len() > MAX_FILTER_TYPES {
            let problem = format!("must hold at most {MAX_FILTER_TYPES} types; it has {}", types.len());
            return Err(Error::invalid("filter.types", problem));
        }
        let types = types.iter().enumerate().map(|(i, text)| Pattern::parse(i, text)).collect::<Result<_>>()?;
        Ok(Self { types, origins })
    }

    /// Whether every event passes, so that stored bytes may be sent without a look at their headers.
    #[must_use]
    pub fn passes_all(&self) -> bool {
        self.types.is_empty() && self.origins.is_empty()
    }

    /// Whether an event of this type and origin passes.
    #[must_use]
    pub fn passes(&self, event_type: &str, origin: Origin) -> bool {
        (self.types.is_empty() || self.types.iter().any(|p| p.matches(event_type)))
            && (self.origins.is_empty() || self.origins.contains(&origin))
    }
}

impl Pattern {
    fn parse(index: usize, text: &str) -> Result<Self> {
        let field = || format!("filter.types[{index}]");
        if text.is_empty() || text.chars().count() > MAX_NAME_CHARS {
            return Err(Error::invalid(field(), format!("must be 1 to {MAX_NAME_CHARS} characters")));
        }
        match text.strip_suffix('*') {
            Some(prefix) if prefix.contains('*') => Err(Error::invalid(field(), "may hold one `*`, at its end")),
            Some(prefix) => Ok(Self::Prefix(prefix.to_owned())),
            None if text.contains('*') => Err(Error::invalid(field(), "may hold one `*`, at its end")),
            None => Ok(Self::Exact(text.to_owned())),
        }
    }

    fn matches(&self, event_type: &str) -> bool {
        match self {
            Self::Exact(text) => event_type == text,
            Self::Prefix(prefix) => event_type.starts_with(prefix.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(types: &[&str]) -> EventFilter {
        EventFilter::parse(&types.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>(), vec![]).unwrap()
    }

    #[test]
    fn patterns_match_whole_types_or_beginnings() {
        assert!(filter(&["step"]).passes("step", Origin::User));
        assert!(!filter(&["step"]).passes("step.done", Origin::User));
        assert!(filter(&["step.*"]).passes("step.done", Origin::User));
        assert!(!filter(&["step.*"]).passes("step", Origin::User));
        assert!(filter(&["a", "StructureRun*"]).passes("StructureRunError", Origin::System));
        assert!(filter(&["*"]).passes("x", Origin::User));
    }

    #[test]
    fn a_star_elsewhere_is_refused_by_field() {
        for bad in ["*.done", "a*b", "**", ""] {
            let error = EventFilter::parse(&["ok".to_owned(), bad.to_owned()], vec![]).unwrap_err();
            assert_eq!(error.field().as_deref(), Some("filter.types[1]"), "{bad}");
        }
    }
}
