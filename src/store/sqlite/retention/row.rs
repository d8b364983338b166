//! A row of the log without some of its events or payloads.

use crate::codec::{Chunk, record};
use crate::domain::event::Removal;
use crate::domain::{Event, Payload, Result};
use crate::store::commit::row_builder::RunSpan;
use crate::store::retention::RunFacts;

use super::rows::StoredEvent;

/// Fate of a stored event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate<'a> {
    /// Stays as it is.
    Keep,
    /// Loses its payload; stays as it is if it has lost it before.
    Remove(Removal),
    /// Gets this payload, joined from this seq on; stays as it is if it has lost its own before.
    Join(&'a Payload, u64),
    /// Leaves the log.
    Drop,
}

/// A row after its events met their fates.
#[derive(Debug, Default)]
pub struct NewRow {
    /// Stored position of the row, as before.
    pub pos: u64,
    /// Events left; 0: the row leaves the log.
    pub count: u32,
    pub sensitive: bool,
    pub data: Vec<u8>,
    /// The spans of the row, with the run of each.
    pub spans: Vec<(i64, RunSpan)>,
    /// The events that lost their payload now, as they were.
    pub removed: Vec<Event>,
}

impl NewRow {
    /// Builds the row. `None` if nothing changes.
    pub fn of(chunk: &Chunk, events: &[StoredEvent], runs: &[RunFacts], fates: &[Fate<'_>]) -> Result<Option<Self>> {
        if fates.iter().all(|fate| *fate == Fate::Keep) {
            return Ok(None);
        }
        let mut row = Self { pos: chunk.first, ..Self::default() };
        let mut is_changed = false;
        for (stored, fate) in events.iter().zip(fates) {
            let event = record::decode(stored.record.clone())?;
            let has_payload = event.removal.is_none();
            is_changed |= *fate == Fate::Drop || (has_payload && *fate != Fate::Keep);
            match fate {
                Fate::Remove(removal) if has_payload => {
                    let mut stub = event.clone();
                    stub.remove(*removal);
                    row.add(runs[stored.run].run, &stub, None);
                }
                Fate::Join(payload, from) if has_payload => {
                    let mut joined = event.clone();
                    joined.join((*payload).clone(), *from);
                    row.add(runs[stored.run].run, &joined, None);
                }
                Fate::Keep | Fate::Remove(_) | Fate::Join(..) => {
                    row.add(runs[stored.run].run, &event, Some(&stored.record))
                }
                Fate::Drop => {}
            }
            if has_payload && matches!(fate, Fate::Remove(_) | Fate::Drop) {
                row.removed.push(event);
            }
        }
        Ok(is_changed.then_some(row))
    }

    /// Adds an event, with its record if that stays as it is.
    fn add(&mut self, run: i64, event: &Event, record: Option<&[u8]>) {
        let bytes = |n: usize| u32::try_from(n).unwrap_or_else(|_| unreachable!("a row is smaller than 4 GiB"));
        let start = self.data.len();
        match record {
            Some(record) => record::append_encoded(record, &mut self.data),
            None => record::append_entry(event, &mut self.data),
        }
        let (start, length) = (bytes(start), bytes(self.data.len() - start));
        let sensitive = event.payload.is_sensitive();
        self.count += 1;
        self.sensitive |= sensitive;
        match self.spans.last_mut() {
            Some((of_run, span)) if *of_run == run && span.last() + 1 == event.seq => {
                span.count += 1;
                span.length += length;
                span.sensitive |= sensitive;
            }
            _ => {
                let span = RunSpan { seq: event.seq, count: 1, row: self.pos, start, length, sensitive };
                self.spans.push((run, span));
            }
        }
    }
}
