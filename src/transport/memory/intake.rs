//! Memory accounting of requests: received bytes are charged on arrival, and a stalled request is given up.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use super::budget::{Charge, bytes_of};
use super::call::Call;
use super::clock::{ticks, ticks_past};
use super::limits::{BYTES_EACH, MAX_WAIT, SMALL_BYTES, no_room_for_requests};
use crate::transport::status;

/// Received bytes from which a request is charged for the whole declared length.
pub const PART_BYTES: usize = 64 << 10;

/// Time between checks of a request without progress. After this time the request is given up if the budget is used up.
const LOOK: Duration = Duration::from_secs(1);

/// Most requests that wait for memory at a time. The received bytes of a waiting request are not charged: at most
/// `PART_BYTES` and a flow-control window.
const MAX_QUEUED: usize = 256;

/// Longest time for the arrival of one message while the budget is used up.
const MAX_AGE: Duration = Duration::from_secs(10);

/// Memory of the request of one call.
pub struct Intake {
    call: Arc<Call>,
    max_silence: Duration,
    charges: Vec<Charge>,
    wait: Option<Wait>,
    look: Option<Pin<Box<Sleep>>>,
    /// Tick of the last progress, and of the begin of the message.
    progress: u64,
    began: u64,
}

/// A charge that waits for memory.
struct Wait {
    room: Pin<Box<dyn Future<Output = Charge> + Send>>,
    until: Pin<Box<Sleep>>,
}

impl Intake {
    pub(super) fn new(call: Arc<Call>, max_silence: Duration) -> Self {
        let now = call.account().now();
        Self { call, max_silence, charges: Vec::new(), wait: None, look: None, progress: now, began: now }
    }

    /// Charges the `received` bytes of a message with the length `declared`. Ready once the bytes are charged.
    pub fn poll_room(&mut self, cx: &mut Context<'_>, received: usize, declared: usize) -> Poll<Result<(), Status>> {
        let needed = if received <= SMALL_BYTES {
            0
        } else if received <= PART_BYTES {
            BYTES_EACH * declared.min(PART_BYTES).max(received)
        } else {
            BYTES_EACH * declared.max(received)
        };
        loop {
            if let Some(Wait { room, until }) = &mut self.wait {
                if let Poll::Ready(charge) = room.as_mut().poll(cx) {
                    self.charges.push(charge);
                    self.wait = None;
                    continue;
                }
                ready!(until.as_mut().poll(cx));
                return Poll::Ready(Err(no_room()));
            }
            // A size over the limit of the connection counts as the limit.
            let most = self.call.account().shares.receive.most();
            let missing = needed.min(most).saturating_sub(bytes_of(&self.charges));
            if missing == 0 {
                self.progress = self.call.account().now();
                return Poll::Ready(Ok(()));
            }
            let share = &self.call.account().shares.receive;
            match share.try_charge(missing) {
                Some(charge) => self.charges.push(charge),
                None if share.budget().queued() >= MAX_QUEUED || share.queued() >= MAX_QUEUED / 2 => {
                    return Poll::Ready(Err(no_room()));
                }
                None => {
                    // Releases the part held so far: two requests that hold a part and wait for the rest would deadlock.
                    self.charges.clear();
                    let room = Box::pin(Arc::clone(share).charge(needed.min(most)));
                    self.wait = Some(Wait { room, until: Box::pin(tokio::time::sleep(MAX_WAIT)) });
                }
            }
        }
    }

    /// Polled while no bytes arrive of an incomplete message. Ready once the request is given up.
    pub fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        loop {
            let look = self.look.get_or_insert_with(|| Box::pin(tokio::time::sleep(LOOK)));
            ready!(look.as_mut().poll(cx));
            self.look = None;
            let now = self.call.account().now();
            let silence = now.saturating_sub(self.progress);
            if silence >= ticks_past(self.max_silence) {
                return Poll::Ready(status::stalled());
            }
            let is_slow = silence >= ticks(LOOK) || now.saturating_sub(self.began) >= ticks(MAX_AGE);
            if !self.charges.is_empty() && is_slow && self.call.account().shares.receive.budget().is_used_up() {
                return Poll::Ready(no_room());
            }
        }
    }

    /// Called before the first byte of the next message: the charges of earlier messages of the stream can be released.
    pub fn idle(&mut self) {
        self.began = self.call.account().now();
        self.call.taken();
    }

    /// The received message is passed on. The call holds the charges until the answer, or until the next message of a stream.
    pub fn hand_over(&mut self) {
        self.call.received(std::mem::take(&mut self.charges));
        self.look = None;
        let now = self.call.account().now();
        (self.progress, self.began) = (now, now);
    }
}

fn no_room() -> Status {
    status::from_error(&no_room_for_requests())
}

/// Body of a request without gRPC, with memory accounting.
pub struct Received {
    body: Body,
    intake: Intake,
    /// Declared length, or the largest allowed length.
    declared: usize,
    /// Largest unpacked size of a packed body, else 0. Charged on arrival, because two requests that hold a part and wait for
    /// the rest would deadlock.
    unpacked: usize,
    received: usize,
    frame: Option<Bytes>,
}

impl Received {
    pub(super) fn new(body: Body, intake: Intake, max_bytes: usize, is_packed: bool) -> Self {
        let declared = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
        let declared = declared.unwrap_or(max_bytes).min(max_bytes);
        let unpacked = if is_packed { max_bytes } else { 0 };
        Self { declared, unpacked, body, intake, received: 0, frame: None }
    }

    /// Bytes to charge. A small body is charged for the unpacked size only when complete, because the request may be refused.
    fn counted(&self) -> usize {
        if self.received <= SMALL_BYTES { self.received } else { self.received.max(self.unpacked) }
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if let Some(frame) = this.frame.take() {
                let counted = this.counted();
                match this.intake.poll_room(cx, counted, this.declared) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
                    Poll::Ready(Err(status)) => return Poll::Ready(Some(Err(status))),
                    Poll::Pending => {
                        this.frame = Some(frame);
                        return Poll::Pending;
                    }
                }
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        this.received += data.remaining();
                        this.frame = Some(data);
                    }
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(Err(status))),
                Poll::Ready(None) => {
                    this.intake.hand_over();
                    return Poll::Ready(None);
                }
                Poll::Pending => return this.intake.poll_silence(cx).map(|status| Some(Err(status))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frame.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Received {
    /// Covers a body that is abandoned or not read to the end: the text may still be in memory.
    fn drop(&mut self) {
        self.intake.hand_over();
    }
}
