//! Chunks: neighbouring events in their stored form.

use bytes::Bytes;

use super::record;
use crate::domain::error::Result;

/// One or more events that follow each other without a gap, in stored form. Cheap to clone.
///
/// `data` is the encoding of `runlog.v1.EventBatch`: records one after the other, each with its tag and length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The coordinate of the first event: its seq in a chunk of a run, its position in a chunk of the feed.
    pub first: u64,
    /// How many events; at least 1.
    pub count: u32,
    /// Whether the public view of any event may leave something out.
    pub sensitive: bool,
    /// The records.
    pub data: Bytes,
}

impl Chunk {
    /// The coordinate of the last event.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }

    /// The records with their coordinates, in order.
    pub fn records(&self) -> impl Iterator<Item = Result<(u64, Bytes)>> + use<> {
        let mut rest = self.data.clone();
        let mut coordinate = self.first;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let next = record::split_entry(&mut rest).map(|record| (coordinate, record));
            coordinate += 1;
            if next.is_err() {
                rest.clear();
            }
            Some(next)
        })
    }

    /// The part with coordinates in `from..=to`; `None` where nothing is left.
    pub fn between(&self, from: u64, to: u64) -> Result<Option<Self>> {
        if from > self.last() || to < self.first || from > to {
            return Ok(None);
        }
        if from <= self.first && to >= self.last() {
            return Ok(Some(self.clone()));
        }
        let (from, to) = (from.max(self.first), to.min(self.last()));
        let mut rest = self.data.clone();
        let offset_after = |rest: &mut Bytes, entries: u64| -> Result<usize> {
            for _ in 0..entries {
                record::split_entry(rest)?;
            }
            Ok(self.data.len() - rest.len())
        };
        let start = offset_after(&mut rest, from - self.first)?;
        let end = offset_after(&mut rest, to - from + 1)?;
        let count = u32::try_from(to - from + 1).unwrap_or(u32::MAX);
        Ok(Some(Self { first: from, count, sensitive: self.sensitive, data: self.data.slice(start..end) }))
    }
}
