//! What one commit will write: which events are new, which seqs they get, what becomes of their runs. No I/O, so that a
//! bad request in a group fails alone and leaves no trace.

use std::collections::HashMap;

use jiff::{Timestamp, Unit};

use crate::domain::event::Appended;
use crate::domain::projection::{self, Documents, Lifecycle};
use crate::domain::{Error, Event, EventId, NewEvent, Published, Result, Run, RunId, RunStatus};

use super::layout::{Laid, Layout};
use super::{Append, Commit, ids};

/// A run as the writer knows it. Its documents are not loaded.
#[derive(Clone, Debug)]
pub struct Head {
    /// Number of the run in the store.
    pub number: i64,
    /// The run up to its last committed event.
    pub run: Run,
}

/// Stored events by run and id: what repeats are compared with.
pub type Known = HashMap<(i64, EventId), Stored>;

/// A stored event under an id that an append carries.
pub struct Stored {
    /// Its place in the run.
    pub seq: u64,
    /// None: its payload is as long as no payload that came with the id, so it is another event for sure. It is not kept
    /// then: a request of small events must not be able to call 1,000 large ones into memory.
    pub event: Option<Event>,
}

impl Stored {
    /// Whether `new` is the same event sent again.
    pub fn has_content_of(&self, new: &NewEvent) -> bool {
        self.event.as_ref().is_some_and(|event| event.content() == new.content())
    }
}

/// The commit in the making. `head` gives a run as it is stored, or a new one with a number of its own.
pub struct Plan<'a, H> {
    head: H,
    known: &'a Known,
    lifecycle: Lifecycle,
    now: Timestamp,
    runs: Vec<PlannedRun>,
    by_id: HashMap<RunId, usize>,
}

/// What the commit does to one run.
pub struct PlannedRun {
    /// The run after the commit.
    pub head: Head,
    /// What changes in its documents.
    pub documents: Documents,
    /// The new events.
    pub events: Vec<PlannedEvent>,
    /// Producers' ids of the new events; the index is into `events`.
    pub producer_ids: HashMap<EventId, usize>,
}

/// A new event.
pub struct PlannedEvent {
    /// The event.
    pub event: Event,
    /// The run's status after it.
    pub status: RunStatus,
}

/// The clock of a commit.
pub fn now() -> Timestamp {
    Timestamp::now().round(Unit::Microsecond).unwrap_or_else(|_| Timestamp::now())
}

/// Lays the events of a commit out, each run's together.
pub fn lay_out(runs: &[PlannedRun], last_position: u64) -> Laid {
    let mut layout = Layout::after(last_position);
    for run in runs {
        for planned in &run.events {
            layout.add(run.head.number, &planned.event);
        }
    }
    layout.finish()
}

/// What is told of a commit.
pub fn announcement(laid: &Laid, runs: &[PlannedRun]) -> Commit {
    let by_number: HashMap<i64, &Run> = runs.iter().map(|planned| (planned.head.number, &planned.head.run)).collect();
    laid.commit(|number| (by_number[&number].run_id.clone(), by_number[&number].status))
}

impl<'a, H: FnMut(&RunId) -> Head> Plan<'a, H> {
    /// An empty plan. `now` is the server's clock.
    pub fn new(head: H, known: &'a Known, lifecycle: Lifecycle, now: Timestamp) -> Self {
        Self { head, known, lifecycle, now, runs: Vec::new(), by_id: HashMap::new() }
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
                    events.push(PlannedEvent { event, status: run.status });
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
        let head = (self.head)(run_id);
        let (documents, events, producer_ids) = Default::default();
        self.runs.push(PlannedRun { head, documents, events, producer_ids });
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
                if append.events[*earlier].content() != new.content() {
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
            let event = &planned.events[*index].event;
            return Some((event.seq, event.content() == new.content()));
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

    /// The runs that get new events; none when nothing is new.
    pub fn finish(self) -> Vec<PlannedRun> {
        let mut runs = self.runs;
        runs.retain(|run| !run.events.is_empty());
        runs
    }
}

/// Whether an event of a request is there already.
enum Repeat {
    No,
    Stored(u64),
    OfRequest(usize),
}
