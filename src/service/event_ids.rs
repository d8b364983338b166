//! Reserved ids for events that the server creates. Producers cannot use these ids: a producer's event could otherwise block a
//! cancellation, or pass for a control or a creation with an idempotency key.

use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{Error, EventId, EventType, NewEvent, Origin, Result};

/// Prefix of all reserved ids.
const RESERVED: &str = "runlog:";

/// Prefix of control ids in version 0.1.0, before the hash of the key.
const CONTROL_BEFORE: &str = "control-";

/// Event types of controls with an idempotency key.
const KEYED_TYPES: [&str; 3] = ["run.resumed", "run.signal_applied", "run.input_received"];

/// Refuses events of producers with a reserved id.
pub fn check(events: &[NewEvent]) -> Result<()> {
    for (index, event) in events.iter().enumerate() {
        let Some(id) = &event.event_id else { continue };
        let reserved = match id.as_str() {
            id if id.starts_with(RESERVED) => format!("must not begin with `{RESERVED}`"),
            id if is_hash_after(CONTROL_BEFORE, id) && is_of_a_control(&event.event_type, event.origin) => {
                format!(
                    "must not be `{CONTROL_BEFORE}` and 32 hexadecimal digits for an event of type {}",
                    event.event_type
                )
            }
            _ => continue,
        };
        let problem = format!("{reserved}: such ids are the server's; send another, or none");
        return Err(Error::invalid(format!("events[{index}].event_id"), problem));
    }
    Ok(())
}

/// Whether an event of this type and origin may come from a control with a key.
pub fn is_of_a_control(event_type: &EventType, origin: Origin) -> bool {
    origin == Origin::System && KEYED_TYPES.contains(&event_type.as_str())
}

fn is_hash_after(prefix: &str, id: &str) -> bool {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    id.strip_prefix(prefix).is_some_and(|hash| hash.len() == 32 && hash.bytes().all(is_digit))
}

/// The id of the event that cancels a run: the same for all callers, so that a run is cancelled once.
pub fn cancel() -> Result<EventId> {
    EventId::parse(&format!("{RESERVED}cancel"))
}

/// The id of the event that ends a run whose structure has finished, with an output or without: the same for each attempt, so
/// that a run is ended once.
pub fn finish(has_output: bool) -> Result<EventId> {
    EventId::parse(&format!("{RESERVED}finish:{}", if has_output { "succeeded" } else { "failed" }))
}

/// The id of the event of a control with this idempotency key.
pub fn control(key: &str) -> Result<EventId> {
    keyed("runlog:control:", key)
}

/// The id of the first event of a run that was created with this idempotency key. The id records the key in the run.
pub fn create(key: &str) -> Result<EventId> {
    keyed("runlog:create:", key)
}

/// The id that version 0.1.0 gave to a control with this key.
pub fn control_before(key: &str) -> Result<EventId> {
    keyed(CONTROL_BEFORE, key)
}

/// The id that version 0.1.0 gave to the first event of a run that was created with this key.
pub fn create_before(key: &str) -> Result<EventId> {
    keyed("create-", key)
}

fn keyed(prefix: &str, key: &str) -> Result<EventId> {
    EventId::parse(&format!("{prefix}{:032x}", xxh3_128(key.as_bytes())))
}
