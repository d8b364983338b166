//! Server-sent events: the frames of a subscription in the `text/event-stream` format.
//!
//! The format was tested with the published parsers:
//!
//! - An event has an `id:` line with the event's cursor, one `data:` line, LF as line end, and no `event:` line.
//! - A comment ends with one LF: one parser takes a comment and a blank line for an empty message.
//! - `retry:` stands inside the frame of the first event for the same reason.
//! - If a filter held events back, a heartbeat has an `id:` line and no blank line. Readers that keep every id resume from
//!   this id, and no reader takes the heartbeat for an event.
//! - A stream of all runs begins with such a heartbeat, unless it begins with an event: a reader that starts at the latest event
//!   has a cursor before the first event.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;

use crate::codec::record;
use crate::domain::json::public_view::ShownPayload;
use crate::domain::{Event, Result, View};
use crate::service::live::recent_events::{EncodedEvents, EncodingKey};
use crate::service::subscribe::{Frame, FrameKind, Step, Subscription};

use super::frames;
use super::memory::{Call, Charge};

/// Comment line of a heartbeat.
pub const HEARTBEAT: &str = ": hb\n";

/// Comment line after the last event of the run. Over HTTP/1.0 only this line distinguishes an end from a lost connection.
pub const END: &str = ": end\n";

/// Delay before a browser reconnects, milliseconds. Part of the first event's frame.
pub const RETRY: &str = "retry: 2000\n";

/// JSON form of events in one REST API, for lists and streams.
#[derive(Clone, Copy)]
pub struct EventForm {
    /// Keys of [`EncodedEvents::encoding`] for the public and the full view.
    pub keys: [EncodingKey; 2],
    /// Public view or full view of each payload.
    pub view: View,
    /// Appends the event as JSON. Streams replace line breaks between tokens afterwards.
    pub write: fn(&Event, &ShownPayload<'_>, &mut String),
    /// What an `id:` line of a stream holds.
    pub ids: LineIds,
}

/// What an `id:` line of a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineIds {
    /// The seq of the event. A line for each event is part of the shared encoding.
    Seqs,
    /// The cursor in the feed of all runs. A stream writes the cursor of each frame, so a frame must hold one event.
    FeedCursors,
}

impl EventForm {
    /// Appends the event as JSON. `sensitive`: whether the public view may omit members.
    pub fn append(self, event: &Event, sensitive: bool, out: &mut String) {
        let shown = self.view.where_it_may_differ(sensitive).show(event.event_type.as_str(), event.payload.as_str());
        (self.write)(event, &shown, out);
    }

    /// The `id:` of the last of these events, with which a frame with this cursor ends.
    fn id_after(self, of: &Subscription, cursor: String, batches: &[Arc<EncodedEvents>]) -> Result<String> {
        match self.ids {
            LineIds::Seqs => of.last_id(batches),
            LineIds::FeedCursors => Ok(cursor),
        }
    }

    /// Without members to omit, one encoding serves both views.
    fn key(self, batch: &EncodedEvents) -> EncodingKey {
        self.keys[usize::from(self.view == View::Full && batch.sensitive)]
    }
}

/// Answers with a stream that ends with the run, or with 204 if the run has ended and no event is left. On 204 a browser
/// stops reconnecting.
pub async fn respond(mut subscription: Subscription, form: EventForm, call: Arc<Call>) -> Result<Response> {
    let (mut ready, mut room) = (VecDeque::new(), None);
    let mut last_id = if form.ids == LineIds::Seqs { subscription.cursor() } else { String::new() };
    // Decides between a stream and 204, from the frames that are available without a wait.
    while ready.is_empty() && !subscription.would_wait() {
        let (frame, of_frame) = match frames::step(&mut subscription, Some(&call)).await? {
            Step::Frame(frame) => frame,
            Step::Nothing => break,
            Step::End => return Ok(no_content()),
        };
        match frame.kind {
            FrameKind::Ended { .. } => return Ok(no_content()),
            FrameKind::Events(batches) => {
                last_id = form.id_after(&subscription, frame.cursor, &batches)?;
                ready.extend(batches);
                room = of_frame;
            }
            // A long search by the filter: begin the stream, so that the client gets a heartbeat.
            FrameKind::Heartbeat => break,
            FrameKind::CaughtUp { .. } => {}
        }
    }
    let stream = Stream { subscription, form, call, ready, room, last_id, begun: false, over: false };
    Ok(response(Body::from_stream(unfold(stream, next))))
}

/// A response with an event stream.
#[must_use]
pub fn response(stream: Body) -> Response {
    let mut response = Response::new(stream);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// The response to a reader of a run that has ended, if no event is left. On 204 a browser stops reconnecting.
#[must_use]
pub fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

struct Stream {
    subscription: Subscription,
    form: EventForm,
    call: Arc<Call>,
    /// Batches read and not sent yet.
    ready: VecDeque<Arc<EncodedEvents>>,
    /// Memory charged for `ready`.
    room: Option<Charge>,
    /// Last id sent to the client.
    last_id: String,
    begun: bool,
    /// Set after a cut or after the end of the run: no more frames follow.
    over: bool,
}

impl Stream {
    /// A heartbeat, with the cursor if the filter held events back since the last id.
    fn heartbeat(&mut self, cursor: String) -> Bytes {
        if cursor == self.last_id {
            return Bytes::from_static(HEARTBEAT.as_bytes());
        }
        let id = format!("id: {cursor}\n");
        self.last_id = cursor;
        [HEARTBEAT, id.as_str()].concat().into()
    }

    /// Adds the lines in front of a batch that are not part of its encoding.
    fn with_first_lines(&mut self, frames: Bytes) -> Bytes {
        let retry = if self.begun { &b""[..] } else { RETRY.as_bytes() };
        self.begun = true;
        match self.form.ids {
            LineIds::FeedCursors => [retry, format!("id: {}\n", self.last_id).as_bytes(), &frames].concat().into(),
            LineIds::Seqs if retry.is_empty() => frames,
            LineIds::Seqs => [retry, &frames].concat().into(),
        }
    }

    /// Ends the body with an error, because a regular end of the body means the end of the run.
    fn cut(mut self) -> Option<(io::Result<Bytes>, Self)> {
        self.over = true;
        Some((Err(io::ErrorKind::ConnectionAborted.into()), self))
    }
}

async fn next(mut stream: Stream) -> Option<(io::Result<Bytes>, Stream)> {
    while !stream.over {
        if stream.form.ids == LineIds::FeedCursors && stream.last_id.is_empty() {
            let cursor = stream.subscription.cursor();
            let position = stream.heartbeat(cursor);
            return Some((Ok(position), stream));
        }
        if let Some(batch) = stream.ready.pop_front() {
            let Some(frames) = encoded(&batch, stream.form) else {
                tracing::error!("a stored event does not read; the stream is cut");
                return stream.cut();
            };
            let frames = stream.with_first_lines(frames);
            if let Some(room) = &mut stream.room {
                stream.call.prepay(room.split(batch.data.len()));
            }
            return Some((Ok(frames), stream));
        }
        match frames::next(&mut stream.subscription, Some(&stream.call)).await {
            Ok(Some((Frame { kind, cursor }, room))) => match kind {
                FrameKind::Events(batches) => {
                    let last_id = stream.form.id_after(&stream.subscription, cursor, &batches);
                    let Ok(last_id) = last_id else { return stream.cut() };
                    stream.last_id = last_id;
                    stream.ready.extend(batches);
                    stream.room = room;
                }
                FrameKind::Heartbeat => {
                    let heartbeat = stream.heartbeat(cursor);
                    return Some((Ok(heartbeat), stream));
                }
                FrameKind::CaughtUp { .. } => {}
                FrameKind::Ended { .. } => {
                    stream.over = true;
                    return Some((Ok(Bytes::from_static(END.as_bytes())), stream));
                }
            },
            Ok(None) => return None,
            Err(error) => {
                // The client reconnects with the last id received.
                tracing::debug!(%error, "an event stream ends early");
                return stream.cut();
            }
        }
    }
    None
}

/// Frames of a batch, encoded once and shared by all subscribers of this form. `None`: the encoding failed.
fn encoded(batch: &EncodedEvents, form: EventForm) -> Option<Bytes> {
    let frames = batch.encoding(form.key(batch), |batch| encode(batch, form).unwrap_or_default());
    // A batch is never empty: empty bytes mark an encoding that failed.
    (!frames.is_empty()).then_some(frames)
}

fn encode(batch: &EncodedEvents, form: EventForm) -> Result<Bytes> {
    let mut frames = String::with_capacity(batch.data.len() * 2);
    let mut rest = batch.data.clone();
    while !rest.is_empty() {
        let event = record::decode(record::split_entry(&mut rest)?)?;
        if form.ids == LineIds::Seqs {
            frames.push_str(&format!("id: {}\n", event.seq));
        }
        frames.push_str("data: ");
        let begin = frames.len();
        form.append(&event, batch.sensitive, &mut frames);
        keep_on_one_line(&mut frames, begin);
        frames.push_str("\n\n");
    }
    Ok(frames.into())
}

/// Removes line ends from the JSON text after `begin`. LF and CR occur only between tokens, in a payload sent on many lines,
/// and become spaces. The other line ends occur only in strings, and become escapes.
pub fn keep_on_one_line(frames: &mut String, begin: usize) {
    const LINE_ENDS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
    if !frames[begin..].contains(LINE_ENDS) {
        return;
    }
    let json = frames.split_off(begin);
    for c in json.chars() {
        match c {
            '\n' | '\r' => frames.push(' '),
            '\u{85}' => frames.push_str("\\u0085"),
            '\u{2028}' => frames.push_str("\\u2028"),
            '\u{2029}' => frames.push_str("\\u2029"),
            other => frames.push(other),
        }
    }
}
