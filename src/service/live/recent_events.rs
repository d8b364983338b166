//! Neighbouring events of a scope in memory: what the hub keeps of the recent past, and what a reader has read ahead.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::codec::Chunk;
use crate::domain::Result;

/// How many encodings of a batch can be kept: one for each form that a transport sends.
const FORMS: usize = 9;

/// Neighbouring events in stored form, with the other forms that were made of them. Made once, shared by all readers.
#[derive(Debug)]
pub struct EncodedEvents {
    /// Whether the public view of any event may leave something out.
    pub sensitive: bool,
    /// The encoding of `runlog.v1.EventBatch`.
    pub data: Bytes,
    forms: [OnceLock<Bytes>; FORMS],
    counted: Option<Counted>,
}

/// Bytes of all batches of a hub: with their other forms, and as long as any reader has them.
pub type HeldBytes = Arc<AtomicUsize>;

/// The bytes of one of them.
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

/// What a batch takes beside its bytes, about.
const BATCH_BYTES: usize = 512;

impl EncodedEvents {
    /// A batch of these records.
    #[must_use]
    pub fn new(sensitive: bool, data: Bytes) -> Self {
        Self { sensitive, data, forms: Default::default(), counted: None }
    }

    /// The same, whose bytes are counted until the last reader has dropped it.
    fn counted(sensitive: bool, data: Bytes, all: &HeldBytes) -> Self {
        let counted = Counted { all: Arc::clone(all), own: AtomicUsize::new(0) };
        counted.add(data.len() + BATCH_BYTES);
        Self { counted: Some(counted), ..Self::new(sensitive, data) }
    }

    /// The batch in another form, encoded by the first who asks. `form` is the transport's own number, below 9.
    pub fn form(&self, form: usize, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        let encoded = || {
            let encoded = encode(self);
            if let Some(counted) = &self.counted {
                counted.add(encoded.len());
            }
            encoded
        };
        self.forms[form].get_or_init(encoded).clone()
    }
}

/// Chunks that follow each other without a gap.
#[derive(Debug, Default)]
pub struct RecentEvents {
    chunks: VecDeque<(Chunk, Arc<EncodedEvents>)>,
    events: usize,
    bytes: usize,
}

impl RecentEvents {
    /// Adds what follows. Where it does not follow, what was there is forgotten.
    pub fn push(&mut self, chunk: Chunk) {
        let batch = EncodedEvents::new(chunk.sensitive, chunk.data.clone());
        self.push_batch(chunk, batch);
    }

    /// The same, whose bytes are counted.
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

    /// Record bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the oldest chunks; the newest stays in any case.
    pub fn shrink(&mut self, max_events: usize, max_bytes: usize) {
        while self.chunks.len() > 1 && (self.events > max_events || self.bytes > max_bytes) {
            self.forget_oldest();
        }
    }

    /// Forgets the chunks that end before `next`.
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

    /// Whether this coordinate is here.
    pub fn has(&self, coordinate: u64) -> bool {
        let (first, last) = (self.chunks.front(), self.chunks.back());
        first.is_some_and(|(chunk, _)| chunk.first <= coordinate)
            && last.is_some_and(|(chunk, _)| chunk.last() >= coordinate)
    }

    /// What follows from `next` on, without a gap and within the bounds; `None` when `next` is not here.
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

/// Events taken from the window.
#[derive(Debug)]
pub struct EventSlice {
    /// In order.
    pub batches: Vec<Arc<EncodedEvents>>,
    /// The coordinate of the last event.
    pub last: u64,
}
