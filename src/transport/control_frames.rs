//! Limit on the HTTP/2 control frames of a peer: a fixed number a second, and more in proportion to the bytes sent to the peer.
//!
//! Control frames are all frames except DATA and HEADERS: PING, SETTINGS, WINDOW_UPDATE, RST_STREAM, PRIORITY and the rest. An
//! empty DATA or HEADERS frame counts too, unless the frame ends the stream. Each frame costs the server work, and flow control
//! does not delay control frames.

use std::time::Duration;

use tokio::time::Instant;

/// Control frames allowed in one period, in addition to the frames allowed by `SENT_BYTES_EACH`.
const MAX_FRAMES: usize = 10_000;
const PERIOD: Duration = Duration::from_secs(1);

/// Sent bytes that allow one more control frame: a reader acknowledges each piece with a WINDOW_UPDATE.
const SENT_BYTES_EACH: usize = 256;

/// Head of a frame: length (3 bytes), type (1), flags (1) and stream (4).
const HEAD_BYTES: usize = 9;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;

/// Flag of the last frame of a request. Many clients set the flag on an empty DATA frame.
const END_STREAM: u8 = 0x1;

/// Counter of the control frames of one connection.
#[derive(Debug)]
pub struct ControlFrames {
    head: [u8; HEAD_BYTES],
    filled: usize,
    /// Bytes of the current frame that are not received yet.
    rest: usize,
    frames: usize,
    sent: usize,
    since: Instant,
}

impl ControlFrames {
    /// A counter for the bytes after the connection preface.
    pub fn new() -> Self {
        Self { head: [0; HEAD_BYTES], filled: 0, rest: 0, frames: 0, sent: 0, since: Instant::now() }
    }

    /// Counts bytes sent to the peer.
    pub fn sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes);
    }

    /// Counts the control frames in received bytes. Returns whether the peer exceeds the limit.
    pub fn are_too_many(&mut self, mut read: &[u8]) -> bool {
        let before = self.frames;
        while !read.is_empty() {
            if self.rest > 0 {
                let skipped = self.rest.min(read.len());
                self.rest -= skipped;
                read = &read[skipped..];
                continue;
            }
            let taken = (HEAD_BYTES - self.filled).min(read.len());
            self.head[self.filled..self.filled + taken].copy_from_slice(&read[..taken]);
            self.filled += taken;
            read = &read[taken..];
            if self.filled == HEAD_BYTES {
                self.filled = 0;
                let [a, b, c, kind, flags, ..] = self.head;
                self.rest = u32::from_be_bytes([0, a, b, c]) as usize;
                let carries = matches!(kind, DATA | HEADERS) && (self.rest > 0 || flags & END_STREAM != 0);
                self.frames += usize::from(!carries);
            }
        }
        if self.frames == before || self.frames <= MAX_FRAMES + self.sent / SENT_BYTES_EACH {
            return false;
        }
        let is_flood = self.since.elapsed() < PERIOD;
        (self.frames, self.sent, self.since) = (0, 0, Instant::now());
        is_flood
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(length).unwrap().to_be_bytes();
        [&[a, b, c, kind, 0, 0, 0, 0, 1][..], &vec![7; length]].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_end_with_an_empty_frame_are_no_flood() {
        let call = [frame(HEADERS, 30), frame(DATA, 300), vec![0, 0, 0, DATA, END_STREAM, 0, 0, 0, 1]].concat();
        assert!(!ControlFrames::new().are_too_many(&call.repeat(10 * MAX_FRAMES)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_carries_nothing_is_counted_however_it_is_cut() {
        let sent =
            [frame(6, 8), frame(DATA, 16_384), frame(4, 0), frame(HEADERS, 30), frame(DATA, 0), frame(8, 4)].concat();
        for size in [1, 2, 9, 17, 1_000, sent.len()] {
            let mut frames = ControlFrames::new();
            assert!(!sent.chunks(size).any(|chunk| frames.are_too_many(chunk)));
            assert_eq!((frames.frames, frames.rest, frames.filled), (4, 0, 0), "{size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_one_and_the_same_over_a_longer_time_or_beside_much_that_is_sent_is_none() {
        let flood = frame(6, 8).repeat(MAX_FRAMES + 1);
        assert!(ControlFrames::new().are_too_many(&flood));
        let mut slow = ControlFrames::new();
        for part in flood.chunks(flood.len() / 4) {
            assert!(!slow.are_too_many(part));
            tokio::time::advance(PERIOD / 2).await;
        }
        let mut reader = ControlFrames::new();
        reader.sent(10 * SENT_BYTES_EACH);
        assert!(!reader.are_too_many(&flood));
    }
}
