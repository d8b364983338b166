//! Server-sent events: the frames of a subscription as a browser reads them.
//!
//! The rules were tried against the published parsers: one `data:` line an event, LF only; `id:` is the event's cursor;
//! no `event:` line; comments end with one LF, since one parser takes a comment and a blank line for an empty message; `retry:`
//! goes inside the first event's frame for the same reason. Where a filter holds events back, a heartbeat has an `id:` line
//! without a blank line behind it: readers that keep each id as it comes go on from there, and none takes it for an event.

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
use crate::service::live::recent_events::EncodedEvents;
use crate::service::subscribe::{Frame, FrameKind, Step, Subscription};

use super::frames;
use super::memory::{Call, Charge};

/// What a silent stream says.
const HEARTBEAT: &[u8] = b": hb\n";

/// What a stream says after the last event of its run. Over HTTP/1.0 nothing else tells an end from a cut.
const END: &[u8] = b": end\n";

/// How long a browser waits before it reconnects; inside the first frame.
const RETRY: &[u8] = b"retry: 2000\n";

/// How a door writes an event, in lists and in streams.
#[derive(Clone, Copy)]
pub struct EventForm {
    /// The batch's slots for the public view and for the full one, see [`EncodedEvents::form`]. Every form has its own.
    pub numbers: [usize; 2],
    /// How much of each payload.
    pub view: View,
    /// Appends the event as JSON. Line breaks between tokens are taken out afterwards.
    pub write: fn(&Event, &ShownPayload<'_>, &mut String),
}

impl EventForm {
    /// Appends the event as JSON. `sensitive`: whether its public view may differ.
    pub fn append(self, event: &Event, sensitive: bool, out: &mut String) {
        let shown = self.view.where_it_may_differ(sensitive).show(event.event_type.as_str(), event.payload.as_str());
        (self.write)(event, &shown, out);
    }

    /// Where there is nothing to leave out, one encoding serves both views.
    fn number(self, batch: &EncodedEvents) -> usize {
        self.numbers[usize::from(self.view == View::Full && batch.sensitive)]
    }
}

/// The answer: a stream that ends with the run, or 204 where the run has ended and nothing is left to tell, which is what
/// stops a browser from reconnecting for ever.
pub async fn respond(mut subscription: Subscription, form: EventForm, call: Arc<Call>) -> Result<Response> {
    let (mut ready, mut room) = (VecDeque::new(), None);
    let mut told = subscription.cursor();
    // Looks ahead as far as nothing has to be waited for.
    while ready.is_empty() && !subscription.would_wait() {
        let (frame, of_frame) = match frames::step(&mut subscription, Some(&call)).await? {
            Step::Frame(frame) => frame,
            Step::Nothing => break,
            Step::End => return Ok(no_content()),
        };
        match frame.kind {
            FrameKind::Ended { .. } => return Ok(no_content()),
            FrameKind::Events(batches) => {
                told = subscription.last_id(&batches)?;
                ready.extend(batches);
                room = of_frame;
            }
            // So long a search says something first.
            FrameKind::Heartbeat => break,
            FrameKind::CaughtUp { .. } => {}
        }
    }
    let stream = Stream { subscription, form, call, ready, room, told, begun: false, over: false };
    let mut response = Response::new(Body::from_stream(unfold(stream, next)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

struct Stream {
    subscription: Subscription,
    form: EventForm,
    call: Arc<Call>,
    /// Batches that were read and not sent.
    ready: VecDeque<Arc<EncodedEvents>>,
    /// For these.
    room: Option<Charge>,
    /// The id that the client was told last.
    told: String,
    begun: bool,
    /// It broke off, or its end was told; what follows is nothing.
    over: bool,
}

impl Stream {
    /// With the cursor, where a filter held back what lies before it.
    fn heartbeat(&mut self, cursor: String) -> Bytes {
        if cursor == self.told {
            return Bytes::from_static(HEARTBEAT);
        }
        let id = format!("id: {cursor}\n");
        self.told = cursor;
        [HEARTBEAT, id.as_bytes()].concat().into()
    }

    /// Breaks the connection off instead of closing it: a stream that ends well has told the end of its run.
    fn cut(mut self) -> Option<(io::Result<Bytes>, Self)> {
        self.over = true;
        Some((Err(io::ErrorKind::ConnectionAborted.into()), self))
    }
}

async fn next(mut stream: Stream) -> Option<(io::Result<Bytes>, Stream)> {
    while !stream.over {
        if let Some(batch) = stream.ready.pop_front() {
            let Some(frames) = encoded(&batch, stream.form) else {
                tracing::error!("a stored event does not read; the stream is cut");
                return stream.cut();
            };
            let frames = if stream.begun { frames } else { [RETRY, &frames].concat().into() };
            stream.begun = true;
            if let Some(room) = &mut stream.room {
                stream.call.prepay(room.split(batch.data.len()));
            }
            return Some((Ok(frames), stream));
        }
        match frames::next(&mut stream.subscription, Some(&stream.call)).await {
            Ok(Some((Frame { kind, cursor }, room))) => match kind {
                FrameKind::Events(batches) => {
                    let Ok(told) = stream.subscription.last_id(&batches) else { return stream.cut() };
                    stream.told = told;
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
                    return Some((Ok(Bytes::from_static(END)), stream));
                }
            },
            Ok(None) => return None,
            Err(error) => {
                // The client reconnects with the id of the last event that it saw.
                tracing::debug!(%error, "an event stream ends early");
                return stream.cut();
            }
        }
    }
    None
}

/// The frames of a batch, encoded by the first reader who asks.
fn encoded(batch: &EncodedEvents, form: EventForm) -> Option<Bytes> {
    let frames = batch.form(form.number(batch), |batch| encode(batch, form).unwrap_or_default());
    // A batch is never empty, so this is an encoding that failed.
    (!frames.is_empty()).then_some(frames)
}

fn encode(batch: &EncodedEvents, form: EventForm) -> Result<Bytes> {
    let mut frames = String::with_capacity(batch.data.len() * 2);
    let mut rest = batch.data.clone();
    while !rest.is_empty() {
        let event = record::decode(record::split_entry(&mut rest)?)?;
        frames.push_str(&format!("id: {}\ndata: ", event.seq));
        let begin = frames.len();
        form.append(&event, batch.sensitive, &mut frames);
        keep_on_one_line(&mut frames, begin);
        frames.push_str("\n\n");
    }
    Ok(frames.into())
}

/// Takes the ends of lines out of the JSON that begins there. LF and CR can only stand between its tokens, where a payload was
/// sent over many lines; the others can only stand in its strings.
fn keep_on_one_line(frames: &mut String, begin: usize) {
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
