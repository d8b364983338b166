//! The frames of a stream of AG-UI events.
//!
//! What an event is in AG-UI depends on what is open before it, so that each stream reads its run from the first event. Up to the
//! cursor nothing is sent but heartbeats. The memory of that state is bounded, see `translation`, and so is the number of streams
//! that read up to their cursors at a time.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::codec::record;
use crate::domain::{Event, Result, RunId, View};
use crate::service::live::recent_events::EncodedEvents;
use crate::service::subscribe::{FrameKind, Subscription};
use crate::transport::frames;
use crate::transport::memory::{Call, Charge};
use crate::transport::rest::public_runs;
use crate::transport::sse;

use super::translation::{AgUiEvent, Translation};

/// Bytes after which frames are sent, although more events are at hand.
const PIECE_BYTES: usize = 64 << 10;

/// Who reads what.
pub struct Reader {
    /// The run.
    pub run_id: RunId,
    /// The last seq that the reader has; 0: none.
    pub cursor: u64,
    /// The seq before the first event of the subscription.
    pub after: u64,
    /// View of payloads.
    pub view: View,
    /// Longest silence before a heartbeat.
    pub heartbeat: Duration,
    /// A permit for each stream that may read up to its cursor now.
    pub resuming: Arc<Semaphore>,
}

/// Answers with the stream of a run. The subscription begins with the first event.
pub fn respond(subscription: Subscription, reader: Reader, call: Arc<Call>) -> Response {
    let stream = Stream {
        subscription,
        call,
        translation: Translation::after(reader.run_id.clone(), reader.after, reader.cursor),
        reader,
        ready: VecDeque::new(),
        room: None,
        begun: false,
        over: false,
        sent_at: Instant::now(),
    };
    sse::response(Body::from_stream(unfold(stream, next)))
}

struct Stream {
    subscription: Subscription,
    call: Arc<Call>,
    translation: Translation,
    reader: Reader,
    /// Batches that are read and not translated yet.
    ready: VecDeque<Unread>,
    /// Memory charged for `ready`.
    room: Option<Charge>,
    /// Whether the first frame is sent, which comes when the events up to the cursor are read.
    begun: bool,
    /// Set after a cut or after the end of the run: no more frames follow.
    over: bool,
    /// Time of the last bytes, for heartbeats while the events up to the cursor are read.
    sent_at: Instant,
}

/// The rest of a batch.
struct Unread {
    data: Bytes,
    sensitive: bool,
}

impl From<Arc<EncodedEvents>> for Unread {
    fn from(batch: Arc<EncodedEvents>) -> Self {
        Self { data: batch.data.clone(), sensitive: batch.sensitive }
    }
}

async fn next(mut stream: Stream) -> Option<(io::Result<Bytes>, Stream)> {
    if stream.over {
        return None;
    }
    match stream.next_bytes().await {
        Ok(bytes) => {
            stream.sent_at = Instant::now();
            Some((Ok(bytes), stream))
        }
        Err(error) => {
            // The reader continues after the last `id:` received. An error ends the body, because a regular end of the body means
            // the end of the run.
            tracing::debug!(%error, "a stream of AG-UI events ends early");
            stream.over = true;
            Some((Err(io::ErrorKind::ConnectionAborted.into()), stream))
        }
    }
}

impl Stream {
    /// The next bytes to send, never empty.
    async fn next_bytes(&mut self) -> Result<Bytes> {
        let pause = self.reader.heartbeat / 2;
        // Given back with each heartbeat: who does not take it, or has no memory for more, keeps nobody waiting.
        let mut turn = None;
        if self.translation.last_seq() < self.reader.cursor {
            let Ok(permit) = timeout_at(self.sent_at + pause, self.turn()).await else {
                return Ok(sse::HEARTBEAT.into());
            };
            turn = permit?;
        }
        let turn_ends = Instant::now() + pause;
        loop {
            let (bytes, made_of) = self.translate()?;
            if !bytes.is_empty() {
                drop(turn);
                self.charge(bytes.len(), made_of).await?;
                return Ok(bytes.into());
            }
            let next = frames::next(&mut self.subscription, Some(&self.call));
            let next = match &turn {
                None => next.await?,
                Some(_) if Instant::now() >= turn_ends => return Ok(sse::HEARTBEAT.into()),
                Some(_) => {
                    let Ok(next) = timeout_at(turn_ends, next).await else { return Ok(sse::HEARTBEAT.into()) };
                    // Others have their turn while this stream reads a long run.
                    tokio::task::yield_now().await;
                    next?
                }
            };
            let Some((frame, room)) = next else {
                self.over = true;
                return Ok(sse::END.into());
            };
            match frame.kind {
                FrameKind::Events(batches) => {
                    self.ready.extend(batches.into_iter().map(Unread::from));
                    self.room = room;
                }
                FrameKind::Heartbeat => return Ok(sse::HEARTBEAT.into()),
                FrameKind::CaughtUp { .. } => {}
                FrameKind::Ended { last_seq, .. } => {
                    self.over = true;
                    return Ok(self.end(last_seq).into());
                }
            }
        }
    }

    /// Waits for the permit to read up to the cursor.
    async fn turn(&mut self) -> Result<Option<OwnedSemaphorePermit>> {
        let permit = Arc::clone(&self.reader.resuming).acquire_owned();
        tokio::select! {
            biased;
            end = self.subscription.closed() => Err(end),
            // Never closed.
            permit = permit => Ok(permit.ok()),
        }
    }

    /// Frames of the batches that are ready, up to one piece, and the size of what they are made of; empty: more events have to be
    /// read.
    fn translate(&mut self) -> Result<(String, usize)> {
        let mut frames = String::new();
        let mut made_of = 0;
        self.begin(&mut frames);
        while frames.len() < PIECE_BYTES {
            let Some(batch) = self.ready.front_mut() else { break };
            let sensitive = batch.sensitive;
            let before = batch.data.len();
            let record = record::split_entry(&mut batch.data)?;
            let taken = before - batch.data.len();
            if batch.data.is_empty() {
                self.ready.pop_front();
            }
            self.append(&record::decode(record)?, sensitive, &mut frames);
            match &mut self.room {
                Some(room) if frames.is_empty() => drop(room.split(taken)),
                _ => made_of += taken,
            }
            self.begin(&mut frames);
        }
        Ok((frames, made_of))
    }

    /// Charges frames of this size, made of so many bytes that are charged already. What is missing is waited for without holding
    /// any memory, so that streams do not wait for each other. Frames of events that are not charged are charged when sent.
    async fn charge(&mut self, frames: usize, made_of: usize) -> Result<()> {
        let Some(mut room) = self.room.take() else { return Ok(()) };
        let due = frames + room.bytes().saturating_sub(made_of);
        if due > room.bytes() {
            drop(room);
            room = frames::room_for(&mut self.subscription, &self.call, due).await?;
        }
        room.shrink(due);
        self.call.prepay(room.split(frames));
        self.room = Some(room);
        Ok(())
    }

    /// Appends the frames with which the stream begins, once, when the translation has reached the cursor.
    fn begin(&mut self, frames: &mut String) {
        if self.begun || self.translation.last_seq() < self.reader.cursor {
            return;
        }
        self.begun = true;
        frames.push_str(sse::RETRY);
        for event in self.translation.prelude() {
            append_frame(&event.to_json(), None, frames);
        }
    }

    /// Appends the frames of an event; none up to the cursor and after the end of the run.
    fn append(&mut self, event: &Event, sensitive: bool, frames: &mut String) {
        let form = public_runs::form(self.reader.view);
        let shown = form.view.where_it_may_differ(sensitive).show(event.event_type.as_str(), event.payload.as_str());
        let translated = self.translation.translate(event, &shown.json);
        let Some((last, others)) = translated.split_last().filter(|_| event.seq > self.reader.cursor) else { return };
        let at = event.occurred_at.as_millisecond();
        for other in others {
            append_frame(&format!(r#"{},"timestamp":{at}}}"#, other.open_json()), None, frames);
        }
        let mut stored = String::new();
        (form.write)(event, &shown, &mut stored);
        let member = if matches!(last, AgUiEvent::Raw { .. }) { "event" } else { "rawEvent" };
        append_frame(
            &format!(r#"{},"timestamp":{at},"{member}":{stored}}}"#, last.open_json()),
            Some(event.seq),
            frames,
        );
    }

    /// The last frames. Where the run had ended before the cursor, its last AG-UI event again, so that the reader has an end.
    fn end(&mut self, last_seq: u64) -> String {
        let mut frames = String::new();
        self.begin(&mut frames);
        if let Some(end) = self.translation.end_before(self.reader.cursor + 1) {
            append_frame(&end.to_json(), Some(last_seq), &mut frames);
        }
        frames.push_str(sse::END);
        frames
    }
}

fn append_frame(json: &str, id: Option<u64>, frames: &mut String) {
    if let Some(seq) = id {
        frames.push_str(&format!("id: {seq}\n"));
    }
    frames.push_str("data: ");
    let begin = frames.len();
    frames.push_str(json);
    sse::keep_on_one_line(frames, begin);
    frames.push_str("\n\n");
}
