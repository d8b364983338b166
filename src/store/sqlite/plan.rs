//! What one commit will write: which events are new, which seqs they get, what becomes of their runs. No I/O, so that a
//! bad request in a group fails alone and leaves no trace.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;

use crate::domain::event::Appended;
use crate::domain::projection::{self, Documents, Lifecycle};
use crate::domain::record;
use crate::domain::{Chunk, Error, Event, EventId, NewEvent, Published, Result, Run, RunId, RunStatus};
use crate::store::{Append, Commit, RunCommit, Tip};

use super::heads::{Head, Heads};
use super::ids;
use super::known::Known;
use super::tail::Entry;

/// Bytes of records after which a log row is closed. A page of one run among a thousand others reads rows of which it
/// uses a part, so rows are kept small; a larger event has a row of its own.
const ROW_BYTES: usize = 32 << 10;

/// The commit in the making.
pub struct Plan<'a> {
    heads: &'a Heads,
    known: &'a Known,
    lifecycle: Lifecycle,
    now: Timestamp,
    runs: Vec<PlannedRun>,
    by_id: HashMap<RunId, usize>,
    last_number: i64,
}

/// What the commit does to one run.
pub struct PlannedRun {
    /// The run after the commit.
    pub head: Head,
    /// What changes in its documents.
    pub documents: Documents,
    /// Whether its row has to be written: whether it changes in more than how far it goes.
    pub row_changes: bool,
    /// The new events.
    events: Vec<Event>,
    /// Producers' ids of the new events; the index is into `events`.
    producer_ids: HashMap<EventId, usize>,
}

/// A row of the log.
pub struct Row {
    /// Position of its first event.
    pub pos: u64,
    /// Events.
    pub count: u32,
    /// Whether the public view may leave something out.
    pub sensitive: bool,
    /// The records.
    pub data: Bytes,
}

/// What the commit writes, and what is told of it afterwards.
pub struct Writes {
    /// Rows of the log, in order.
    pub rows: Vec<Row>,
    /// Where each run's events lie in them.
    pub entries: Vec<(i64, Entry)>,
    /// Producers' ids, as (run, hash, seq).
    pub ids: Vec<(i64, i64, u64)>,
    /// The runs after the commit.
    pub runs: Vec<PlannedRun>,
    /// What the listener hears.
    pub commit: Commit,
}

impl<'a> Plan<'a> {
    /// An empty plan. `now` is the server's clock.
    pub fn new(heads: &'a Heads, known: &'a Known, lifecycle: Lifecycle, now: Timestamp) -> Self {
        let last_number = heads.last_number();
        Self { heads, known, lifecycle, now, runs: Vec::new(), by_id: HashMap::new(), last_number }
    }

    /// Plans one request, after those before it. On error the plan is as it was.
    pub fn add(&mut self, append: Append) -> Result<Appended> {
        let index = self.run_index(&append.run_id);
        let planned = &self.runs[index];
        let repeats = self.repeats(planned, &append)?;
        let is_new = |repeat: &Repeat| matches!(repeat, Repeat::No);
        if let Some(expected) = append.expected_last_seq
            && expected != planned.head.run.last_seq
            && repeats.iter().any(is_new)
        {
            let run_id = append.run_id.to_string();
            return Err(Error::SeqConflict { run_id, expected, actual: planned.head.run.last_seq });
        }
        let mut run = planned.head.run.clone();
        run.agent_name = run.agent_name.or(append.agent_name);
        run.structure_id = run.structure_id.or(append.structure_id);
        let mut documents = Documents::default();
        let mut published: Vec<Published> = Vec::with_capacity(append.events.len());
        let mut events = Vec::with_capacity(append.events.len());
        let mut producer_ids = Vec::new();
        for (new, repeat) in append.events.into_iter().zip(repeats) {
            let seq = match repeat {
                Repeat::Stored(seq) => seq,
                Repeat::OfRequest(earlier) => published[earlier].seq,
                Repeat::No => {
                    if let Some(event_id) = &new.event_id {
                        producer_ids.push((event_id.clone(), planned.events.len() + events.len()));
                    }
                    let event = self.number(planned.head.number, &run, new);
                    documents.merge(projection::apply(&mut run, &event, self.lifecycle)?);
                    published.push(Published { seq: event.seq, event_id: event.event_id.clone(), duplicate: false });
                    events.push(event);
                    continue;
                }
            };
            let event_id = new.event_id.unwrap_or_else(|| unreachable!("an event without an id repeats nothing"));
            published.push(Published { seq, event_id, duplicate: true });
        }
        let appended = Appended { events: published, status: run.status, last_seq: run.last_seq };
        let planned = &mut self.runs[index];
        planned.head.run = run;
        planned.documents.merge(documents);
        planned.events.extend(events);
        planned.producer_ids.extend(producer_ids);
        Ok(appended)
    }

    fn run_index(&mut self, run_id: &RunId) -> usize {
        if let Some(index) = self.by_id.get(run_id) {
            return *index;
        }
        let head = self.heads.get(run_id).cloned().unwrap_or_else(|| {
            self.last_number += 1;
            Head { number: self.last_number, run: Run::new(run_id.clone(), self.now) }
        });
        let (documents, events, producer_ids) = Default::default();
        self.runs.push(PlannedRun { head, documents, row_changes: false, events, producer_ids });
        self.by_id.insert(run_id.clone(), self.runs.len() - 1);
        self.runs.len() - 1
    }

    /// Finds out which events of the request are stored, planned, or in the request already.
    fn repeats(&self, planned: &PlannedRun, append: &Append) -> Result<Vec<Repeat>> {
        let mut in_request: HashMap<&EventId, usize> = HashMap::new();
        let mut repeats = Vec::with_capacity(append.events.len());
        for (index, new) in append.events.iter().enumerate() {
            let Some(event_id) = &new.event_id else {
                repeats.push(Repeat::No);
                continue;
            };
            let conflict =
                |seq| Error::EventIdConflict { run_id: append.run_id.to_string(), event_id: event_id.to_string(), seq };
            if let Some((seq, is_same)) = self.stored(planned, event_id, new) {
                if !is_same {
                    return Err(conflict(seq));
                }
                repeats.push(Repeat::Stored(seq));
            } else if let Some(earlier) = in_request.get(event_id) {
                if !same_content(&append.events[*earlier], new) {
                    let before = repeats[..*earlier].iter().filter(|repeat| matches!(repeat, Repeat::No)).count();
                    return Err(conflict(planned.head.run.last_seq + 1 + before as u64));
                }
                repeats.push(Repeat::OfRequest(*earlier));
            } else {
                in_request.insert(event_id, index);
                repeats.push(Repeat::No);
            }
        }
        Ok(repeats)
    }

    /// Where the event with this id lies, stored or planned, and whether `new` is the same.
    fn stored(&self, planned: &PlannedRun, event_id: &EventId, new: &NewEvent) -> Option<(u64, bool)> {
        if let Some(index) = planned.producer_ids.get(event_id) {
            let event = &planned.events[*index];
            return Some((event.seq, event.has_content_of(new)));
        }
        let stored = self.known.get(&(planned.head.number, event_id.clone()))?;
        Some((stored.seq, stored.has_content_of(new)))
    }

    fn number(&self, run_number: i64, run: &Run, new: NewEvent) -> Event {
        let seq = run.last_seq + 1;
        let recorded_at = self.now.max(run.updated_at);
        Event {
            run_id: run.run_id.clone(),
            seq,
            event_id: new.event_id.unwrap_or_else(|| ids::assigned(run_number, seq)),
            event_type: new.event_type,
            origin: new.origin,
            occurred_at: new.occurred_at.unwrap_or(recorded_at),
            recorded_at,
            agent_name: new.agent_name,
            payload: new.payload,
        }
    }

    /// Gives positions after `last_position` and lays the events out, each run's together; `None` when nothing is new.
    pub fn into_writes(self, last_position: u64) -> Option<Writes> {
        let mut runs = self.runs;
        runs.retain(|run| !run.events.is_empty());
        if runs.is_empty() {
            return None;
        }
        let mut layout = Layout::after(last_position);
        let mut ids = Vec::new();
        for run in &mut runs {
            let number = run.head.number;
            // Documents are read with the row, so the row tells how new they are.
            run.row_changes = !run.documents.is_empty()
                || self.heads.get(&run.head.run.run_id).is_none_or(|head| row_differs(&head.run, &run.head.run));
            for (event_id, index) in &run.producer_ids {
                ids.push((number, ids::hash(event_id), run.events[*index].seq));
            }
            for event in std::mem::take(&mut run.events) {
                layout.add(number, &event);
            }
        }
        let (rows, entries) = layout.finish();
        let commit = announcement(&rows, &entries, &runs);
        Some(Writes { rows, entries, ids, runs, commit })
    }
}

/// Whether two states of a run differ in more than how far it goes.
fn row_differs(before: &Run, after: &Run) -> bool {
    before.status != after.status
        || before.agent_name != after.agent_name
        || before.structure_id != after.structure_id
        || before.started_at != after.started_at
        || before.completed_at != after.completed_at
        || before.ended_by != after.ended_by
        || before.output_at != after.output_at
        || before.usage != after.usage
}

/// Whether an event of a request is there already.
enum Repeat {
    No,
    Stored(u64),
    OfRequest(usize),
}

fn same_content(a: &NewEvent, b: &NewEvent) -> bool {
    a.event_type == b.event_type && a.origin == b.origin && a.agent_name == b.agent_name && a.payload == b.payload
}

/// Lays events out in rows.
struct Layout {
    rows: Vec<Row>,
    entries: Vec<(i64, Entry)>,
    buffer: BytesMut,
    row_pos: u64,
    row_count: u32,
    row_sensitive: bool,
}

impl Layout {
    fn after(last_position: u64) -> Self {
        let (rows, entries, buffer) = Default::default();
        Self { rows, entries, buffer, row_pos: last_position + 1, row_count: 0, row_sensitive: false }
    }

    fn add(&mut self, run: i64, event: &Event) {
        if self.row_count > 0 && self.buffer.len() + event.payload.as_str().len() > ROW_BYTES {
            self.close_row();
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
                self.entries.push((run, Entry { seq, count: 1, row, start, length, sensitive }));
            }
        }
    }

    fn close_row(&mut self) {
        let (pos, count) = (self.row_pos, self.row_count);
        self.rows.push(Row { pos, count, sensitive: self.row_sensitive, data: self.buffer.split().freeze() });
        self.row_pos += u64::from(count);
        self.row_count = 0;
        self.row_sensitive = false;
    }

    fn finish(mut self) -> (Vec<Row>, Vec<(i64, Entry)>) {
        if self.row_count > 0 {
            self.close_row();
        }
        (self.rows, self.entries)
    }
}

fn announcement(rows: &[Row], entries: &[(i64, Entry)], runs: &[PlannedRun]) -> Commit {
    let chunk =
        |row: &Row| Chunk { first: row.pos, count: row.count, sensitive: row.sensitive, data: row.data.clone() };
    let last = rows.last().map_or(0, |row| chunk(row).last());
    let mut of_entries = entries.iter().peekable();
    let runs = runs.iter().map(|planned| {
        let mut chunks = Vec::new();
        while let Some((_, entry)) = of_entries.next_if(|(run, _)| *run == planned.head.number) {
            let row = rows.partition_point(|row| row.pos < entry.row);
            let start = entry.start as usize;
            chunks.push(entry.chunk(rows[row].data.slice(start..start + entry.length as usize)));
        }
        let run = &planned.head.run;
        RunCommit { run_id: run.run_id.clone(), chunks, tip: Tip { last: run.last_seq, status: run.status } }
    });
    Commit {
        runs: runs.collect(),
        feed: rows.iter().map(chunk).collect(),
        feed_tip: Tip { last, status: RunStatus::Unspecified },
    }
}
