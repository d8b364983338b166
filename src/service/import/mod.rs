//! Import of events from another store, unchanged. Events that are stored already are compared and kept.
//!
//! An interrupted import is repeated from the beginning: equal events at equal seqs count as present.

mod compare;
mod first_of_runs;
mod types;

use std::collections::{HashMap, VecDeque};

use crate::codec::record;
use crate::domain::{Error, Event, Result, RunId, Scope};
use crate::store::{Append, Condition, Import, Range, ReadFrom, Receipt, Recorded, SharedStore};

use compare::{as_new, differences, differences_of_runs};
pub use first_of_runs::FirstOfRuns;
pub use types::{ImportError, Imported, Imports, Refusal};

/// Most events in one append.
const MAX_APPEND_EVENTS: usize = 1_000;
/// Payload bytes after which an append takes no further event.
const MAX_APPEND_BYTES: usize = 1 << 20;
/// Most events in appends that are submitted and not durable yet.
const MAX_WINDOW_EVENTS: usize = 16_384;
/// Payload bytes in submitted appends after which the import waits before the next append.
const MAX_WINDOW_BYTES: usize = 16 << 20;
/// Most runs with import progress in memory.
const MAX_RUNS: usize = 100_000;
/// Most events in one read of stored events for comparison.
const MAX_READ_EVENTS: usize = 256;
/// Record bytes after which such a read ends.
const MAX_READ_BYTES: usize = 256 << 10;
/// Payload bytes of stored events in memory for comparison, of all runs; above this limit all are dropped and read again.
const MAX_AHEAD_BYTES: usize = 64 << 20;

/// An import under way. Accepts events in feed order.
pub struct Importer {
    store: SharedStore,
    import: Import,
    runs: HashMap<RunId, Progress>,
    /// Payload bytes in [`Progress::ahead`], of all runs.
    ahead_bytes: usize,
    next: Option<Batch>,
    window: VecDeque<(Receipt, Batch)>,
    window_events: usize,
    window_bytes: usize,
    done: Imports,
}

/// Progress of one run.
struct Progress {
    /// Seq of the first event that the store keeps; 1 for a new run.
    first_seq: u64,
    /// The last seq, including events that are not durable yet.
    last_seq: u64,
    /// The last seq that is durable, so that the store can be read up to here.
    stored_seq: u64,
    /// Stored events, read in advance for the next comparisons.
    ahead: VecDeque<Event>,
}

/// Events of one append: consecutive in the source and in one run.
struct Batch {
    line: u64,
    run_id: RunId,
    seq: u64,
    /// Whether the run begins with the append.
    is_first: bool,
    count: usize,
    bytes: usize,
    /// `None` once submitted.
    append: Option<Append>,
}

impl Batch {
    fn refused(&self, error: Error) -> ImportError {
        ImportError { line: self.line, run_id: self.run_id.clone(), seq: self.seq, cause: Refusal::Store(error) }
    }
}

impl Importer {
    /// Begins an import into this store.
    #[must_use]
    pub fn new(store: SharedStore) -> Self {
        let (import, runs, next, window, done) = Default::default();
        Self { store, import, runs, ahead_bytes: 0, next, window, window_events: 0, window_bytes: 0, done }
    }

    /// The result so far.
    #[must_use]
    pub fn done(&self) -> Imports {
        self.done
    }

    /// Adds the next event. The event is durable after [`finish`](Self::finish) at the latest.
    ///
    /// # Errors
    /// The event, or an earlier event, is not stored. The import has ended then; `finish` waits for appends under way.
    pub async fn add(&mut self, imported: Imported) -> Result<(), ImportError> {
        let (line, run_id, seq) = (imported.line, imported.event.run_id.clone(), imported.event.seq);
        let refused = |cause| ImportError { line, run_id: run_id.clone(), seq, cause };
        if !self.runs.contains_key(&run_id) {
            self.make_room().await?;
            let (first_seq, last_seq) =
                self.stored_seqs(&run_id).await.map_err(|error| refused(Refusal::Store(error)))?;
            let progress = Progress { first_seq, last_seq, stored_seq: last_seq, ahead: VecDeque::new() };
            self.runs.insert(run_id.clone(), progress);
        }
        let run = self.runs.get(&run_id);
        let (first_seq, last_seq, stored_seq) =
            run.map_or((1, 0, 0), |run| (run.first_seq, run.last_seq, run.stored_seq));
        // A run of the source that has lost its first events begins with the seq of the next one.
        let last_seq = if last_seq == 0 { imported.run_first_seq.map_or(0, |first| first - 1) } else { last_seq };
        if seq > last_seq + 1 || seq == 0 {
            return Err(refused(Refusal::Gap { last_seq }));
        }
        if seq < first_seq {
            // The store has removed the event, and an import does not bring it back.
            self.done.present += 1;
            self.done.runs += u64::from(imported.is_first_of_run());
            return Ok(());
        }
        if seq <= last_seq {
            if seq > stored_seq {
                self.settle().await?;
            }
            let cause = self.compare(&imported).await.map_err(|error| refused(Refusal::Store(error)))?;
            if let Some(cause) = cause {
                return Err(refused(cause));
            }
            self.done.present += 1;
            self.done.runs += u64::from(imported.is_first_of_run());
            return Ok(());
        }
        if let Some(run) = self.runs.get_mut(&run_id) {
            run.last_seq = seq;
        }
        self.take(imported).await
    }

    /// Returns when all added events are durable.
    ///
    /// # Errors
    /// An event is not stored, nor are later events.
    pub async fn finish(&mut self) -> Result<Imports, ImportError> {
        self.settle().await?;
        Ok(self.done)
    }

    /// Closes the store and releases its lock.
    pub async fn close(self) {
        self.store.close().await;
    }

    /// First and last seq of the run in the store; 1 and 0 for a new run.
    async fn stored_seqs(&self, run_id: &RunId) -> Result<(u64, u64)> {
        let scope = Scope::Run(run_id.clone());
        match self.store.extent(&scope).await {
            Ok(extent) => Ok((extent.first, extent.end.last)),
            Err(Error::RunNotFound { .. }) => Ok((1, 0)),
            Err(error) => Err(error),
        }
    }

    async fn make_room(&mut self) -> Result<(), ImportError> {
        if self.runs.len() >= MAX_RUNS {
            self.settle().await?;
            self.runs.clear();
            self.ahead_bytes = 0;
        }
        Ok(())
    }

    /// Adds a new event to the next append. A full append, or an append of another run, is submitted first.
    async fn take(&mut self, imported: Imported) -> Result<(), ImportError> {
        let is_first = imported.is_first_of_run();
        let Imported { line, event, run_first_seq, run_agent_name, structure_id } = imported;
        let has_room = |batch: &Batch| {
            batch.run_id == event.run_id && batch.count < MAX_APPEND_EVENTS && batch.bytes < MAX_APPEND_BYTES
        };
        if !self.next.as_ref().is_some_and(has_room) {
            self.send().await?;
        }
        let batch = self.next.get_or_insert_with(|| Batch {
            line,
            run_id: event.run_id.clone(),
            seq: event.seq,
            is_first,
            count: 0,
            bytes: 0,
            append: Some(Append {
                condition: Some(Condition::LastSeq(if is_first { 0 } else { event.seq - 1 })),
                agent_name: run_agent_name.filter(|_| is_first),
                structure_id: structure_id.filter(|_| is_first),
                recorded: Some(Box::new(Recorded {
                    at: Vec::new(),
                    import: self.import.clone(),
                    first_seq: run_first_seq,
                })),
                ..Append::new(event.run_id.clone(), Vec::new())
            }),
        });
        batch.count += 1;
        batch.bytes += event.payload.as_str().len();
        if let Some(append) = &mut batch.append {
            append.recorded.iter_mut().for_each(|recorded| recorded.at.push(event.recorded_at));
            append.events.push(as_new(event));
        }
        Ok(())
    }

    /// Submits the next append, and waits while too many appends are under way.
    async fn send(&mut self) -> Result<(), ImportError> {
        let Some(mut batch) = self.next.take() else { return Ok(()) };
        let Some(append) = batch.append.take() else { return Ok(()) };
        let receipt = self.store.submit(append).await.map_err(|error| batch.refused(error))?;
        self.window_events += batch.count;
        self.window_bytes += batch.bytes;
        self.window.push_back((receipt, batch));
        while self.window_events > MAX_WINDOW_EVENTS || self.window_bytes > MAX_WINDOW_BYTES {
            self.receive().await?;
        }
        Ok(())
    }

    /// Waits for the oldest submitted append.
    async fn receive(&mut self) -> Result<(), ImportError> {
        let Some((receipt, batch)) = self.window.pop_front() else { return Ok(()) };
        self.window_events -= batch.count;
        self.window_bytes -= batch.bytes;
        receipt.stored().await.map_err(|error| batch.refused(error))?;
        self.done.stored += batch.count as u64;
        self.done.runs += u64::from(batch.is_first);
        Ok(())
    }

    /// Submits the next append and waits for all appends.
    async fn settle(&mut self) -> Result<(), ImportError> {
        self.send().await?;
        while !self.window.is_empty() {
            self.receive().await?;
        }
        for run in self.runs.values_mut() {
            run.stored_seq = run.last_seq;
        }
        Ok(())
    }

    /// Compares the stored event at the same seq with this event; `None` if both are equal.
    async fn compare(&mut self, imported: &Imported) -> Result<Option<Refusal>> {
        let event = &imported.event;
        let mut fields = differences(&self.stored(&event.run_id, event.seq).await?, event);
        if imported.is_first_of_run() && fields.is_empty() {
            fields = differences_of_runs(&self.store.run(&event.run_id).await?, imported);
        }
        Ok((!fields.is_empty()).then_some(Refusal::Differs { fields }))
    }

    /// The stored event at this seq.
    async fn stored(&mut self, run_id: &RunId, seq: u64) -> Result<Event> {
        let run = self.runs.get_mut(run_id).ok_or_else(|| Error::internal("an import lost the state of a run"))?;
        if run.ahead.front().is_none_or(|event| event.seq != seq) {
            self.ahead_bytes -= run.ahead.drain(..).map(|event| event.payload.as_str().len()).sum::<usize>();
            if self.ahead_bytes > MAX_AHEAD_BYTES {
                self.runs.values_mut().for_each(|run| run.ahead.clear());
                self.ahead_bytes = 0;
            }
            let range =
                Range { from: ReadFrom::After(seq - 1), max_events: MAX_READ_EVENTS, max_bytes: MAX_READ_BYTES };
            let page = self.store.read(&Scope::Run(run_id.clone()), range).await?;
            let run = self.runs.get_mut(run_id).ok_or_else(|| Error::internal("an import lost the state of a run"))?;
            for chunk in page.chunks {
                for record in chunk.records() {
                    let event = record::decode(record?.1)?;
                    self.ahead_bytes += event.payload.as_str().len();
                    run.ahead.push_back(event);
                }
            }
        }
        let run = self.runs.get_mut(run_id).ok_or_else(|| Error::internal("an import lost the state of a run"))?;
        let event = run.ahead.pop_front().filter(|event| event.seq == seq).ok_or(Error::StoreDamaged)?;
        self.ahead_bytes -= event.payload.as_str().len();
        Ok(event)
    }
}
