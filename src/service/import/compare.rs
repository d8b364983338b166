//! Comparison of an imported event and its run with the stored ones.

use super::types::Imported;
use crate::domain::{Event, NewEvent, Run};

pub fn as_new(event: Event) -> NewEvent {
    NewEvent {
        event_id: Some(event.event_id),
        event_type: event.event_type,
        origin: event.origin,
        occurred_at: Some(event.occurred_at),
        sent_seconds: event.sent_seconds,
        agent_name: event.agent_name,
        payload: event.payload,
        removal: event.removal,
        joined_from: event.joined_from,
    }
}

/// Names of the fields that differ. A payload that either store has removed or joined is no difference: an import of an older
/// export does not bring it back.
pub fn differences(stored: &Event, event: &Event) -> Vec<&'static str> {
    let is_joined_alike = stored.joined_from == event.joined_from;
    let has_payloads = stored.removal.is_none() && event.removal.is_none() && is_joined_alike;
    let fields = [
        ("event_id", stored.event_id != event.event_id),
        ("type", stored.event_type != event.event_type),
        ("origin", stored.origin != event.origin),
        ("agent_name", stored.agent_name != event.agent_name),
        ("occurred_at", stored.occurred_at != event.occurred_at),
        ("sent_seconds", stored.sent_seconds.map(f64::to_bits) != event.sent_seconds.map(f64::to_bits)),
        ("recorded_at", stored.recorded_at != event.recorded_at),
        ("payload", has_payloads && stored.payload.as_str() != event.payload.as_str()),
    ];
    fields.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

/// An agent in the source only is no difference: a later event may still set the agent of the run.
pub fn differences_of_runs(run: &Run, imported: &Imported) -> Vec<&'static str> {
    let agent_differs = run.agent_name.is_some() && run.agent_name != imported.run_agent_name;
    let fields = [("run_agent_name", agent_differs), ("structure_id", run.structure_id != imported.structure_id)];
    fields.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}
