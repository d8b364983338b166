//! `--finish-ends-run`: the event that ends a run whose structure has finished. A Griptape pipeline that no platform runs says
//! so with its last event, and sends nothing of origin SYSTEM.

use super::{Service, event_ids};
use crate::domain::json::Members;
use crate::domain::{EventType, KeyScope, NewEvent, Origin, Payload, Result};

/// Type of the event with which the agent's own code says that a structure has finished.
const FINISHED: &str = "FinishStructureRunEvent";

/// Type of the event that ends the run.
const COMPLETED: &str = "StructureRunCompleted";

/// Payloads of [`COMPLETED`]: the same for each attempt, so that a repeat is known.
const SUCCEEDED: &str = r#"{"status":"SUCCEEDED"}"#;
const FAILED: &str = r#"{"status":"FAILED","status_detail":{"reason":"Failed","message":"the structure finished without an output, or with an ErrorArtifact"}}"#;

impl Service {
    /// The event that ends the run after these events; `None`: nothing has finished, the option is off, or the caller may not
    /// publish what the platform publishes. Of several structures that finish the last counts, which is the outermost.
    pub(super) fn completion(&self, events: &[NewEvent]) -> Result<Option<NewEvent>> {
        if !self.options.finish_ends_run || !self.caller.has(KeyScope::EventsPublishSystem) {
            return Ok(None);
        }
        let finishes = |event: &&NewEvent| event.origin == Origin::User && event.event_type.as_str() == FINISHED;
        let Some(finish) = events.iter().rfind(finishes) else { return Ok(None) };
        let has_output = has_output(finish.payload.as_str());
        let (completed, payload) = (EventType::parse(COMPLETED)?, if has_output { SUCCEEDED } else { FAILED });
        let payload = Payload::parse(&completed, payload, self.limits())?;
        Ok(Some(NewEvent { event_id: Some(event_ids::finish(has_output)?), ..NewEvent::new(completed, payload) }))
    }
}

/// Whether the structure has an output that is no error.
fn has_output(payload: &str) -> bool {
    const OUTPUT: &str = "output_task_output";
    let members = Members::parse(payload);
    members.raw(OUTPUT).is_some() && members.object(OUTPUT).string("type").as_deref() != Some("ErrorArtifact")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_without_an_output_or_with_an_error_has_failed() {
        for (payload, has) in [
            (r#"{"output_task_output":{"type":"TextArtifact","value":"x"}}"#, true),
            (r#"{"output_task_output":"x"}"#, true),
            (r#"{"output_task_output":{"type":"ErrorArtifact","value":"no"}}"#, false),
            (r#"{"output_task_output":null}"#, false),
            ("{}", false),
            ("1", false),
        ] {
            assert_eq!(has_output(payload), has, "{payload}");
        }
    }
}
