//! The part of a range that a page holds.

use crate::codec::Chunk;
use crate::domain::Result;
use crate::store::Range;

/// Counts the events and bytes of a range while entries are collected.
pub struct Fill {
    range: Range,
    events: usize,
    bytes: usize,
}

impl Fill {
    pub fn new(range: Range) -> Self {
        Self { range, events: 0, bytes: 0 }
    }

    /// Whether the range includes any of the offsets from `first` to `last`.
    pub fn wants(&self, first: u64, last: u64) -> bool {
        if self.range.descending { first < self.range.from } else { last > self.range.from }
    }

    pub fn add(&mut self, first: u64, last: u64, bytes: usize) {
        let taken = if self.range.descending {
            last.min(self.range.from - 1) - first + 1
        } else {
            last - first.max(self.range.from + 1) + 1
        };
        self.events += usize::try_from(taken).unwrap_or(usize::MAX);
        self.bytes += bytes;
    }

    pub fn is_full(&self) -> bool {
        self.events >= self.range.max_events || (self.events > 0 && self.bytes > self.range.max_bytes)
    }
}

/// Whether the chunk is next in reading order, without a gap.
pub fn follows(chunks: &[Chunk], chunk: &Chunk, range: Range) -> bool {
    match chunks.last() {
        Some(last) if range.descending => chunk.last() + 1 == last.first,
        Some(last) => chunk.first == last.last() + 1,
        None if range.descending => chunk.last() + 1 >= range.from,
        None => chunk.first <= range.from + 1,
    }
}

/// Cuts the first chunk at the start of the range, and the last chunk at `max_events`.
pub fn trim(chunks: Vec<Chunk>, range: Range) -> Result<Vec<Chunk>> {
    let mut left = range.max_events as u64;
    let mut trimmed = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        if left == 0 {
            break;
        }
        let (from, to) = if range.descending {
            let to = chunk.last().min(range.from - 1);
            (chunk.first.max(to.saturating_sub(left - 1)), to)
        } else {
            let from = chunk.first.max(range.from + 1);
            (from, chunk.last().min(from.saturating_add(left - 1)))
        };
        if let Some(part) = chunk.between(from, to)? {
            left -= u64::from(part.count);
            trimmed.push(part);
        }
    }
    Ok(trimmed)
}
