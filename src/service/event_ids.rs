//! Ids of the events that the server makes itself. They begin with `runlog:`, where producers cannot follow: an event of theirs
//! could otherwise stand in the way of a cancellation.

use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{Error, EventId, NewEvent, Result};

/// What all of them begin with.
const RESERVED: &str = "runlog:";

/// Refuses events of producers under an id of the server's.
pub fn check(events: &[NewEvent]) -> Result<()> {
    let is_reserved = |event: &NewEvent| event.event_id.as_ref().is_some_and(|id| id.as_str().starts_with(RESERVED));
    match events.iter().position(is_reserved) {
        Some(index) => {
            let problem = format!("must not begin with `{RESERVED}`; such ids are the server's");
            Err(Error::invalid(format!("events[{index}].event_id"), problem))
        }
        None => Ok(()),
    }
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
    keyed("control-", key)
}

/// The id that version 0.1.0 gave to the first event of a run that was created with this key.
pub fn create_before(key: &str) -> Result<EventId> {
    keyed("create-", key)
}

fn keyed(prefix: &str, key: &str) -> Result<EventId> {
    EventId::parse(&format!("{prefix}{:032x}", xxh3_128(key.as_bytes())))
}
