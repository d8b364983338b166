//! The body of a gRPC request in whole messages. tonic allocates the declared length of a message as soon as the five bytes
//! of the head are received. Here the head is held back until the message is complete, so that memory follows received bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use crate::transport::memory::{Intake, PART_BYTES};

/// Head of a message: a flag (1 byte) and the length of the message (4 bytes, big-endian).
const HEAD_BYTES: usize = 5;

/// Request body that yields whole messages, see the module.
pub struct WholeMessages<B> {
    body: B,
    max_message_bytes: usize,
    /// Received bytes of an incomplete message. Copied, because a frame keeps the whole read buffer alive.
    part: BytesMut,
    /// The message that began in an earlier frame than the last one.
    completed: Bytes,
    /// Whole messages behind it.
    whole: Bytes,
    /// Trailers or error at the end of the body.
    end: Option<Result<HeaderMap, Status>>,
    intake: Option<Intake>,
    has_room: bool,
}

impl<B> WholeMessages<B> {
    /// A body without memory accounting. A message with a declared length over the limit is passed on as received, and the
    /// decoder refuses the message by the head.
    pub fn new(body: B, max_message_bytes: usize) -> Self {
        let (part, completed, whole) = Default::default();
        Self { body, max_message_bytes, part, completed, whole, end: None, intake: None, has_room: true }
    }

    /// As [`new`](Self::new), with received bytes charged to an intake.
    pub fn counted(body: B, max_message_bytes: usize, intake: Intake) -> Self {
        Self { intake: Some(intake), ..Self::new(body, max_message_bytes) }
    }

    /// Waits for memory for the received bytes.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let Some(intake) = self.intake.as_mut().filter(|_| !self.has_room) else { return Poll::Ready(Ok(())) };
        let received = self.completed.len() + self.whole.len() + self.part.len();
        let declared = self.part.first_chunk::<HEAD_BYTES>().map_or(0, declared_bytes);
        ready!(intake.poll_room(cx, received, declared.min(self.max_message_bytes)))?;
        if self.part.len() > PART_BYTES && declared <= self.max_message_bytes {
            // The whole message is charged now: a growing buffer would take twice as much.
            self.part.reserve((HEAD_BYTES + declared).saturating_sub(self.part.len()));
        }
        self.has_room = true;
        Poll::Ready(Ok(()))
    }

    /// Next bytes to pass on. With the last bytes the charges go to the call.
    fn next_whole(&mut self) -> Option<Bytes> {
        let next = if self.completed.is_empty() { &mut self.whole } else { &mut self.completed };
        let next = Some(std::mem::take(next)).filter(|next| !next.is_empty())?;
        if self.whole.is_empty()
            && self.part.is_empty()
            && let Some(intake) = &mut self.intake
        {
            intake.hand_over();
        }
        Some(next)
    }

    /// Takes received bytes, after all earlier whole messages were passed on.
    fn take(&mut self, mut data: Bytes) {
        if !self.part.is_empty() {
            self.continue_part(&mut data);
        }
        if self.part.is_empty() {
            self.whole = data.split_to(self.whole_bytes(&data));
            self.part.extend_from_slice(&data);
        }
    }

    /// Moves bytes of the incomplete message out of `data`, at most up to its end.
    fn continue_part(&mut self, data: &mut Bytes) {
        let mut fill = |part: &mut BytesMut, bytes: usize| {
            let missing = bytes.saturating_sub(part.len()).min(data.len());
            part.extend_from_slice(&data.split_to(missing));
            part.len() >= bytes
        };
        if !fill(&mut self.part, HEAD_BYTES) {
            return;
        }
        let declared = self.part.first_chunk::<HEAD_BYTES>().map_or(0, declared_bytes);
        let is_too_large = declared > self.max_message_bytes;
        if fill(&mut self.part, if is_too_large { usize::MAX } else { HEAD_BYTES + declared }) || is_too_large {
            self.completed = self.part.split().freeze();
        }
    }

    /// Length of the complete messages in `data`, or of all data if a message is over the limit. `data` begins with a message.
    fn whole_bytes(&self, data: &[u8]) -> usize {
        let mut whole = 0;
        while let Some((head, _)) = data[whole..].split_first_chunk::<HEAD_BYTES>() {
            let length = declared_bytes(head);
            if length > self.max_message_bytes {
                return data.len();
            }
            if data.len() - whole < HEAD_BYTES + length {
                break;
            }
            whole += HEAD_BYTES + length;
        }
        whole
    }
}

/// Length of the message, declared in the head.
fn declared_bytes([_, length @ ..]: &[u8; HEAD_BYTES]) -> usize {
    usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX)
}

impl<B> Body for WholeMessages<B>
where
    B: Body<Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            ready!(self.poll_room(cx))?;
            if let Some(data) = self.next_whole() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if let Some(end) = self.end.take() {
                return Poll::Ready(Some(end.map(Frame::trailers)));
            }
            // The decoder has taken all earlier messages before this poll.
            if self.part.is_empty()
                && let Some(intake) = &mut self.intake
            {
                intake.idle();
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let is_between = self.part.is_empty();
                    let Some(intake) = self.intake.as_mut().filter(|_| !is_between) else { return Poll::Pending };
                    return intake.poll_silence(cx).map(|status| Some(Err(status)));
                }
            };
            let ended = match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(mut data))) => {
                    let data = data.copy_to_bytes(data.remaining());
                    self.take(data);
                    self.has_room = false;
                    continue;
                }
                Some(Ok(Err(frame))) => frame.into_trailers().ok().map(Ok),
                Some(Err(status)) => Some(Err(status)),
                None if self.part.is_empty() => return Poll::Ready(None),
                None => None,
            };
            // The decoder reports the incomplete message.
            self.completed = std::mem::take(&mut self.part).freeze();
            self.end = ended;
        }
    }

    fn is_end_stream(&self) -> bool {
        self.completed.is_empty()
            && self.whole.is_empty()
            && self.part.is_empty()
            && self.end.is_none()
            && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::{BodyExt, StreamBody};
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 40;

    /// Frames of a body that consists of these pieces. Without `ends` the body stays open.
    fn frames(pieces: &[Vec<u8>], ends: bool) -> Vec<Bytes> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        // Not `tokio_stream::iter`, which yields to the runtime after 32 items.
        let stream = futures_util::stream::iter(pieces);
        let mut body: Pin<Box<dyn Body<Data = Bytes, Error = Status>>> = match ends {
            true => Box::pin(WholeMessages::new(StreamBody::new(stream), MAX)),
            false => {
                let endless = tokio_stream::StreamExt::chain(stream, tokio_stream::pending());
                Box::pin(WholeMessages::new(StreamBody::new(endless), MAX))
            }
        };
        let mut frames = Vec::new();
        while let Some(Some(frame)) = body.frame().now_or_never() {
            frames.push(frame.unwrap().into_data().unwrap());
        }
        frames
    }

    proptest! {
        #[test]
        fn every_message_is_handed_on_as_soon_as_it_is_whole_and_nothing_before(
            lengths in prop::collection::vec(0..=MAX, 0..6), cut in 0_usize..6, sizes in prop::collection::vec(1_usize..30, 1..40),
        ) {
            let mut sent = Vec::new();
            for (number, length) in (0_u8..).zip(&lengths) {
                sent.push(0);
                sent.extend(u32::try_from(*length).unwrap().to_be_bytes());
                sent.extend(std::iter::repeat_n(number, *length));
            }
            let whole = sent.len();
            // The beginning of an incomplete message.
            sent.extend(&[0, 0, 0, 0, 9, 1][..cut]);
            let mut rest = &sent[..];
            let mut pieces = Vec::new();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece.to_vec());
                rest = after;
            }
            prop_assert_eq!(frames(&pieces, false).concat(), &sent[..whole]);
            prop_assert_eq!(frames(&pieces, true).concat(), sent, "at the end the decoder sees what is left");
        }
    }

    #[test]
    fn a_message_that_declares_too_much_is_handed_on_for_the_decoder_to_refuse() {
        let head = vec![0, 0, 0, 0, u8::try_from(MAX).unwrap() + 1];
        assert_eq!(frames(std::slice::from_ref(&head), false).concat(), head);
    }
}
