//! Consecutive events of a scope in memory: the recent events of the hub, and the read-ahead of a subscription.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::codec::Chunk;
use crate::domain::Result;

/// An encoding of events beside the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodingKey {
    /// gRPC, payloads as JSON text, public view.
    JsonPublic,
    /// gRPC, typed payloads, public view.
    TypedPublic,
    /// gRPC, typed payloads, full view.
    TypedFull,
    /// Event stream of the structure runs API, public view.
    StructureRunsPublic,
    /// Event stream of the structure runs API, full view.
    StructureRunsFull,
    /// Event stream of the agent SDK API, public view.
    AgentSdkPublic,
    /// Event stream of the agent SDK API, full view.
    AgentSdkFull,
    /// Event stream of the public runs API, public view.
    PublicRunsPublic,
    /// Event stream of the public runs API, full view.
    PublicRunsFull,
    /// Event stream of all runs, public view.
    FeedPublic,
    /// Event stream of all runs, full view.
    FeedFull,
}

/// Number of encoding keys.
const ENCODINGS: usize = EncodingKey::FeedFull as usize + 1;

/// Consecutive events in stored form, with further encodings. Each encoding is made once and shared by all subscribers.
#[derive(Debug)]
pub struct EncodedEvents {
    /// Whether the public view of any of the events may leave members out.
    pub sensitive: bool,
    /// The encoding of `runlog.v1.EventBatch`.
    pub data: Bytes,
    encodings: [OnceLock<Bytes>; ENCODINGS],
    counted: Option<Counted>,
}

/// Bytes of all batches of a hub, with all encodings. A batch counts until the last subscriber has dropped the batch.
pub type HeldBytes = Arc<AtomicUsize>;

/// Share of one batch in [`HeldBytes`]; the drop subtracts the share.
#[derive(Debug)]
struct Counted {
    all: HeldBytes,
    own: AtomicUsize,
}

impl Counted {
    fn add(&self, bytes: usize) {
        self.own.fetch_add(bytes, Relaxed);
        self.all.fetch_add(bytes, Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(*self.own.get_mut(), Relaxed);
    }
}

/// Approximate memory of a batch without the events, bytes.
const BATCH_BYTES: usize = 512;

impl EncodedEvents {
    /// A batch of these records, not counted in [`HeldBytes`].
    #[must_use]
    pub fn new(sensitive: bool, data: Bytes) -> Self {
        Self { sensitive, data, encodings: Default::default(), counted: None }
    }

    /// A batch of these records, counted in [`HeldBytes`] until the drop.
    fn counted(sensitive: bool, data: Bytes, all: &HeldBytes) -> Self {
        let counted = Counted { all: Arc::clone(all), own: AtomicUsize::new(0) };
        counted.add(data.len() + BATCH_BYTES);
        Self { counted: Some(counted), ..Self::new(sensitive, data) }
    }

    /// The events in this encoding; the first caller encodes, later callers share the bytes.
    pub fn encoding(&self, key: EncodingKey, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        let encoded = || {
            let encoded = encode(self);
            if let Some(counted) = &self.counted {
                counted.add(encoded.len());
            }
            encoded
        };
        self.encodings[key as usize].get_or_init(encoded).clone()
    }
}

/// A window of consecutive chunks without a gap, oldest first.
#[derive(Debug, Default)]
pub struct RecentEvents {
    chunks: VecDeque<(Chunk, Arc<EncodedEvents>)>,
    events: usize,
    bytes: usize,
}

impl RecentEvents {
    /// Adds a chunk at the end. A chunk after a gap drops all earlier chunks.
    pub fn push(&mut self, chunk: Chunk) {
        let batch = EncodedEvents::new(chunk.sensitive, chunk.data.clone());
        self.push_batch(chunk, batch);
    }

    /// As [`push`](Self::push), with the bytes counted in `all`.
    pub fn push_counted(&mut self, chunk: Chunk, all: &HeldBytes) {
        let batch = EncodedEvents::counted(chunk.sensitive, chunk.data.clone(), all);
        self.push_batch(chunk, batch);
    }

    fn push_batch(&mut self, chunk: Chunk, batch: EncodedEvents) {
        if self.chunks.back().is_some_and(|(last, _)| last.last() + 1 != chunk.first) {
            *self = Self::default();
        }
        self.events += chunk.count as usize;
        self.bytes += chunk.data.len();
        self.chunks.push_back((chunk, Arc::new(batch)));
    }

    /// Record bytes of all chunks, without other encodings.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops the oldest chunks until both limits hold; the newest chunk stays in any case.
    pub fn shrink(&mut self, max_events: usize, max_bytes: usize) {
        while self.chunks.len() > 1 && (self.events > max_events || self.bytes > max_bytes) {
            self.forget_oldest();
        }
    }

    /// Drops the chunks that end before the offset `next`.
    pub fn forget_before(&mut self, next: u64) {
        while self.chunks.front().is_some_and(|(oldest, _)| oldest.last() < next) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((oldest, _)) = self.chunks.pop_front() {
            self.events -= oldest.count as usize;
            self.bytes -= oldest.data.len();
        }
    }

    /// Whether the window has the event at this offset.
    pub fn has(&self, offset: u64) -> bool {
        let (first, last) = (self.chunks.front(), self.chunks.back());
        first.is_some_and(|(chunk, _)| chunk.first <= offset) && last.is_some_and(|(chunk, _)| chunk.last() >= offset)
    }

    /// Events from the offset `next` on, without a gap and within the limits; `None` if the window does not have `next`.
    /// The first chunk is returned even if larger than `max_bytes`.
    pub fn take(&self, next: u64, max_events: usize, max_bytes: usize) -> Result<Option<EventSlice>> {
        let index = self.chunks.partition_point(|(chunk, _)| chunk.last() < next);
        let mut taken = EventSlice { batches: Vec::new(), last: next - 1 };
        let (mut events, mut bytes) = (0, 0);
        for (chunk, batch) in self.chunks.iter().skip(index) {
            if chunk.first > taken.last + 1 {
                break;
            }
            let room = (max_events - events) as u64;
            let Some(part) = chunk.between(taken.last + 1, taken.last.saturating_add(room))? else { break };
            let is_whole = part.count == chunk.count;
            if events > 0 && (!is_whole || bytes + part.data.len() > max_bytes) {
                break;
            }
            events += part.count as usize;
            bytes += part.data.len();
            taken.last = part.last();
            let whole = is_whole.then(|| Arc::clone(batch));
            taken.batches.push(whole.unwrap_or_else(|| Arc::new(EncodedEvents::new(part.sensitive, part.data))));
            if events >= max_events {
                break;
            }
        }
        Ok((!taken.batches.is_empty()).then_some(taken))
    }
}

/// Consecutive events from a window.
#[derive(Debug)]
pub struct EventSlice {
    /// Batches in order, shared with the window if whole.
    pub batches: Vec<Arc<EncodedEvents>>,
    /// The offset of the last event.
    pub last: u64,
}
