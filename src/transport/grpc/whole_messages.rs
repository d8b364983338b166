//! The body of a gRPC request, in whole messages. tonic makes room for what the head of a message declares as soon as it sees
//! these five bytes; here they are held back until the message is there, so that memory follows what was received.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

/// A flag and the length of the message, big-endian.
const HEAD_BYTES: usize = 5;

/// See the module.
#[derive(Debug)]
pub struct WholeMessages<B> {
    body: B,
    max_message_bytes: usize,
    /// What has come of a message that is not there yet.
    part: VecDeque<Bytes>,
    part_bytes: usize,
    /// What may be handed on, which begins where a message does.
    whole: VecDeque<Bytes>,
    /// What ends the body.
    end: Option<Result<HeaderMap, Status>>,
}

impl<B> WholeMessages<B> {
    /// A message that declares more than the bound is handed on as it comes, for the decoder to refuse it by its head.
    pub fn new(body: B, max_message_bytes: usize) -> Self {
        let (part, whole) = (VecDeque::new(), VecDeque::new());
        Self { body, max_message_bytes, part, part_bytes: 0, whole, end: None }
    }

    /// Takes in what has come, and moves the messages that are whole now.
    fn take(&mut self, data: Bytes) {
        self.part_bytes += data.len();
        self.part.push_back(data);
        while let Some(bytes) = self.whole_bytes() {
            self.move_on(bytes);
        }
    }

    /// The size of the first message with its head, if it is there or is none to wait for.
    fn whole_bytes(&self) -> Option<usize> {
        let mut head = [0; HEAD_BYTES];
        if self.part_bytes < HEAD_BYTES {
            return None;
        }
        let mut bytes = self.part.iter().flatten();
        head.iter_mut().zip(&mut bytes).for_each(|(to, from)| *to = *from);
        let length = usize::try_from(u32::from_be_bytes([head[1], head[2], head[3], head[4]])).unwrap_or(usize::MAX);
        if length > self.max_message_bytes {
            return Some(self.part_bytes);
        }
        let message = HEAD_BYTES + length;
        (self.part_bytes >= message).then_some(message)
    }

    fn move_on(&mut self, mut bytes: usize) {
        self.part_bytes -= bytes;
        while bytes > 0
            && let Some(first) = self.part.front_mut()
        {
            if first.len() > bytes {
                self.whole.push_back(first.split_to(bytes));
                return;
            }
            bytes -= first.len();
            self.whole.extend(self.part.pop_front());
        }
    }
}

impl<B> Body for WholeMessages<B>
where
    B: Body<Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(data) = self.whole.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if let Some(end) = self.end.take() {
                return Poll::Ready(Some(end.map(Frame::trailers)));
            }
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            let ended = match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(mut data))) => {
                    let data = data.copy_to_bytes(data.remaining());
                    self.take(data);
                    continue;
                }
                Some(Ok(Err(frame))) => frame.into_trailers().ok().map(Ok),
                Some(Err(status)) => Some(Err(status)),
                None if self.part.is_empty() => return Poll::Ready(None),
                None => None,
            };
            // The decoder says what is wrong with a message that has no end.
            let rest = std::mem::take(&mut self.part);
            self.whole.extend(rest);
            (self.part_bytes, self.end) = (0, ended);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.whole.is_empty() && self.part.is_empty() && self.end.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
