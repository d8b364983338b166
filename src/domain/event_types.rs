//! The documented event types: one line for each, with its default origin and its effect on the run. `domain::projection`
//! applies the effects, and `transport::payload` has the typed variants. Any other type can be published as well and has no
//! effect.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::error::{Error, Result};
use super::ids::printable;
use super::run_status::RunStatus;

/// Source of an event: the platform that runs the agent, or the agent's own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Lifecycle transitions from workers and the platform.
    System,
    /// Events published by the agent's own code.
    User,
}

/// Effect of an event on the status of its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatusRule {
    /// The status stays.
    #[default]
    Unchanged,
    /// This status.
    Fixed(RunStatus),
    /// The status named by the member `to_status`, else this one.
    ToStatusOr(RunStatus),
    /// The final status named by the member `status`, else by the exit code.
    Completion,
    /// RUNNING, or AWAITING_INPUT while another question is open.
    RunningIfAnswered,
}

/// Members of a payload that the projection reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// None: the payload is not parsed.
    #[default]
    Nothing,
    /// `started_at`.
    StructureRun,
    /// `started_at` and `completed_at`; `status_detail`, which is also the error; under [`StatusRule::Completion`] also
    /// `status` and `exit_code`.
    StructureRunEnd,
    /// `output_task_output`, the output; of USER events only.
    TaskOutput,
    /// `output`, and the usage: `prompt_tokens`, `completion_tokens`, `total_tokens`, `cost_usd` and `model`.
    RunEnd,
    /// `to_status`, and `status_detail` as the error of a failed run.
    Transition,
    /// The question to open: its id (`question_id`, `input_id`, `id` or `request_id`), `question`, `context`, `channel`,
    /// `reason_code` and `input_kind`.
    Question,
    /// The question to close: `requested_seq`, `question_id`, `input_id`, `id` or `request_id`.
    Answer,
}

/// Effect of an event on its run. The default, no effect, is that of all undocumented types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Effect on the status.
    pub status: StatusRule,
    /// Members of the payload with an effect.
    pub reads: Reads,
}

/// A documented event type.
#[derive(Clone, Copy, Debug)]
pub struct DocumentedType {
    /// The type, for instance `tool_call`.
    pub name: &'static str,
    /// Origin of an event that was published without one.
    pub origin: Origin,
    /// Effect on the run.
    pub effect: Effect,
    /// Whether events of the type are deltas, see [`EventType::is_delta`].
    pub is_delta: bool,
}

const fn line(name: &'static str, origin: Origin, status: StatusRule, reads: Reads) -> DocumentedType {
    DocumentedType { name, origin, effect: Effect { status, reads }, is_delta: false }
}

/// A type of deltas, which change nothing about their run.
const fn delta(name: &'static str, origin: Origin) -> DocumentedType {
    DocumentedType { is_delta: true, ..line(name, origin, StatusRule::Unchanged, Reads::Nothing) }
}

/// Every documented type: name, default origin, effect on the status, members read.
pub static EVENT_TYPES: [DocumentedType; 28] = {
    use Origin::{System, User};
    use RunStatus::{AwaitingInput, Cancelled, Failed, Queued, Running, Stalled, Starting, Succeeded};
    use StatusRule::{Completion, Fixed, RunningIfAnswered, ToStatusOr, Unchanged};
    [
        line("StructureRunStarting", System, Fixed(Starting), Reads::StructureRun),
        line("StructureRunRunning", System, Fixed(Running), Reads::StructureRun),
        line("StructureRunCompleted", System, Completion, Reads::StructureRunEnd),
        line("StructureRunError", System, Fixed(Failed), Reads::StructureRunEnd),
        line("FinishStructureRunEvent", User, Unchanged, Reads::TaskOutput),
        line("run_start", User, Fixed(Running), Reads::Nothing),
        line("run_end", User, Fixed(Succeeded), Reads::RunEnd),
        line("error", User, Fixed(Failed), Reads::Nothing),
        line("step", User, Unchanged, Reads::Nothing),
        line("tool_call", User, Unchanged, Reads::Nothing),
        line("human_input_requested", User, Fixed(AwaitingInput), Reads::Question),
        line("human_input_received", User, RunningIfAnswered, Reads::Answer),
        line("run.created", System, Fixed(Queued), Reads::Nothing),
        line("run.worker.started", System, ToStatusOr(Running), Reads::Transition),
        line("run.worker.succeeded", System, ToStatusOr(Succeeded), Reads::Transition),
        line("run.worker.failed", System, ToStatusOr(Failed), Reads::Transition),
        line("run.worker.stalled", System, ToStatusOr(Stalled), Reads::Transition),
        line("run.worker.retry_scheduled", System, ToStatusOr(Queued), Reads::Transition),
        line("run.cancelled", System, Fixed(Cancelled), Reads::Nothing),
        line("run.resumed", System, ToStatusOr(Running), Reads::Transition),
        line("run.limit_exceeded", System, Fixed(Failed), Reads::Nothing),
        delta("step.progress", User),
        line("step.done", User, Unchanged, Reads::Nothing),
        line("run.tool.invoked", System, Unchanged, Reads::Nothing),
        line("run.coordination.decision", System, Unchanged, Reads::Nothing),
        line("run.awaiting_input", System, Fixed(AwaitingInput), Reads::Question),
        // These close a question, and `run.resumed` changes the status.
        line("run.signal_applied", System, Unchanged, Reads::Answer),
        line("run.input_received", System, Unchanged, Reads::Answer),
    ]
};

/// Type of an event: 1 to 200 characters without control characters. Any text is a type; the documented types also change the
/// state of their run.
#[derive(Clone)]
pub struct EventType(Repr);

/// A documented type is looked up once, and takes no memory of its own.
#[derive(Clone)]
enum Repr {
    Documented(&'static DocumentedType),
    Other(Arc<str>),
}

impl EventType {
    /// Checks the text.
    ///
    /// # Errors
    /// `InvalidField` for the field `type`.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(documented) = EVENT_TYPES.iter().find(|documented| documented.name == text) {
            return Ok(Self(Repr::Documented(documented)));
        }
        printable(text).map_err(|problem| Error::invalid("type", problem))?;
        Ok(Self(Repr::Other(text.into())))
    }

    /// The text as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Documented(documented) => documented.name,
            Repr::Other(text) => text,
        }
    }

    fn documented(&self) -> Option<&'static DocumentedType> {
        match self.0 {
            Repr::Documented(documented) => Some(documented),
            Repr::Other(_) => None,
        }
    }

    /// Whether events of this type are deltas: parts of one step that follow each other closely, such as the tokens of a text.
    /// Undocumented types are deltas if their last word is `delta`, as in `content_delta` or `response.output_text.delta`.
    #[must_use]
    pub fn is_delta(&self) -> bool {
        let last_word = || self.as_str().rsplit(['.', '_', '-']).next();
        self.documented().map_or_else(|| last_word() == Some("delta"), |documented| documented.is_delta)
    }
}

impl PartialEq for EventType {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for EventType {}

impl Hash for EventType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Origin {
    /// Origin of an event that was published without one. Undocumented types are SYSTEM if they begin with `run.`, else
    /// USER.
    #[must_use]
    pub fn default_for(event_type: &EventType) -> Self {
        match event_type.documented() {
            Some(documented) => documented.origin,
            None if event_type.as_str().starts_with("run.") => Self::System,
            None => Self::User,
        }
    }
}

impl Effect {
    /// Effect of an event of this type.
    #[must_use]
    pub fn of(event_type: &EventType) -> Self {
        event_type.documented().map(|documented| documented.effect).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn event_type(name: &str) -> EventType {
        EventType::parse(name).unwrap()
    }

    #[test]
    fn a_type_counts_characters_not_bytes() {
        assert!(EventType::parse(&"é".repeat(200)).is_ok());
        assert!(EventType::parse(&"é".repeat(201)).is_err());
        assert!(EventType::parse("a\0b").is_err());
    }

    #[test]
    fn a_type_is_its_text_documented_or_not() {
        for text in ["error", "error2", "run.created", "run.created2"] {
            assert_ne!(event_type(text), event_type("step"));
            assert_eq!((event_type(text).as_str(), event_type(text)), (text, event_type(text)));
            assert_eq!(
                (format!("{}", event_type(text)), format!("{:?}", event_type(text))),
                (text.into(), format!("{text:?}"))
            );
        }
    }

    #[test]
    fn each_documented_type_has_one_line() {
        let names: BTreeSet<&str> = EVENT_TYPES.iter().map(|documented| documented.name).collect();
        assert_eq!(names.len(), EVENT_TYPES.len());
    }

    #[test]
    fn events_of_the_platform_are_system_events_and_all_others_are_user_events() {
        let lifecycle = ["StructureRunStarting", "StructureRunRunning", "StructureRunCompleted", "StructureRunError"];
        for DocumentedType { name, origin, .. } in &EVENT_TYPES {
            let is_of_the_platform = lifecycle.contains(name) || name.starts_with("run.");
            assert_eq!(*origin == Origin::System, is_of_the_platform, "{name}");
            assert_eq!(Origin::default_for(&event_type(name)), *origin, "{name}");
        }
        for (name, origin) in [
            ("run.", Origin::System),
            ("run.worker.paused", Origin::System),
            ("run", Origin::User),
            ("Run.created", Origin::User),
            ("StructureRunPaused", Origin::User),
            ("MyOwnEvent", Origin::User),
        ] {
            assert_eq!(Origin::default_for(&event_type(name)), origin, "{name}");
        }
    }

    #[test]
    fn deltas_are_the_progress_of_a_step_and_undocumented_types_that_end_in_the_word() {
        let documented = EVENT_TYPES.iter().filter(|documented| documented.is_delta);
        assert_eq!(documented.map(|documented| documented.name).collect::<Vec<_>>(), ["step.progress"]);
        for name in ["step.progress", "delta", "content_delta", "response.output_text.delta", "input-json-delta"] {
            assert!(event_type(name).is_delta(), "{name}");
        }
        for name in ["step.done", "step", "delta.done", "mydelta", "content_Delta", "run_end", "content_delta "] {
            assert!(!event_type(name).is_delta(), "{name}");
        }
    }

    #[test]
    fn an_undocumented_type_has_no_effect() {
        for name in ["run.worker.paused", "StructureRunPaused", "Run_end", "MyOwnEvent"] {
            assert_eq!(Effect::of(&event_type(name)), Effect::default(), "{name}");
        }
        assert_ne!(Effect::of(&event_type("run_end")), Effect::default());
    }
}
