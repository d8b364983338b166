//! The member `removal` of events whose payload is gone, the same in all REST APIs.

use utoipa::ToSchema;

use crate::domain::Event;

/// Why the payload of an event is gone; the payload is `{}` then.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum EventRemoval {
    /// An admin erased it.
    Erased,
    /// It was older than the retention of the server allows.
    Expired,
    /// A later event of the step holds the joined text.
    Compacted,
}

/// Appends the member to an object of JSON that is not closed yet; nothing for an event with its payload.
pub fn push_removal(event: &Event, out: &mut String) {
    if let Some(removal) = event.removal {
        out.push_str(r#","removal":""#);
        out.push_str(removal.as_str());
        out.push('"');
    }
}
