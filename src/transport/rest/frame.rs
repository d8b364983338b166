//! Schema of a server-sent event for `/openapi.json`, shared by the three APIs.

use utoipa::ToSchema;

/// A frame of the event stream.
#[derive(Debug, ToSchema)]
pub struct EventFrame {
    /// Cursor of the event, to send back as `Last-Event-ID`: its seq, or a token in the stream of all runs.
    pub id: String,
    /// The event as JSON on one line, in the same form as in a list.
    pub data: String,
    /// Delay before a reconnect, in milliseconds; in the first frame only.
    #[schema(nullable = false)]
    pub retry: Option<u32>,
}
