//! The body of an answer, passed to the connection in small pieces. The memory of a frame is held until the last piece is sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::budget::Charge;
use super::call::Call;
use super::limits::SMALL_BYTES;

/// Largest piece, bytes. The connection takes a piece before the peer's window has room. A larger piece costs less time; a
/// smaller one shows the progress of a slow reader earlier.
const PIECE_BYTES: usize = 64 << 10;

/// Response body with memory accounting, see the module.
pub struct Answer {
    body: Body,
    call: Arc<Call>,
    state: State,
    is_first: bool,
}

enum State {
    /// No frame in progress.
    Idle,
    /// A frame built without a charge, which waits for memory.
    Waits(Bytes, Pin<Box<dyn Future<Output = Charge> + Send>>),
    /// The part of a frame that is not passed on yet.
    Sends(Bytes, Held),
}

/// Memory of a frame, held until the last piece is sent. `None`: the memory of the call covers the frame.
type Held = Option<Arc<Vec<Charge>>>;

/// A piece held by the connection, which drops sent pieces.
struct Piece {
    bytes: Bytes,
    call: Arc<Call>,
    _held: Held,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.call.piece_sent();
    }
}

impl Answer {
    /// The body of the answer to `call`.
    pub fn new(body: Body, call: Arc<Call>) -> Self {
        Self { body, call, state: State::Idle, is_first: true }
    }

    /// Begins a frame. A small first frame needs no charge: the memory of the call covers the frame.
    fn take(&mut self, data: Bytes) {
        let is_small = std::mem::replace(&mut self.is_first, false) && data.len() <= SMALL_BYTES;
        let mut charges = self.call.prepaid();
        let share = &self.call.account().shares.send;
        if is_small {
            return self.sends(data, None);
        }
        if charges.is_empty() {
            match share.try_charge(data.len()) {
                Some(charge) => charges.push(charge),
                None => {
                    let room = Box::pin(Arc::clone(share).charge(data.len()));
                    self.state = State::Waits(data, room);
                    return;
                }
            }
        } else if let [charge] = charges.as_mut_slice() {
            charge.shrink(data.len());
        }
        self.sends(data, Some(Arc::new(charges)));
    }

    fn sends(&mut self, data: Bytes, held: Held) {
        self.call.frame_begins();
        self.state = State::Sends(data, held);
    }

    fn piece(&mut self) -> Option<Bytes> {
        let State::Sends(rest, held) = &mut self.state else { return None };
        let bytes = rest.split_to(rest.len().min(PIECE_BYTES));
        let piece = Piece { bytes, call: Arc::clone(&self.call), _held: held.clone() };
        if rest.is_empty() {
            self.state = State::Idle;
        }
        self.call.piece_made();
        Some(Bytes::from_owner(piece))
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.call.asked();
        loop {
            if let Some(piece) = self.piece() {
                self.call.piece_handed();
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if let State::Waits(data, room) = &mut self.state {
                let charge = ready!(room.as_mut().poll(cx));
                let data = std::mem::take(data);
                self.sends(data, Some(Arc::new(vec![charge])));
                continue;
            }
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(None) };
            match frame?.into_data() {
                Ok(data) if data.is_empty() => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(data) => self.take(data),
                Err(other) => {
                    let trailers: Option<HeaderMap> = other.into_trailers().ok();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Idle) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Idle => self.body.size_hint(),
            State::Waits(..) | State::Sends(..) => SizeHint::default(),
        }
    }
}
