//! `--finish-ends-run`: the event that ends a run whose structure has finished. A Griptape pipeline that no platform runs says
//! so with its last event, and sends nothing of origin SYSTEM.

use super::{Service, event_ids};
use crate::codec::record;
use crate::domain::json::Members;
use crate::domain::{EventType, KeyScope, NewEvent, Origin, Payload, Result, RunId, Scope};
use crate::store::{Range, ReadFrom};

/// Type of the event with which the agent's own code says that a structure has finished.
const FINISHED: &str = "FinishStructureRunEvent";

/// Type of the event with which it says that a structure has started.
const STARTED: &str = "StartStructureRunEvent";

/// The first events of a run, among which is the start of its structure.
const BEGIN: Range = Range { from: ReadFrom::After(0), max_events: 16, max_bytes: 256 << 10 };

/// Type of the event that ends the run.
const COMPLETED: &str = "StructureRunCompleted";

/// Payloads of [`COMPLETED`]: the same for each attempt, so that a repeat is known.
const SUCCEEDED: &str = r#"{"status":"SUCCEEDED"}"#;
const FAILED: &str = r#"{"status":"FAILED","status_detail":{"reason":"Failed","message":"the structure finished without an output, or with an ErrorArtifact"}}"#;

impl Service {
    /// The event that ends the run after these events; `None`: the structure has not finished, the option is off, or the caller may
    /// not publish what the platform publishes. Structures inside that with which the run began end nothing.
    pub(super) async fn completion(&self, run_id: &RunId, events: &[NewEvent]) -> Result<Option<NewEvent>> {
        let finishes = |event: &&NewEvent| event.origin == Origin::User && event.event_type.as_str() == FINISHED;
        if !self.shared.options.finish_ends_run
            || !self.caller.has(KeyScope::EventsPublishSystem)
            || !events.iter().any(|event| finishes(&event))
        {
            return Ok(None);
        }
        let outermost = self.first_structure(run_id, events).await;
        let is_inner = |finish: &NewEvent| matches!((&outermost, structure(finish.payload.as_str())), (Some(outermost), Some(own)) if own != *outermost);
        let Some(finish) = events.iter().rfind(|event| finishes(event) && !is_inner(event)) else { return Ok(None) };
        let has_output = has_output(finish.payload.as_str());
        let (completed, payload) = (EventType::parse(COMPLETED)?, if has_output { SUCCEEDED } else { FAILED });
        let payload = Payload::parse(&completed, payload, self.limits())?;
        Ok(Some(NewEvent { event_id: Some(event_ids::finish(has_output)?), ..NewEvent::new(completed, payload) }))
    }

    /// Id of the structure with which the run began, stored or among these events; `None` if no event says so.
    async fn first_structure(&self, run_id: &RunId, events: &[NewEvent]) -> Option<String> {
        // A run that is not there has none; what cannot be read holds back no publish.
        let stored = self.store.read(&Scope::Run(run_id.clone()), BEGIN).await.map(|page| page.chunks);
        for chunk in stored.unwrap_or_default() {
            for event in chunk.records().map_while(|record| record::decode(record.ok()?.1).ok()) {
                if event.event_type.as_str() == STARTED {
                    return structure(event.payload.as_str());
                }
            }
        }
        let started = events.iter().find(|event| event.event_type.as_str() == STARTED)?;
        structure(started.payload.as_str())
    }
}

/// Id of the structure that an event of a structure is about.
fn structure(payload: &str) -> Option<String> {
    Members::parse(payload).string("structure_id")
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
