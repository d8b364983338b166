//! Paths of events in a request body, in the spelling of error messages.

use super::http_error::HttpError;

/// Shape of a request body that holds events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventPath {
    /// A single event: `payload`.
    One,
    /// An array without a name: `[3].payload`.
    Bare,
    /// An array under a member name: `events[3].payload`.
    Named(&'static str),
}

impl EventPath {
    /// Path of the event at this position of the body, counted from 0.
    #[must_use]
    pub fn of(self, position: usize) -> String {
        match self {
            Self::One => String::new(),
            Self::Bare => format!("[{position}]"),
            Self::Named(name) => format!("{name}[{position}]"),
        }
    }

    /// Rewrites the field of an error from the service, `events[3].payload`, to the path in this body. `position` maps
    /// the index of an event in the publish to the position in the body.
    #[must_use]
    pub fn respell(self, problem: HttpError, position: impl Fn(usize) -> usize) -> HttpError {
        let Some(spelled) = problem.field.as_deref().and_then(|field| self.spell(field, position)) else {
            return problem;
        };
        let rest = problem.field.as_deref().and_then(|field| problem.message.strip_prefix(field));
        let message = rest.map_or_else(|| problem.message.clone(), |rest| format!("{spelled}{rest}"));
        let metadata = problem.metadata.into_iter().map(|(name, value)| match name {
            "field" => (name, spelled.clone()),
            _ => (name, value),
        });
        HttpError { metadata: metadata.collect(), message, field: Some(spelled), ..problem }
    }

    fn spell(self, field: &str, position: impl Fn(usize) -> usize) -> Option<String> {
        let (index, member) = field.strip_prefix("events[")?.split_once(']')?;
        let path = format!("{}{member}", self.of(position(index.parse().ok()?)));
        Some(path.trim_start_matches('.').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_spelled_as_the_body_has_it() {
        let problem = || HttpError::field("events[3].event_id", "is bad");
        for (path, spelled) in [
            (EventPath::One, "event_id"),
            (EventPath::Bare, "[5].event_id"),
            (EventPath::Named("events"), "events[5].event_id"),
        ] {
            let respelled = path.respell(problem(), |index| index + 2);
            assert_eq!(respelled.field.as_deref(), Some(spelled));
            assert_eq!(respelled.message, format!("{spelled}: is bad"));
        }
        let other = EventPath::Bare.respell(HttpError::field("run_id", "is bad"), |index| index);
        assert_eq!(other.field.as_deref(), Some("run_id"));
    }
}
