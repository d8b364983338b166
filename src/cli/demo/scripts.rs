//! All scripts.

use super::script::Script;

/// All scripts, in an order that shows the three event vocabularies and the different final statuses early.
pub fn all() -> Vec<&'static Script> {
    use super::{agent_runs, public_runs, structure_runs};
    vec![
        &agent_runs::WEATHER,
        &public_runs::ANSWER,
        &structure_runs::REPORT,
        &public_runs::APPROVAL,
        &agent_runs::DEPLOY,
        &structure_runs::BROKEN_IMPORT,
        &public_runs::RETRY,
        &agent_runs::RATE_LIMITED,
        &public_runs::CANCELLED,
        &structure_runs::STOPPED,
        &public_runs::LIMIT,
        &structure_runs::LOST_RUNTIME,
        &public_runs::PROVIDER_DOWN,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::script::{Step, step};
    use crate::pb::RunStatus as Status;
    use std::collections::HashSet;

    /// Status of the run after each step, by the domain's projection.
    fn statuses(script: &Script) -> Vec<i32> {
        use crate::domain::projection::{Lifecycle, apply};
        use crate::domain::{AgentName, Event, EventId, EventType, Origin, Payload, Run, RunId};
        let run_id = RunId::parse(script.name).unwrap();
        let now = jiff::Timestamp::now();
        let mut run = Run::new(run_id.clone(), now);
        let event = |seq: u64, step: &Step| Event {
            run_id: run_id.clone(),
            seq,
            event_id: EventId::parse("e").unwrap(),
            event_type: EventType::parse(step.event_type).unwrap(),
            origin: Origin::default_for(&EventType::parse(step.event_type).unwrap()),
            occurred_at: now,
            sent_seconds: None,
            recorded_at: now,
            agent_name: Some(AgentName::parse(script.agent).unwrap()),
            payload: Payload::from_stored(step.payload("5f0c")),
            removal: None,
            joined_from: None,
        };
        let mut statuses = Vec::new();
        for (seq, step) in (1..).zip(script.steps) {
            apply(&mut run, &event(seq, step), Lifecycle::Strict).unwrap();
            statuses.push(run.status as i32);
        }
        statuses
    }

    #[test]
    fn every_script_ends_as_it_says_and_not_before() {
        for script in all() {
            let statuses = statuses(script);
            let (last, before) = statuses.split_last().unwrap();
            assert_eq!(*last, script.end as i32, "{}", script.name);
            let ended = [Status::Succeeded, Status::Failed, Status::Cancelled].map(|status| status as i32);
            assert!(before.iter().all(|status| !ended.contains(status)), "{}: {statuses:?}", script.name);
        }
    }

    #[test]
    fn together_they_show_every_end_and_every_documented_type() {
        let ends: HashSet<_> = all().iter().map(|script| script.end).collect();
        assert_eq!(ends.len(), 3);
        let seen: HashSet<i32> = all().into_iter().flat_map(statuses).collect();
        assert_eq!(seen.len(), 8, "every status but UNSPECIFIED: {seen:?}");
        let types: HashSet<_> = all().iter().flat_map(|script| script.steps).map(|step| step.event_type).collect();
        for expected in [
            "StructureRunStarting",
            "StructureRunRunning",
            "StructureRunCompleted",
            "StructureRunError",
            "FinishStructureRunEvent",
            "run_start",
            "run_end",
            "error",
            "step",
            "tool_call",
            "human_input_requested",
            "human_input_received",
            "run.created",
            "run.worker.started",
            "run.worker.succeeded",
            "run.worker.failed",
            "run.worker.stalled",
            "run.worker.retry_scheduled",
            "run.cancelled",
            "run.resumed",
            "run.limit_exceeded",
            "step.progress",
            "step.done",
            "run.tool.invoked",
            "run.coordination.decision",
            "run.awaiting_input",
            "run.signal_applied",
            "run.input_received",
        ] {
            assert!(types.contains(expected), "{expected}");
        }
    }

    #[test]
    fn placeholders_are_filled_in() {
        let text = step(0, "t", r#"{"request_id":"$REQUEST","at":"$NOW"}"#).payload("5f0c");
        assert!(text.contains(r#""request_id":"5f0c","at":"20"#) && !text.contains('$'), "{text}");
    }
}
