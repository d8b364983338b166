//! Filter of a list or subscribe request.

use super::error::{Error, Result};
use super::event::Origin;
use super::ids::{AgentName, MAX_NAME_CHARS, RunId};

/// Maximum number of type patterns in one filter.
pub const MAX_FILTER_TYPES: usize = 100;

/// Maximum number of runs, and of agents, in one filter.
pub const MAX_FILTER_NAMES: usize = 100;

/// Passes an event if its type matches one of the patterns (no pattern: all types), and its origin, run and agent are in the
/// lists (empty list: all).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    types: Vec<TypePattern>,
    origins: Vec<Origin>,
    runs: Vec<RunId>,
    agents: Vec<AgentName>,
}

/// What a filter looks at in an event.
#[derive(Clone, Copy, Debug)]
pub struct FilteredParts<'a> {
    /// Type of the event.
    pub event_type: &'a str,
    /// Origin of the event.
    pub origin: Origin,
    /// Id of the run.
    pub run_id: &'a str,
    /// Name of the event's agent; needed only if [`EventFilter::needs_agent`].
    pub agent_name: Option<&'a str>,
}

/// A type, or all types with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypePattern {
    /// This type.
    Exact(String),
    /// All types that begin with this text.
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
        let pattern = |(i, text): (usize, &String)| TypePattern::parse(&format!("filter.types[{i}]"), text);
        let types = types.iter().enumerate().map(pattern).collect::<Result<_>>()?;
        Ok(Self { types, origins, ..Self::default() })
    }

    /// The same filter, for events of these runs and these agents only; an empty list: of all.
    ///
    /// # Errors
    /// `InvalidField` for more than [`MAX_FILTER_NAMES`] of either.
    pub fn of(self, runs: Vec<RunId>, agents: Vec<AgentName>) -> Result<Self> {
        for (field, count) in [("filter.run_ids", runs.len()), ("filter.agent_names", agents.len())] {
            if count > MAX_FILTER_NAMES {
                let problem = format!("must hold at most {MAX_FILTER_NAMES}; it has {count}");
                return Err(Error::invalid(field, problem));
            }
        }
        Ok(Self { runs, agents, ..self })
    }

    /// Whether the filter looks at the agent of an event.
    #[must_use]
    pub fn needs_agent(&self) -> bool {
        !self.agents.is_empty()
    }

    /// Whether every event passes, so that stored bytes may be sent without a look at their headers.
    #[must_use]
    pub fn passes_all(&self) -> bool {
        self.types.is_empty() && self.origins.is_empty() && self.runs.is_empty() && self.agents.is_empty()
    }

    /// Whether an event with these parts passes.
    #[must_use]
    pub fn passes(&self, parts: FilteredParts<'_>) -> bool {
        let FilteredParts { event_type, origin, run_id, agent_name } = parts;
        (self.types.is_empty() || self.types.iter().any(|p| p.matches(event_type)))
            && (self.origins.is_empty() || self.origins.contains(&origin))
            && (self.runs.is_empty() || self.runs.iter().any(|run| run.as_str() == run_id))
            && (self.agents.is_empty() || self.agents.iter().any(|agent| Some(agent.as_str()) == agent_name))
    }
}

impl TypePattern {
    /// Parses a type, or a prefix followed by `*`.
    ///
    /// # Errors
    /// `InvalidField` with this field for an empty or too long pattern, or a `*` before the end.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        if text.is_empty() || text.chars().count() > MAX_NAME_CHARS {
            return Err(Error::invalid(field, format!("must be 1 to {MAX_NAME_CHARS} characters")));
        }
        match text.strip_suffix('*') {
            Some(prefix) if prefix.contains('*') => Err(Error::invalid(field, "may hold one `*`, at its end")),
            Some(prefix) => Ok(Self::Prefix(prefix.to_owned())),
            None if text.contains('*') => Err(Error::invalid(field, "may hold one `*`, at its end")),
            None => Ok(Self::Exact(text.to_owned())),
        }
    }

    /// Whether the type is one of the pattern.
    #[must_use]
    pub fn matches(&self, event_type: &str) -> bool {
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

    fn parts(event_type: &str) -> FilteredParts<'_> {
        FilteredParts { event_type, origin: Origin::User, run_id: "r", agent_name: Some("a") }
    }

    #[test]
    fn patterns_match_whole_types_or_beginnings() {
        assert!(filter(&["step"]).passes(parts("step")));
        assert!(!filter(&["step"]).passes(parts("step.done")));
        assert!(filter(&["step.*"]).passes(parts("step.done")));
        assert!(!filter(&["step.*"]).passes(parts("step")));
        assert!(filter(&["a", "StructureRun*"]).passes(parts("StructureRunError")));
        assert!(filter(&["*"]).passes(parts("x")));
    }

    #[test]
    fn runs_and_agents_are_compared_as_a_whole_and_with_the_rest_of_the_filter() {
        let run = |id: &str| vec![RunId::parse(id).unwrap()];
        let agent = |name: &str| vec![AgentName::parse(name).unwrap()];
        let of = |types: &[&str], runs, agents| filter(types).of(runs, agents).unwrap();
        assert!(of(&[], run("r"), vec![]).passes(parts("step")) && of(&[], vec![], agent("a")).passes(parts("step")));
        assert!(
            !of(&[], run("rr"), vec![]).passes(parts("step")) && !of(&[], run("r"), agent("b")).passes(parts("step"))
        );
        assert!(!of(&["x"], run("r"), agent("a")).passes(parts("step")));
        let nobody = FilteredParts { agent_name: None, ..parts("step") };
        assert!(!of(&[], vec![], agent("a")).passes(nobody));
        assert!(of(&[], vec![], agent("a")).needs_agent() && !of(&[], run("r"), vec![]).passes_all());
        let many = vec![RunId::parse("r").unwrap(); MAX_FILTER_NAMES + 1];
        assert_eq!(filter(&[]).of(many, vec![]).unwrap_err().field().as_deref(), Some("filter.run_ids"));
    }

    #[test]
    fn a_star_elsewhere_is_refused_by_field() {
        for bad in ["*.done", "a*b", "**", ""] {
            let error = EventFilter::parse(&["ok".to_owned(), bad.to_owned()], vec![]).unwrap_err();
            assert_eq!(error.field().as_deref(), Some("filter.types[1]"), "{bad}");
        }
    }
}
