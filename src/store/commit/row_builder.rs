//! Encoding of events into log rows: rows are in feed order, neighbouring events of a run form a span. The chunks of an
//! announcement are slices of the rows without copies. The SQLite store stores the rows unchanged.

use bytes::Bytes;
use foldhash::HashMap;

use crate::codec::{Chunk, record};
use crate::domain::{Event, RunId, RunStatus};

use crate::store::project::position_of;
use crate::store::{Commit, ProjectNumber, RunCommit, ScopeEnd};

/// Maximum bytes of records in a row with several events. A page of one run reads every row with a span of the run, so
/// small rows limit the read amplification. A larger event gets a row without neighbours.
const ROW_BYTES: usize = 32 << 10;

/// Initial buffer capacities: the first row of a commit may be the only one and small, all later rows follow a full
/// row.
const FIRST_BUFFER_BYTES: usize = 4 << 10;
const NEXT_BUFFER_BYTES: usize = ROW_BYTES + (4 << 10);

/// A log row: consecutive events of a feed.
pub struct LogRowParts {
    /// Stored position of the first event.
    pub pos: u64,
    /// Number of events in the row.
    pub count: u32,
    /// Whether the public view of any event may differ from the stored event.
    pub sensitive: bool,
    /// The encoded records of the events.
    pub data: Bytes,
}

impl LogRowParts {
    fn project(&self) -> ProjectNumber {
        ProjectNumber::of_pos(self.pos)
    }

    fn chunk(&self) -> Chunk {
        Chunk { first: position_of(self.pos), count: self.count, sensitive: self.sensitive, data: self.data.clone() }
    }
}

/// Run span: the part of a log row with consecutive events of one run. All events of a span come from one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSpan {
    /// Seq of the first event.
    pub seq: u64,
    /// Number of events; at least 1.
    pub count: u32,
    /// Position (`pos`) of the row.
    pub row: u64,
    /// Byte offset in the data of the row.
    pub start: u32,
    /// Length in bytes.
    pub length: u32,
    /// Whether the public view of any event may differ from the stored event.
    pub sensitive: bool,
}

impl RunSpan {
    /// Seq of the last event.
    pub fn last(&self) -> u64 {
        self.seq + u64::from(self.count) - 1
    }

    /// Builds a chunk from the bytes of the span.
    pub fn chunk(&self, data: Bytes) -> Chunk {
        Chunk { first: self.seq, count: self.count, sensitive: self.sensitive, data }
    }
}

/// Builder of log rows.
pub struct RowBuilder<P> {
    last_pos: P,
    project: Option<ProjectNumber>,
    rows: Vec<LogRowParts>,
    entries: Vec<(i64, RunSpan)>,
    buffer: Vec<u8>,
    row_pos: u64,
    row_count: u32,
    row_sensitive: bool,
}

/// Log rows and run spans of one commit.
pub struct EncodedCommit {
    /// Log rows by project, in feed order.
    pub rows: Vec<LogRowParts>,
    /// Run spans with their run numbers, in the same order.
    pub entries: Vec<(i64, RunSpan)>,
}

impl<P: Fn(ProjectNumber) -> u64> RowBuilder<P> {
    /// The rows of each project follow the stored position that `last_pos` gives.
    pub fn after(last_pos: P) -> Self {
        let (rows, entries) = Default::default();
        let buffer = Vec::with_capacity(FIRST_BUFFER_BYTES);
        Self { last_pos, project: None, rows, entries, buffer, row_pos: 0, row_count: 0, row_sensitive: false }
    }

    /// Adds the next event and returns the length of the record in bytes. All events of a project are neighbours.
    pub fn add(&mut self, run: i64, event: &Event) -> u32 {
        let project = ProjectNumber::of_run(run);
        if self.project != Some(project) {
            if self.row_count > 0 {
                self.close_row(Vec::with_capacity(FIRST_BUFFER_BYTES));
            }
            (self.project, self.row_pos) = (Some(project), (self.last_pos)(project) + 1);
        }
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

    /// Closes the current row; `next` is the buffer of the following row.
    fn close_row(&mut self, next: Vec<u8>) {
        let (pos, count) = (self.row_pos, self.row_count);
        let data = std::mem::replace(&mut self.buffer, next).into();
        self.rows.push(LogRowParts { pos, count, sensitive: self.row_sensitive, data });
        self.row_pos += u64::from(count);
        self.row_count = 0;
        self.row_sensitive = false;
    }

    /// Closes the last row and returns all rows.
    pub fn finish(mut self) -> EncodedCommit {
        if self.row_count > 0 {
            self.close_row(Vec::new());
        }
        EncodedCommit { rows: self.rows, entries: self.entries }
    }
}

impl EncodedCommit {
    /// Builds the announcements, one for each project. `run` returns the id of a run and its status after the last event.
    pub fn commits(&self, run: impl Fn(i64) -> (RunId, RunStatus)) -> Vec<Commit> {
        let of_projects = self.rows.chunk_by(|one, other| one.project() == other.project());
        let mut entries = self.entries.chunk_by(|(one, _), (other, _)| project(*one) == project(*other));
        of_projects.map(|rows| commit(rows, entries.next().unwrap_or_default(), &run)).collect()
    }
}

fn project(run: i64) -> ProjectNumber {
    ProjectNumber::of_run(run)
}

/// The announcement of the rows of one project.
fn commit(rows: &[LogRowParts], entries: &[(i64, RunSpan)], run: impl Fn(i64) -> (RunId, RunStatus)) -> Commit {
    let mut indexes: HashMap<i64, usize> = HashMap::default();
    let mut runs: Vec<RunCommit> = Vec::new();
    for (number, entry) in entries {
        let index = *indexes.entry(*number).or_insert_with(|| {
            let (run_id, status) = run(*number);
            runs.push(RunCommit { run_id, chunks: Vec::new(), scope_end: ScopeEnd { last: 0, status } });
            runs.len() - 1
        });
        let row = &rows[rows.partition_point(|row| row.pos < entry.row)];
        let start = entry.start as usize;
        runs[index].chunks.push(entry.chunk(row.data.slice(start..start + entry.length as usize)));
        runs[index].scope_end.last = entry.last();
    }
    let feed: Vec<Chunk> = rows.iter().map(LogRowParts::chunk).collect();
    let last = feed.last().map_or(0, Chunk::last);
    let project = rows.first().map_or(ProjectNumber::DEFAULT, LogRowParts::project);
    Commit { project, runs, feed, feed_end: ScopeEnd { last, status: RunStatus::Unspecified } }
}
