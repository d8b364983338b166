//! How events lie next to each other in their stored form: in rows in feed order, each run's neighbours together. What a
//! commit tells is cut out of it without copying, and the SQLite store keeps the rows as they are.

use bytes::Bytes;
use foldhash::HashMap;

use crate::codec::{Chunk, record};
use crate::domain::{Event, RunId, RunStatus};

use crate::store::{Commit, RunCommit, ScopeEnd};

/// Bytes of records after which a row is closed. A page of one run among a thousand others reads rows of which it uses a
/// part, so rows are kept small; a larger event has a row of its own.
const ROW_BYTES: usize = 32 << 10;

/// What the buffer of a row begins with: the first one may be the only one and small, those after it are full.
const FIRST_BUFFER_BYTES: usize = 4 << 10;
const NEXT_BUFFER_BYTES: usize = ROW_BYTES + (4 << 10);

/// Events that follow each other in the feed.
pub struct LogRowParts {
    /// Position of its first event.
    pub pos: u64,
    /// Events.
    pub count: u32,
    /// Whether the public view may leave something out.
    pub sensitive: bool,
    /// The records.
    pub data: Bytes,
}

impl LogRowParts {
    fn chunk(&self) -> Chunk {
        Chunk { first: self.pos, count: self.count, sensitive: self.sensitive, data: self.data.clone() }
    }
}

/// Where neighbouring events of one run lie in the rows. They were stored in one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSpan {
    /// Seq of the first.
    pub seq: u64,
    /// How many; at least 1.
    pub count: u32,
    /// `pos` of the row.
    pub row: u64,
    /// First byte in the row's data.
    pub start: u32,
    /// Bytes.
    pub length: u32,
    /// Whether the public view may leave something out.
    pub sensitive: bool,
}

impl RunSpan {
    /// Seq of the last event.
    pub fn last(&self) -> u64 {
        self.seq + u64::from(self.count) - 1
    }

    /// The chunk that these bytes make.
    pub fn chunk(&self, data: Bytes) -> Chunk {
        Chunk { first: self.seq, count: self.count, sensitive: self.sensitive, data }
    }
}

/// Lays events out in rows.
pub struct RowBuilder {
    rows: Vec<LogRowParts>,
    entries: Vec<(i64, RunSpan)>,
    buffer: Vec<u8>,
    row_pos: u64,
    row_count: u32,
    row_sensitive: bool,
}

/// Events laid out.
pub struct EncodedCommit {
    /// In feed order.
    pub rows: Vec<LogRowParts>,
    /// By run's number, in feed order.
    pub entries: Vec<(i64, RunSpan)>,
}

impl RowBuilder {
    /// For events that follow `last_position` in the feed.
    pub fn after(last_position: u64) -> Self {
        let (rows, entries) = Default::default();
        let buffer = Vec::with_capacity(FIRST_BUFFER_BYTES);
        Self { rows, entries, buffer, row_pos: last_position + 1, row_count: 0, row_sensitive: false }
    }

    /// Adds the next event; returns the bytes that it takes.
    pub fn add(&mut self, run: i64, event: &Event) -> u32 {
        if self.row_count > 0 && self.buffer.len() + event.payload.as_str().len() > ROW_BYTES {
            self.close_row(Vec::with_capacity(NEXT_BUFFER_BYTES));
        }
        let start = self.buffer.len();
        record::append_entry(event, &mut self.buffer);
        let sensitive = event.payload.is_sensitive();
        let bytes = |n: usize| u32::try_from(n).unwrap_or_else(|_| unreachable!("a row is smaller than 4 GiB"));
        let length = bytes(self.buffer.len() - start);
        self.row_count += 1;
        self.row_sensitive |= sensitive;
        match self.entries.last_mut() {
            Some((of_run, entry)) if *of_run == run && entry.row == self.row_pos => {
                entry.count += 1;
                entry.length += length;
                entry.sensitive |= sensitive;
            }
            _ => {
                let (seq, row, start) = (event.seq, self.row_pos, bytes(start));
                self.entries.push((run, RunSpan { seq, count: 1, row, start, length, sensitive }));
            }
        }
        length
    }

    /// The next row begins in this buffer.
    fn close_row(&mut self, next: Vec<u8>) {
        let (pos, count) = (self.row_pos, self.row_count);
        let data = std::mem::replace(&mut self.buffer, next).into();
        self.rows.push(LogRowParts { pos, count, sensitive: self.row_sensitive, data });
        self.row_pos += u64::from(count);
        self.row_count = 0;
        self.row_sensitive = false;
    }

    /// All that was added.
    pub fn finish(mut self) -> EncodedCommit {
        if self.row_count > 0 {
            self.close_row(Vec::new());
        }
        EncodedCommit { rows: self.rows, entries: self.entries }
    }
}

impl EncodedCommit {
    /// What is told of these events. `run` gives each run's id and its status after the last of them.
    pub fn commit(&self, run: impl Fn(i64) -> (RunId, RunStatus)) -> Commit {
        let mut places: HashMap<i64, usize> = HashMap::default();
        let mut runs: Vec<RunCommit> = Vec::new();
        for (number, entry) in &self.entries {
            let place = *places.entry(*number).or_insert_with(|| {
                let (run_id, status) = run(*number);
                runs.push(RunCommit { run_id, chunks: Vec::new(), scope_end: ScopeEnd { last: 0, status } });
                runs.len() - 1
            });
            let row = &self.rows[self.rows.partition_point(|row| row.pos < entry.row)];
            let start = entry.start as usize;
            runs[place].chunks.push(entry.chunk(row.data.slice(start..start + entry.length as usize)));
            runs[place].scope_end.last = entry.last();
        }
        let feed: Vec<Chunk> = self.rows.iter().map(LogRowParts::chunk).collect();
        let last = feed.last().map_or(0, Chunk::last);
        Commit { runs, feed, feed_end: ScopeEnd { last, status: RunStatus::Unspecified } }
    }
}
