//! Ids of the events that the server makes itself, where producers cannot follow: an event of theirs could otherwise stand in
//! the way of a cancellation, or pass for what a key did.

use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{Error, EventId, EventType, NewEvent, Origin, Result};

/// What all of them begin with.
const RESERVED: &str = "runlog:";

/// What the ids of controls began with in version 0.1.0; the hash of a key followed.
const CONTROL_BEFORE: &str = "control-";

/// What a control with a key is stored as.
const KEYED_TYPES: [&str; 3] = ["run.resumed", "run.signal_applied", "run.input_received"];

/// Refuses events of producers under an id of the server's.
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

/// Whether a control with a key may have made an event.
pub fn is_of_a_control(event_type: &EventType, origin: Origin) -> bool {
    origin == Origin::System && KEYED_TYPES.contains(&event_type.as_str())
}

fn is_hash_after(prefix: &str, id: &str) -> bool {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    id.strip_prefix(prefix).is_some_and(|hash| hash.len() == 32 && hash.bytes().all(is_digit))
}

/// Of the event that cancels a run: it is cancelled once, whoever asks and how often.
pub fn cancel() -> Result<EventId> {
    EventId::parse(&format!("{RESERVED}cancel"))
}

/// Of a control with this idempotency key.
pub fn control(key: &str) -> Result<EventId> {
    keyed("runlog:control:", key)
}

/// Of the first event of a run that was created with this idempotency key: the run remembers by it which key created it.
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
