//! Retention: how long events are kept.

use std::time::Duration;

use super::filter::TypePattern;
use super::run_status::RunStatus;

/// How long the events of a project are kept. A rule for the type goes before one for the status, and that before the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// For events without a rule of their own.
    pub default: Keep,
    /// For all events of runs with this status.
    pub by_status: Vec<(RunStatus, Keep)>,
    /// For events of these types; the first pattern that matches counts.
    pub by_type: Vec<(TypePattern, Keep)>,
    /// Most bytes of stored events; the oldest are removed first. `None`: no limit.
    pub max_bytes: Option<u64>,
}

/// How long an event is kept after its commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Never removed by its age.
    #[default]
    Forever,
    /// Removed once it is older.
    For(Duration),
}

impl Keep {
    fn limit(self) -> Option<Duration> {
        match self {
            Self::Forever => None,
            Self::For(limit) => Some(limit),
        }
    }
}

impl Retention {
    /// How long an event of this type is kept, in a run of this status.
    #[must_use]
    pub fn keep(&self, event_type: &str, status: RunStatus) -> Keep {
        let of_type = self.by_type.iter().find(|(pattern, _)| pattern.matches(event_type)).map(|(_, keep)| *keep);
        let of_status = || self.by_status.iter().find(|(of, _)| *of == status).map(|(_, keep)| *keep);
        of_type.or_else(of_status).unwrap_or(self.default)
    }

    /// Whether any event may be removed.
    #[must_use]
    pub fn removes(&self) -> bool {
        self.shortest().is_some() || self.max_bytes.is_some()
    }

    /// The age before which no event is removed; `None`: none is removed by its age.
    #[must_use]
    pub fn shortest(&self) -> Option<Duration> {
        self.limits().min()
    }

    /// The age from which events leave the feed of all runs, also those of held runs; `None`: they stay while they are kept.
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        let is_bounded = self.rules().all(|keep| keep != Keep::Forever);
        self.limits().max().filter(|_| is_bounded)
    }

    fn rules(&self) -> impl Iterator<Item = Keep> {
        let of_status = self.by_status.iter().map(|(_, keep)| *keep);
        [self.default].into_iter().chain(of_status).chain(self.by_type.iter().map(|(_, keep)| *keep))
    }

    fn limits(&self) -> impl Iterator<Item = Duration> {
        self.rules().filter_map(Keep::limit)
    }
}
