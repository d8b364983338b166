//! The part of a range that a page holds.

use crate::codec::Chunk;
use crate::domain::{Error, Result};
use crate::store::{Range, ReadFrom};

/// Counts the events and bytes of a range while entries are collected.
pub struct Fill {
    range: Range,
    /// First kept offset of the scope.
    kept: u64,
    events: usize,
    bytes: usize,
}

impl Fill {
    pub fn new(range: Range, kept: u64) -> Self {
        Self { range, kept, events: 0, bytes: 0 }
    }

    /// Whether the range includes any of the offsets from `first` to `last`. A range that ends before the first kept offset
    /// includes none.
    pub fn wants(&self, first: u64, last: u64) -> bool {
        first.max(self.lowest()) <= last.min(self.range.from.highest())
    }

    /// Counts an entry that is wanted.
    pub fn add(&mut self, first: u64, last: u64, bytes: usize) {
        let taken = last.min(self.range.from.highest()) - first.max(self.lowest()) + 1;
        self.events += usize::try_from(taken).unwrap_or(usize::MAX);
        self.bytes += bytes;
    }

    fn lowest(&self) -> u64 {
        self.range.from.lowest().max(self.kept)
    }

    pub fn is_full(&self) -> bool {
        self.events >= self.range.max_events || (self.events > 0 && self.bytes > self.range.max_bytes)
    }
}

/// Most rows that a range can need: each row holds at least one event, and the first row may start before the range.
pub fn most_rows(range: Range) -> i64 {
    i64::try_from(range.max_events).unwrap_or(i64::MAX).saturating_add(1)
}

/// Fails if the first event of the range is not kept any more.
pub fn check_kept(range: Range, kept: u64) -> Result<()> {
    let is_kept = match range.from {
        ReadFrom::After(offset) => offset.saturating_add(1) >= kept,
        ReadFrom::Before(offset) => offset >= kept || kept == 1,
        ReadFrom::End => true,
    };
    if is_kept { Ok(()) } else { Err(Error::EventsExpired { first: kept }) }
}

/// Whether the chunk is next in reading order, without a gap.
pub fn follows(chunks: &[Chunk], chunk: &Chunk, range: Range) -> bool {
    match chunks.last() {
        Some(last) if range.from.is_descending() => chunk.last() + 1 == last.first,
        Some(last) => chunk.first == last.last() + 1,
        None if range.from.is_descending() => chunk.last() >= range.from.highest(),
        None => chunk.first <= range.from.lowest(),
    }
}

/// Cuts the first chunk at the start of the range, the last chunk at `max_events`, and every chunk at the first kept offset.
pub fn trim(chunks: Vec<Chunk>, range: Range, kept: u64) -> Result<Vec<Chunk>> {
    let mut left = range.max_events as u64;
    let mut trimmed = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        if left == 0 {
            break;
        }
        let (mut from, mut to) =
            (chunk.first.max(range.from.lowest()).max(kept), chunk.last().min(range.from.highest()));
        if range.from.is_descending() {
            from = from.max(to.saturating_sub(left - 1));
        } else {
            to = to.min(from.saturating_add(left - 1));
        }
        if let Some(part) = chunk.between(from, to)? {
            left -= u64::from(part.count);
            trimmed.push(part);
        }
    }
    Ok(trimmed)
}
