//! Importing: events that another store recorded, stored as they are. What is there already is compared and left.
//!
//! An import that was interrupted is run again from its beginning: the same events at the same places are no news.

use std::collections::{HashMap, VecDeque};

use crate::codec::record;
use crate::domain::{AgentName, Error, Event, NewEvent, Result, Run, RunId, Scope, StructureId};
use crate::store::{Append, Condition, Import, Range, Receipt, Recorded, SharedStore};

/// Most events of one append.
const MAX_APPEND_EVENTS: usize = 1_000;
/// Payload bytes after which an append takes no further event.
const MAX_APPEND_BYTES: usize = 1 << 20;
/// Most events that are on their way to the disk.
const MAX_WINDOW_EVENTS: usize = 16_384;
/// Payload bytes on their way after which no further append is sent.
const MAX_WINDOW_BYTES: usize = 16 << 20;
/// Most runs that are kept in mind.
const MAX_RUNS: usize = 100_000;
/// Events of a run that are read at once to be compared.
const MAX_READ_EVENTS: usize = 256;
/// Record bytes of a run that are read at once to be compared.
const MAX_READ_BYTES: usize = 256 << 10;
/// Payload bytes that were read and are not compared yet after which they are forgotten.
const MAX_AHEAD_BYTES: usize = 64 << 20;

/// An event as another store has it.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Its number in the source, from 1: what a refusal names.
    pub line: u64,
    /// The event.
    pub event: Event,
    /// The agent of its run, where the run has one; used with the first event of a run.
    pub run_agent_name: Option<AgentName>,
    /// The structure of its run, where the run has one; used with the first event of a run.
    pub structure_id: Option<StructureId>,
}

/// Why an import ended. What came before the event is stored, nothing behind it is; with `OutcomeUnknown` it and events behind
/// it may be.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: run {run_id:?}, seq {seq}: {cause}")]
pub struct ImportError {
    /// The event's number in the source. Where the store refused several events together, the first of them.
    pub line: u64,
    /// Its run.
    pub run_id: RunId,
    /// Its place there.
    pub seq: u64,
    /// What is wrong.
    pub cause: Refusal,
}

/// What is wrong with an event.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Events between it and the last one are missing.
    #[error("does not follow: the run ends at seq {last_seq}; import what lies between first")]
    Gap {
        /// The last seq of the run.
        last_seq: u64,
    },
    /// Another event lies there.
    #[error("another event is stored there: {} differs", .fields.join(", "))]
    Differs {
        /// What differs, by the names of the wire.
        fields: Vec<&'static str>,
    },
    /// The store did not take it.
    #[error("{0}")]
    Store(Error),
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imports {
    /// Events that are durable and were not there before.
    pub stored: u64,
    /// Events that were there.
    pub present: u64,
    /// Runs whose first event was met.
    pub runs: u64,
}

/// Takes events in the order of their feed.
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

/// How far a run is.
struct Progress {
    /// The last seq, with what is on its way.
    last_seq: u64,
    /// Up to here the store can be read.
    stored_seq: u64,
    /// Stored events that come next to be compared.
    ahead: VecDeque<Event>,
}

/// Events of one append: neighbours in the source and in their run.
struct Batch {
    line: u64,
    run_id: RunId,
    seq: u64,
    count: usize,
    bytes: usize,
    /// Taken out when it is sent.
    append: Option<Append>,
}

impl Batch {
    fn refused(&self, error: Error) -> ImportError {
        ImportError { line: self.line, run_id: self.run_id.clone(), seq: self.seq, cause: Refusal::Store(error) }
    }
}

impl Importer {
    /// An import into this store.
    #[must_use]
    pub fn new(store: SharedStore) -> Self {
        let (import, runs, next, window, done) = Default::default();
        Self { store, import, runs, ahead_bytes: 0, next, window, window_events: 0, window_bytes: 0, done }
    }

    /// What is done so far.
    #[must_use]
    pub fn done(&self) -> Imports {
        self.done
    }

    /// Takes the next event. It is durable after [`finish`](Self::finish) at the latest.
    ///
    /// # Errors
    /// It, or one before it, is not stored. The import has ended then; `finish` stores what is still on its way.
    pub async fn add(&mut self, imported: Imported) -> Result<(), ImportError> {
        let (line, run_id, seq) = (imported.line, imported.event.run_id.clone(), imported.event.seq);
        let refused = |cause| ImportError { line, run_id: run_id.clone(), seq, cause };
        if !self.runs.contains_key(&run_id) {
            self.make_room().await?;
            let last_seq = self.last_seq(&run_id).await.map_err(|error| refused(Refusal::Store(error)))?;
            self.runs.insert(run_id.clone(), Progress { last_seq, stored_seq: last_seq, ahead: VecDeque::new() });
        }
        let (last_seq, stored_seq) = self.runs.get(&run_id).map_or((0, 0), |run| (run.last_seq, run.stored_seq));
        if seq > last_seq + 1 || seq == 0 {
            return Err(refused(Refusal::Gap { last_seq }));
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
            self.done.runs += u64::from(seq == 1);
            return Ok(());
        }
        if let Some(run) = self.runs.get_mut(&run_id) {
            run.last_seq = seq;
        }
        self.take(imported).await
    }

    /// Returns when all that was taken is durable.
    ///
    /// # Errors
    /// Something is not stored, nor is what came behind it.
    pub async fn finish(&mut self) -> Result<Imports, ImportError> {
        self.settle().await?;
        Ok(self.done)
    }

    /// Releases the store.
    pub async fn close(self) {
        self.store.close().await;
    }

    async fn last_seq(&self, run_id: &RunId) -> Result<u64> {
        match self.store.scope_end(&Scope::Run(run_id.clone())).await {
            Ok(scope_end) => Ok(scope_end.last),
            Err(Error::RunNotFound { .. }) => Ok(0),
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

    /// Puts a new event behind the others of its run, or sends those and begins anew.
    async fn take(&mut self, imported: Imported) -> Result<(), ImportError> {
        let Imported { line, event, run_agent_name, structure_id } = imported;
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
            count: 0,
            bytes: 0,
            append: Some(Append {
                run_id: event.run_id.clone(),
                events: Vec::new(),
                condition: Some(Condition::LastSeq(event.seq - 1)),
                agent_name: run_agent_name.filter(|_| event.seq == 1),
                structure_id: structure_id.filter(|_| event.seq == 1),
                recorded: Some(Recorded { at: Vec::new(), import: self.import.clone() }),
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

    /// Sends what was put together, and waits where much is on its way.
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

    /// Waits for the oldest on its way.
    async fn receive(&mut self) -> Result<(), ImportError> {
        let Some((receipt, batch)) = self.window.pop_front() else { return Ok(()) };
        self.window_events -= batch.count;
        self.window_bytes -= batch.bytes;
        receipt.stored().await.map_err(|error| batch.refused(error))?;
        self.done.stored += batch.count as u64;
        self.done.runs += u64::from(batch.seq == 1);
        Ok(())
    }

    /// Sends all and waits for all.
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

    /// What distinguishes a stored event from this one at its place.
    async fn compare(&mut self, imported: &Imported) -> Result<Option<Refusal>> {
        let event = &imported.event;
        let mut fields = differences(&self.stored(&event.run_id, event.seq).await?, event);
        if event.seq == 1 && fields.is_empty() {
            fields = differences_of_runs(&self.store.run(&event.run_id).await?, imported);
        }
        Ok((!fields.is_empty()).then_some(Refusal::Differs { fields }))
    }

    /// The stored event at this place.
    async fn stored(&mut self, run_id: &RunId, seq: u64) -> Result<Event> {
        let run = self.runs.get_mut(run_id).ok_or(Error::Internal)?;
        if run.ahead.front().is_none_or(|event| event.seq != seq) {
            self.ahead_bytes -= run.ahead.drain(..).map(|event| event.payload.as_str().len()).sum::<usize>();
            if self.ahead_bytes > MAX_AHEAD_BYTES {
                self.runs.values_mut().for_each(|run| run.ahead.clear());
                self.ahead_bytes = 0;
            }
            let range =
                Range { from: seq - 1, descending: false, max_events: MAX_READ_EVENTS, max_bytes: MAX_READ_BYTES };
            let page = self.store.read(&Scope::Run(run_id.clone()), range).await?;
            let run = self.runs.get_mut(run_id).ok_or(Error::Internal)?;
            for chunk in page.chunks {
                for record in chunk.records() {
                    let event = record::decode(record?.1)?;
                    self.ahead_bytes += event.payload.as_str().len();
                    run.ahead.push_back(event);
                }
            }
        }
        let run = self.runs.get_mut(run_id).ok_or(Error::Internal)?;
        let event = run.ahead.pop_front().filter(|event| event.seq == seq).ok_or(Error::StoreDamaged)?;
        self.ahead_bytes -= event.payload.as_str().len();
        Ok(event)
    }
}

fn as_new(event: Event) -> NewEvent {
    NewEvent {
        event_id: Some(event.event_id),
        event_type: event.event_type,
        origin: event.origin,
        occurred_at: Some(event.occurred_at),
        sent_seconds: event.sent_seconds,
        agent_name: event.agent_name,
        payload: event.payload,
    }
}

fn differences(stored: &Event, event: &Event) -> Vec<&'static str> {
    let fields = [
        ("event_id", stored.event_id != event.event_id),
        ("type", stored.event_type != event.event_type),
        ("origin", stored.origin != event.origin),
        ("agent_name", stored.agent_name != event.agent_name),
        ("occurred_at", stored.occurred_at != event.occurred_at),
        ("sent_seconds", stored.sent_seconds.map(f64::to_bits) != event.sent_seconds.map(f64::to_bits)),
        ("recorded_at", stored.recorded_at != event.recorded_at),
        ("payload", stored.payload.as_str() != event.payload.as_str()),
    ];
    fields.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

/// A run that has no agent yet may get one from an event that follows.
fn differences_of_runs(run: &Run, imported: &Imported) -> Vec<&'static str> {
    let agent_differs = run.agent_name.is_some() && run.agent_name != imported.run_agent_name;
    let fields = [("run_agent_name", agent_differs), ("structure_id", run.structure_id != imported.structure_id)];
    fields.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}
