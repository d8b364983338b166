//! The members `removal` and `joined_from` of events whose payload is gone or joined, the same in all REST APIs.

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

/// Appends the members to an object of JSON that is not closed yet; nothing for an event with its payload as sent.
pub fn push_removal(event: &Event, out: &mut String) {
    if let Some(removal) = event.removal {
        out.push_str(r#","removal":""#);
        out.push_str(removal.as_str());
        out.push('"');
    }
    if let Some(seq) = event.joined_from {
        out.push_str(&format!(r#","joined_from":{seq}"#));
    }
}
