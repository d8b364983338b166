//! Listing: pages of the events of a run or of all runs.

use bytes::Bytes;

use crate::domain::{Cursor, Error, EventFilter, Result, Scope};
use crate::store::{Range, ReadFrom};

use super::subscribe::filter::passes;
use super::{Service, epochs};

/// Most events that one listing examines, so that a filter with few matches cannot read the whole log in one call.
pub(super) const MAX_SCANNED_EVENTS: usize = 20_000;

/// Most record bytes that one listing examines, for the same reason.
const MAX_SCANNED_BYTES: usize = 64 << 20;

/// Events in one page if the request has no page size.
const DEFAULT_PAGE_SIZE: usize = 100;

/// A request for a page of events.
#[derive(Clone, Debug)]
pub struct ListEvents {
    /// One run, or the feed of all runs.
    pub scope: Scope,
    /// Exclusive; empty: the beginning, or the end when descending.
    pub cursor: String,
    /// Most events; 0: 100.
    pub page_size: usize,
    /// `true`: newest first.
    pub descending: bool,
    /// Filter by type and origin.
    pub filter: EventFilter,
    /// The [`epoch`](EventsPage::epoch) that came with the cursor; empty: not compared.
    pub epoch: String,
}

/// An event in the stored form.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    /// The record, encoded as described in [`crate::codec::record`].
    pub bytes: Bytes,
    /// Whether the public view may leave members out.
    pub sensitive: bool,
}

/// One page of events.
#[derive(Clone, Debug, Default)]
pub struct EventsPage {
    /// Events in the requested order. May be fewer than requested, even none, although more follow: the work of one call is
    /// limited.
    pub records: Vec<StoredRecord>,
    /// Cursor of the next page, also at the end, so that a reader can poll.
    pub next_cursor: String,
    /// Whether the scope had more events after the page at the time of the read.
    pub has_more: bool,
    /// The run's last seq; 0 over all runs.
    pub last_seq: u64,
    /// The epoch of the read, to send back with the cursor.
    pub epoch: String,
}

impl Service {
    /// Error for a reader that continues after `cursor`, before the first offset that is kept.
    pub(super) fn expired(&self, scope: &Scope, cursor: String, first: u64) -> Error {
        Error::CursorExpired { cursor, first: Cursor(first - 1).to_text(scope, &self.store.history()) }
    }

    /// Reads one page. Fails if the page size, the cursor or the epoch cannot be used, or the run does not exist.
    pub async fn list_events(&self, request: &ListEvents) -> Result<EventsPage> {
        self.caller.require_read(&request.scope)?;
        let page_size = self.page_size("page_size", request.page_size, DEFAULT_PAGE_SIZE)?;
        let generation = self.store.generation();
        let history = self.store.history();
        let cursor = Cursor::parse(&request.cursor, &request.scope, &history)?;
        if let Some(mark) = epochs::parse(&request.epoch)? {
            self.check_history(&request.scope, cursor.0, &mark).await?;
        }
        // The last examined offset; `None`: none yet, and the listing begins at the end of the scope.
        let starts_at_end = request.descending && request.cursor.is_empty();
        let starts_at_first = !request.descending && cursor.0 == 0;
        let mut examined = (!starts_at_end).then_some(cursor.0);
        let page_up_to = |records, next: u64, has_more, last_seq| {
            let next_cursor = Cursor(next).to_text(&request.scope, &history);
            EventsPage { records, next_cursor, has_more, last_seq, epoch: history.mark().to_string() }
        };
        let mut records = Vec::new();
        let (mut scanned, mut scanned_bytes, mut bytes) = (0, 0, 0);
        let mut newest = 0;
        loop {
            let from = match examined {
                None => ReadFrom::End,
                Some(offset) if request.descending => ReadFrom::Before(offset),
                Some(offset) => ReadFrom::After(offset),
            };
            let range = Range {
                from,
                max_events: (page_size - records.len()).max(if request.filter.passes_all() { 1 } else { 100 }),
                max_bytes: self.shared.options.max_page_bytes,
            };
            let page = match self.store.read(&request.scope, range).await {
                // Without a cursor the listing begins with the first event that is kept.
                Err(Error::EventsExpired { first }) if starts_at_first && newest == 0 => {
                    examined = Some(first - 1);
                    continue;
                }
                // Nothing older is kept, or what was read before goes out first.
                Err(Error::EventsExpired { .. }) if request.descending || newest > 0 => {
                    let last_seq = match &request.scope {
                        Scope::Run(_) => self.store.extent(&request.scope).await?.end.last,
                        Scope::Feed => 0,
                    };
                    return Ok(page_up_to(records, examined.unwrap_or_default(), !request.descending, last_seq));
                }
                Err(Error::EventsExpired { first }) => {
                    let at = Cursor(examined.unwrap_or_default()).to_text(&request.scope, &history);
                    return Err(self.expired(&request.scope, at, first));
                }
                page => page?,
            };
            if self.store.generation() != generation {
                // The events may be from both histories.
                return Err(Error::StoreUnavailable);
            }
            let end = Cursor(page.scope_end.last);
            if !starts_at_end && cursor > end {
                let end = end.to_text(&request.scope, &history);
                return Err(Error::CursorBeyondEnd { cursor: request.cursor.clone(), end });
            }
            let read_nothing = page.chunks.is_empty();
            let mut full = false;
            for chunk in page.chunks {
                let mut of_chunk = chunk.records().collect::<Result<Vec<_>>>()?;
                if request.descending {
                    of_chunk.reverse();
                }
                for (offset, record) in of_chunk {
                    full = records.len() >= page_size || (bytes > 0 && bytes + record.len() > range.max_bytes);
                    if full {
                        break;
                    }
                    examined = Some(offset);
                    newest = newest.max(offset);
                    scanned += 1;
                    scanned_bytes += record.len();
                    if passes(&request.filter, &record)? {
                        bytes += record.len();
                        records.push(StoredRecord { bytes: record, sensitive: chunk.sensitive });
                    }
                }
                if full {
                    break;
                }
            }
            let is_last =
                |offset| if request.descending { offset <= page.first } else { offset >= page.scope_end.last };
            let at_end = examined.is_some_and(is_last);
            full |= records.len() >= page_size;
            let enough = scanned >= MAX_SCANNED_EVENTS || scanned_bytes >= MAX_SCANNED_BYTES;
            if full || at_end || read_nothing || enough {
                // In an empty scope there is nothing to examine: continue from its end, which is 0.
                let next = examined.unwrap_or(page.scope_end.last);
                // The end of the scope was read before the events, so the page may have later events.
                let last_seq = if matches!(request.scope, Scope::Run(_)) { page.scope_end.last.max(newest) } else { 0 };
                return Ok(page_up_to(records, next, !at_end && !read_nothing, last_seq));
            }
        }
    }
}
