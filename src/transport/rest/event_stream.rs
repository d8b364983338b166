//! Which routes answer with an event stream.

/// Whether the path is that of an event stream. The path may be a template.
#[must_use]
pub fn is_event_stream(path: &str) -> bool {
    if path == "/v1/events/stream" || path.strip_prefix("/ag-ui/runs/").is_some_and(|id| !id.contains('/')) {
        return true;
    }
    let mut from_the_end = path.rsplit('/');
    let last = [(); 4].map(|()| from_the_end.next());
    matches!(last, [Some("stream"), Some("events"), Some(_), Some("runs" | "structure-runs")])
}
