//! Where the event stream of a run begins.

use axum::http::HeaderMap;
use utoipa::IntoParams;

use super::gateway::Gateway;
use super::headers::one;
use super::http_error::HttpError;
use super::query::Query;
use crate::domain::{Cursor, EventFilter, RunId, Scope};
use crate::service::subscribe::{Start, Subscribe};

/// Header with the id of the last event received, which a browser's `EventSource` sends on reconnect, as spelled in
/// error messages.
pub const LAST_EVENT_ID: &str = "Last-Event-ID";

/// Parameters with the start of a stream.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ResumeQuery {
    /// Seq of the last event read, exclusive; wins over Last-Event-ID.
    #[param(pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub cursor: Option<String>,
    /// Id of the last event received, for clients that cannot set a header; wins over cursor.
    #[param(rename = "lastEventId", pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub last_event_id: Option<String>,
    /// Wait for a run that has no event yet, with heartbeats; false when absent: such a run is 404.
    #[param(value_type = Option<bool>)]
    pub wait: bool,
}

impl ResumeQuery {
    fn take(query: &mut Query) -> Result<Self, HttpError> {
        Ok(Self {
            cursor: query.one("cursor")?,
            last_event_id: query.one("lastEventId")?,
            wait: query.is_true("wait")?,
        })
    }
}

/// Header of a client that reconnects.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct ResumeHeader {
    /// The `id:` of the last event received; cursor and lastEventId win over this header. Absent: the first event.
    #[param(rename = "Last-Event-ID", nullable = false, pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub last_event_id: Option<String>,
}

impl ResumeHeader {
    fn read(headers: &HeaderMap) -> Result<Self, HttpError> {
        let last_event_id = one(headers, LAST_EVENT_ID)?;
        match last_event_id.as_deref().map(Cursor::parse_in_run) {
            None | Some(Ok(_)) => Ok(Self { last_event_id }),
            Some(Err(_)) => Err(HttpError::field(LAST_EVENT_ID, "must be the `id:` of an event of this stream")),
        }
    }
}

/// Start of the stream of one run.
pub struct RunStart {
    cursor: String,
    wait: bool,
}

impl RunStart {
    /// Takes the start: after `lastEventId`, for clients that cannot set a header; else after `cursor`; else after the
    /// header `Last-Event-ID`; else at the first event. An invalid header is refused even if a parameter takes precedence.
    pub fn take(query: &mut Query, headers: &HeaderMap) -> Result<Self, HttpError> {
        let header = ResumeHeader::read(headers)?;
        let ResumeQuery { cursor, last_event_id, wait } = ResumeQuery::take(query)?;
        Ok(Self { cursor: last_event_id.or(cursor).or(header.last_event_id).unwrap_or_default(), wait })
    }

    /// The subscription to this run from the start on, with these events.
    pub fn of_run(self, run_id: RunId, filter: EventFilter, gateway: &Gateway) -> Subscribe {
        Subscribe {
            epoch: String::new(),
            scope: Scope::Run(run_id),
            start: Start::After(self.cursor),
            filter,
            keep_open: false,
            wait_for_run: self.wait,
            max_batch: 0,
            heartbeat: Some(gateway.options.sse_heartbeat),
        }
    }
}
