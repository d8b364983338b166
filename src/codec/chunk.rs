//! Chunks: neighbouring events in stored form.

use bytes::Bytes;

use super::record;
use crate::domain::error::Result;

/// One or more events with consecutive offsets, in stored form. Cheap to clone.
///
/// `data` is the encoding of `runlog.v1.EventBatch`: a list of records, each with tag and length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of the first event: a seq in a chunk of a run, a position in a chunk of the feed.
    pub first: u64,
    /// Number of events, at least 1.
    pub count: u32,
    /// Whether the public view of any event may differ from its stored payload.
    pub sensitive: bool,
    /// The encoded list of records.
    pub data: Bytes,
}

impl Chunk {
    /// Offset of the last event.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }

    /// The records with their offsets, in order.
    ///
    /// # Errors
    /// `StoreDamaged` for data that does not decode; the iteration ends there.
    pub fn records(&self) -> impl Iterator<Item = Result<(u64, Bytes)>> + use<> {
        let mut rest = self.data.clone();
        let mut offset = self.first;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let next = record::split_entry(&mut rest).map(|record| (offset, record));
            offset += 1;
            if next.is_err() {
                rest.clear();
            }
            Some(next)
        })
    }

    /// The events with offsets in `from..=to`; `None` if the chunk has none of them.
    ///
    /// # Errors
    /// `StoreDamaged` for data that does not decode.
    pub fn between(&self, from: u64, to: u64) -> Result<Option<Self>> {
        if from > self.last() || to < self.first || from > to {
            return Ok(None);
        }
        if from <= self.first && to >= self.last() {
            return Ok(Some(self.clone()));
        }
        let (from, to) = (from.max(self.first), to.min(self.last()));
        let mut rest = self.data.clone();
        let skip_entries = |rest: &mut Bytes, entries: u64| -> Result<usize> {
            for _ in 0..entries {
                record::split_entry(rest)?;
            }
            Ok(self.data.len() - rest.len())
        };
        let start = skip_entries(&mut rest, from - self.first)?;
        let end = skip_entries(&mut rest, to - from + 1)?;
        let count = u32::try_from(to - from + 1).unwrap_or(u32::MAX);
        Ok(Some(Self { first: from, count, sensitive: self.sensitive, data: self.data.slice(start..end) }))
    }
}
