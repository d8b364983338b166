//! Where an event stands in the body of a request, as refusals spell it.

use super::HttpError;

/// The shape of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventPath {
    /// One event: `payload`.
    One,
    /// An array: `[3].payload`.
    Bare,
    /// An array under a name: `events[3].payload`.
    Named(&'static str),
}

impl EventPath {
    /// The path of the event at this place, from 0.
    #[must_use]
    pub fn of(self, place: usize) -> String {
        match self {
            Self::One => String::new(),
            Self::Bare => format!("[{place}]"),
            Self::Named(name) => format!("{name}[{place}]"),
        }
    }

    /// A problem that was found behind the door, with its field as this body spells it. `place` tells where the event of an
    /// index stands.
    #[must_use]
    pub fn respell(self, problem: HttpError, place: impl Fn(usize) -> usize) -> HttpError {
        let Some(spelled) = problem.field.as_deref().and_then(|field| self.spell(field, place)) else { return problem };
        let rest = problem.field.as_deref().and_then(|field| problem.message.strip_prefix(field));
        let message = rest.map_or_else(|| problem.message.clone(), |rest| format!("{spelled}{rest}"));
        let metadata = problem.metadata.into_iter().map(|(name, value)| match name {
            "field" => (name, spelled.clone()),
            _ => (name, value),
        });
        HttpError { metadata: metadata.collect(), message, field: Some(spelled), ..problem }
    }

    fn spell(self, field: &str, place: impl Fn(usize) -> usize) -> Option<String> {
        let (index, member) = field.strip_prefix("events[")?.split_once(']')?;
        let path = format!("{}{member}", self.of(place(index.parse().ok()?)));
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
