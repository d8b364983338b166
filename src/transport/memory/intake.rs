//! What is received of a request, counted as it comes, and given up where nothing more comes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use super::budget::Charge;
use super::call::Call;
use super::{MAX_WAIT, SMALL_BYTES};
use crate::domain::Error;
use crate::transport::status;

/// A byte received takes so many: the text, what is decoded from it, and what is on its way to the store.
pub(super) const BYTES_EACH: usize = 3;

/// From here on room is taken for all that the request declares.
pub const PART_BYTES: usize = 64 << 10;

/// How often a request of which nothing comes is looked at, and after what time it is given up if others need its room.
const LOOK: Duration = Duration::from_secs(1);

/// Most requests that wait for room at a time. What has come of them is not counted: a part each, and a window.
const MAX_QUEUED: usize = 256;

/// How long a message may take to come if others need its room.
const MAX_AGE: Duration = Duration::from_secs(10);

/// The memory of a request.
pub struct Intake {
    call: Arc<Call>,
    max_silence: Duration,
    charged: usize,
    charges: Vec<Charge>,
    wait: Option<Wait>,
    look: Option<Pin<Box<Sleep>>>,
    progress: Instant,
    began: Instant,
}

/// Room that is waited for.
struct Wait {
    room: Pin<Box<dyn Future<Output = Charge> + Send>>,
    bytes: usize,
    until: Pin<Box<Sleep>>,
}

impl Intake {
    pub(super) fn new(call: Arc<Call>, max_silence: Duration) -> Self {
        let now = Instant::now();
        Self { call, max_silence, charged: 0, charges: Vec::new(), wait: None, look: None, progress: now, began: now }
    }

    /// So many bytes of a message are there, which will have so many. Ready once there is room for them.
    pub fn poll_room(&mut self, cx: &mut Context<'_>, received: usize, declared: usize) -> Poll<Result<(), Status>> {
        let needed = if received <= SMALL_BYTES {
            0
        } else if received <= PART_BYTES {
            BYTES_EACH * declared.min(PART_BYTES).max(received)
        } else {
            BYTES_EACH * declared.max(received)
        };
        loop {
            if let Some(Wait { room, bytes, until }) = &mut self.wait {
                if let Poll::Ready(charge) = room.as_mut().poll(cx) {
                    self.charged += *bytes;
                    self.charges.push(charge);
                    self.wait = None;
                    continue;
                }
                ready!(until.as_mut().poll(cx));
                return Poll::Ready(Err(no_room()));
            }
            // More than the connection may hold at all counts as that much.
            let most = self.call.account().shares.receive.most();
            let missing = needed.min(most).saturating_sub(self.charged);
            if missing == 0 {
                self.progress = Instant::now();
                return Poll::Ready(Ok(()));
            }
            let share = &self.call.account().shares.receive;
            match share.try_charge(missing) {
                Some(charge) => {
                    self.charged += missing;
                    self.charges.push(charge);
                }
                None if share.budget().queued() >= MAX_QUEUED => return Poll::Ready(Err(no_room())),
                None => {
                    // A request that kept a part while it waits for the rest might wait for another that does the same.
                    self.charges.clear();
                    self.charged = 0;
                    let bytes = needed.min(most);
                    let room = Box::pin(Arc::clone(share).charge(bytes));
                    self.wait = Some(Wait { room, bytes, until: Box::pin(tokio::time::sleep(MAX_WAIT)) });
                }
            }
        }
    }

    /// Nothing comes, though a message is not whole. Ready once it is given up.
    pub fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        loop {
            let look = self.look.get_or_insert_with(|| Box::pin(tokio::time::sleep(LOOK)));
            ready!(look.as_mut().poll(cx));
            self.look = None;
            let silence = self.progress.elapsed();
            if silence >= self.max_silence {
                return Poll::Ready(status::stalled());
            }
            let is_slow = silence >= LOOK || self.began.elapsed() >= MAX_AGE;
            if self.charged > 0 && is_slow && self.call.account().shares.receive.budget().is_used_up() {
                return Poll::Ready(no_room());
            }
        }
    }

    /// Nothing has come of the next message: of a stream of requests all before it are taken.
    pub fn idle(&self) {
        self.call.taken();
    }

    /// What has come is handed on. What it takes is held until the call is answered, or until the next message of a stream.
    pub fn hand_over(&mut self) {
        self.call.received(std::mem::take(&mut self.charges));
        self.charged = 0;
        self.look = None;
        let now = Instant::now();
        (self.progress, self.began) = (now, now);
    }
}

pub(super) fn no_room_for_requests() -> Error {
    const WHAT: &str = "requests take all the memory that they may; nothing of this request was stored";
    Error::Overloaded { what: WHAT, retry_after: Duration::from_secs(1) }
}

fn no_room() -> Status {
    status::from_error(&no_room_for_requests())
}

/// The body of a request that is no gRPC.
pub struct Received {
    body: Body,
    intake: Intake,
    /// What is declared, or else may come at most.
    declared: usize,
    /// What it may be unpacked into, which it takes room for from the beginning: one that waited for more later might wait for
    /// another that does the same.
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

    /// Bytes to count: a small body may still be refused, and is unpacked when it is whole.
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
    /// A body that was left, or read without asking for its end: its text may be there still.
    fn drop(&mut self) {
        self.intake.hand_over();
    }
}
