//! The events of all runs, as a stream.

use std::sync::Arc;

use axum::Extension;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use utoipa::IntoParams;

use crate::domain::filter::MAX_FILTER_NAMES;
use crate::domain::{AgentName, Error, FeedCursor, Origin, RunId, Scope};
use crate::service::subscribe::{Start, Subscribe};
use crate::transport::memory::Call;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::headers::one;
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::query::{Query, TypesQuery, ViewQuery, word};
use crate::transport::rest::resume::LAST_EVENT_ID;
use crate::transport::sse;

use super::error::{ApiError, RefusedCall};
use super::params::named;
use super::response;
use super::schema::{PublicError, PublicOrigin};

/// Start of the stream of all runs, and the origins, runs and agents of its events.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FeedQuery {
    /// An `id:` of this stream, exclusive; wins over Last-Event-ID. Absent: the first event of all.
    #[param(value_type = Option<String>, pattern = "^(f[12]-[0-9a-f]{24}(-[0-9a-f.]+)?)?$")]
    pub cursor: Option<String>,
    /// Id of the last event received, for clients that cannot set a header; wins over cursor.
    #[param(rename = "lastEventId", value_type = Option<String>, pattern = "^(f[12]-[0-9a-f]{24}(-[0-9a-f.]+)?)?$")]
    pub last_event_id: Option<String>,
    /// Where no cursor is given, begin with the next event that is stored.
    #[param(value_type = Option<bool>)]
    pub latest: bool,
    /// Only events of these origins; repeatable.
    #[param(value_type = Option<Vec<PublicOrigin>>, inline)]
    pub origin: Vec<Origin>,
    /// Only events of these runs; repeatable.
    #[param(value_type = Option<Vec<String>>, max_items = 100)]
    pub run: Vec<RunId>,
    /// Only events of these agents, by the `agent_name` of the event; repeatable.
    #[param(value_type = Option<Vec<String>>, max_items = 100)]
    pub agent: Vec<AgentName>,
}

impl FeedQuery {
    fn take(query: &mut Query) -> Result<Self, HttpError> {
        let latest = query.is_true("latest")?;
        let (cursor, last_event_id) = (query.one("cursor")?, query.one("lastEventId")?);
        let origin = origins(query)?;
        let run = several(query, "run", RunId::parse)?;
        let agent = several(query, "agent", AgentName::parse)?;
        Ok(Self { cursor, last_event_id, latest, origin, run, agent })
    }
}

/// Takes a repeatable parameter.
fn several<T>(query: &mut Query, name: &'static str, parse: fn(&str) -> Result<T, Error>) -> Result<Vec<T>, HttpError> {
    let texts = query.all(name);
    if texts.len() > MAX_FILTER_NAMES {
        return Err(HttpError::field(name, format!("may be given at most {MAX_FILTER_NAMES} times")));
    }
    let value = |text: &String| match parse(text) {
        Err(Error::InvalidField { problem, .. }) => Err(HttpError::field(name, problem)),
        parsed => Ok(parsed?),
    };
    texts.iter().map(value).collect()
}

/// Takes `origin`, repeatable; each origin counts once.
fn origins(query: &mut Query) -> Result<Vec<Origin>, HttpError> {
    let mut origins = Vec::new();
    for text in query.all("origin") {
        let origin = match word(&text) {
            Some(PublicOrigin::System) => Origin::System,
            Some(PublicOrigin::User) => Origin::User,
            None => return Err(HttpError::field("origin", "must be system or user")),
        };
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    Ok(origins)
}

/// Header of a client that reconnects to the stream of all runs.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct FeedHeader {
    /// The last `id:` received; cursor and lastEventId win over this header.
    #[param(rename = "Last-Event-ID", nullable = false, pattern = "^(f[12]-[0-9a-f]{24}(-[0-9a-f.]+)?)?$")]
    pub last_event_id: Option<String>,
}

impl FeedHeader {
    fn read(headers: &HeaderMap) -> Result<Self, HttpError> {
        let last_event_id = one(headers, LAST_EVENT_ID)?;
        match last_event_id.as_deref().filter(|text| !text.is_empty()).map(FeedCursor::parse) {
            None | Some(Ok(_)) => Ok(Self { last_event_id }),
            Some(Err(_)) => Err(HttpError::field(LAST_EVENT_ID, "must be an `id:` of this stream")),
        }
    }
}

/// Follows all runs: events after the cursor, in the order in which they were stored, then new events. Each `data:` line is a
/// `PublicFeedEvent`, each `id:` the cursor of the event. The stream has no end.
#[utoipa::path(get, path = "/v1/events/stream", tag = "public runs", operation_id = "stream_public_events",
    params(FeedQuery, FeedHeader, TypesQuery, ViewQuery),
    responses((status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
        (status = 409, description = "The cursor lies beyond the last event, or in a lost history", body = PublicError),
        (status = 410, description = "The events after the cursor are not kept any more", body = PublicError),
        (status = 429, description = "Too many streams are open", body = PublicError), RefusedCall))]
pub async fn follow(
    gateway: Gateway,
    Extension(call): Extension<Arc<Call>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(uri.query());
    let form = response::feed_form(ViewQuery::take(&mut query, &gateway)?.view);
    let FeedHeader { last_event_id: of_header } = FeedHeader::read(&headers)?;
    let FeedQuery { cursor, last_event_id, latest, origin, run, agent } = FeedQuery::take(&mut query)?;
    let filter = named(TypesQuery::take_of(&mut query, origin))?.of(run, agent)?;
    query.finish()?;
    let start = match last_event_id.or(cursor).or(of_header) {
        Some(cursor) => Start::After(cursor),
        None if latest => Start::Latest,
        None => Start::After(String::new()),
    };
    let subscribe = Subscribe {
        epoch: String::new(),
        scope: Scope::Feed,
        start,
        filter,
        keep_open: false,
        wait_for_run: false,
        // An event a frame, since the cursor of a frame is the id of its event.
        max_batch: 1,
        heartbeat: Some(gateway.options.sse_heartbeat),
    };
    Ok(sse::respond(gateway.service.subscribe(subscribe).await?, form, call).await?)
}
