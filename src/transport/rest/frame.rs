//! The description of a server-sent event, the same at every door.

use utoipa::ToSchema;

/// A frame of the event stream.
#[derive(Debug, ToSchema)]
pub struct EventFrame {
    /// The place of the event in its run, for `Last-Event-ID`.
    pub id: String,
    /// The event as JSON on one line, as in a list.
    pub data: String,
    /// How long to wait before a reconnect, milliseconds; in the first frame.
    #[schema(nullable = false)]
    pub retry: Option<u32>,
}
