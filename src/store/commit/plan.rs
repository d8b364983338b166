//! What one commit will write: which events are new, which seqs they get, what becomes of their runs. No I/O, so that a
//! bad request in a group fails alone and leaves no trace.

use foldhash::HashMap;
use jiff::{Timestamp, Unit};

use crate::domain::event::{Appended, ContentDigest};
use crate::domain::projection::Lifecycle;
use crate::domain::{Error, EventId, NewEvent, Result, Run, RunId};

use super::row_builder::{EncodedCommit, RowBuilder};
use super::run_plan::Novelty;
pub use super::run_plan::{PlannedEvent, PlannedRun};
use crate::store::{Append, Commit, Recorded};

/// A run as the writer knows it. Its documents are not loaded.
#[derive(Clone, Debug)]
pub struct RunState {
    /// Number of the run in the store.
    pub number: i64,
    /// The run up to its last event that is committed, or planned.
    pub run: Run,
}

/// Stored events by run and id: what repeats are compared with.
pub type ExistingEvents = HashMap<(i64, EventId), ExistingEvent>;

/// A stored event under an id that an append carries.
pub struct ExistingEvent {
    /// Its place in the run.
    pub seq: u64,
    /// None: its payload is far longer than those that came with the id, so it is taken for another event and not read: a
    /// request of small events must not be able to have 1,000 large ones parsed.
    pub content: Option<ContentDigest>,
}

/// How long a stored payload may be to be compared with one of this length. No encoder writes the same JSON so differently.
pub fn longest_to_compare(sent_bytes: usize) -> usize {
    const TIMES: usize = 64;
    const AT_LEAST_BYTES: usize = 64 << 10;
    sent_bytes.saturating_mul(TIMES).saturating_add(AT_LEAST_BYTES)
}

impl ExistingEvent {
    /// Whether `new` is the same event sent again.
    pub fn has_content_of(&self, new: &NewEvent) -> bool {
        self.content.is_some_and(|content| content == new.content().digest())
    }
}

/// The commit in the making. `head` gives a run as it is stored, or a new one with a number of its own.
pub struct Plan<'a, H> {
    head: H,
    known: &'a ExistingEvents,
    lifecycle: Lifecycle,
    now: Timestamp,
    runs: Vec<PlannedRun>,
    by_id: HashMap<RunId, usize>,
    /// The highest [`PlannedEvent::place`].
    last_place: usize,
}

/// The clock of a commit.
pub fn now() -> Timestamp {
    Timestamp::now().round(Unit::Microsecond).unwrap_or_else(|_| Timestamp::now())
}

/// The events of a commit in their order in the feed: each run's together, except for imports, which keep theirs.
pub fn in_feed_order(runs: &[PlannedRun]) -> Vec<(&PlannedRun, &PlannedEvent)> {
    let mut events: Vec<_> = runs.iter().flat_map(|run| run.events.iter().map(move |event| (run, event))).collect();
    // In one pass where no import took part: they are in order then.
    events.sort_by_key(|(_, event)| event.place);
    events
}

/// Lays the events of a commit out.
pub fn encode(runs: &[PlannedRun], last_position: u64) -> EncodedCommit {
    let mut layout = RowBuilder::after(last_position);
    for (run, planned) in in_feed_order(runs) {
        layout.add(run.head.number, &planned.event);
    }
    layout.finish()
}

/// What is told of a commit.
pub fn announcement(laid: &EncodedCommit, runs: &[PlannedRun]) -> Commit {
    let by_number: HashMap<i64, &Run> = runs.iter().map(|planned| (planned.head.number, &planned.head.run)).collect();
    laid.commit(|number| (by_number[&number].run_id.clone(), by_number[&number].status))
}

impl<'a, H: FnMut(&RunId) -> RunState> Plan<'a, H> {
    /// An empty plan. `now` is the server's clock.
    pub fn new(head: H, known: &'a ExistingEvents, lifecycle: Lifecycle, now: Timestamp) -> Self {
        Self { head, known, lifecycle, now, runs: Vec::new(), by_id: HashMap::default(), last_place: 0 }
    }

    /// Plans one request, after those before it. On error the plan is as it was.
    pub fn add(&mut self, append: Append) -> Result<Appended> {
        let Some(import) = append.import().cloned() else { return self.add_next(append) };
        match import.failure() {
            Some(error) => Err(error),
            // Before the next one is planned: it may be of the same import.
            None => self.add_next(append).inspect_err(|error| import.fail(error)),
        }
    }

    fn add_next(&mut self, append: Append) -> Result<Appended> {
        let index = self.run_index(&append.run_id);
        let planned = &self.runs[index];
        let repeats = self.repeats(planned, &append)?;
        if let Some(recorded) = &append.recorded {
            check_recorded(&planned.head.run, &append, recorded, &repeats)?;
        }
        let is_new = |repeat: &Novelty| matches!(repeat, Novelty::New);
        if let Some(condition) = append.condition
            && repeats.iter().any(is_new)
        {
            condition.check(&planned.head.run)?;
        }
        let is_import = append.recorded.is_some();
        let lifecycle = if is_import { Lifecycle::Record } else { self.lifecycle };
        let place = match planned.events.last() {
            Some(before) if !is_import => before.place,
            _ => self.last_place + 1,
        };
        // Only a strict lifecycle refuses an event that came this far.
        let before = (lifecycle == Lifecycle::Strict).then(|| planned.undo());
        let appended = self.runs[index].extend(append, repeats, (lifecycle, self.now, place));
        match (&appended, before) {
            (Ok(_), _) => self.last_place = self.last_place.max(place),
            (Err(_), Some(before)) => self.runs[index].restore(before),
            (Err(error), None) => unreachable!("a lifecycle that records refuses nothing: {error}"),
        }
        appended
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
    fn repeats(&self, planned: &PlannedRun, append: &Append) -> Result<Vec<Novelty>> {
        let mut in_request: HashMap<&EventId, usize> = HashMap::default();
        let mut repeats = Vec::with_capacity(append.events.len());
        for (index, new) in append.events.iter().enumerate() {
            let Some(event_id) = &new.event_id else {
                repeats.push(Novelty::New);
                continue;
            };
            let conflict = |seq| Error::EventIdConflict {
                run_id: append.run_id.to_string(),
                event_id: event_id.to_string(),
                seq,
                index: Some(index),
            };
            if let Some((seq, is_same)) = self.stored(planned, event_id, new) {
                if !is_same {
                    return Err(conflict(seq));
                }
                repeats.push(Novelty::Duplicate(seq));
            } else if let Some(earlier) = in_request.get(event_id) {
                if append.events[*earlier].content() != new.content() {
                    let event_id = event_id.to_string();
                    return Err(Error::EventIdTwice { event_id, index });
                }
                repeats.push(Novelty::InBatch(*earlier));
            } else {
                in_request.insert(event_id, index);
                repeats.push(Novelty::New);
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

    /// The runs that get new events; none when nothing is new.
    pub fn finish(self) -> Vec<PlannedRun> {
        let mut runs = self.runs;
        runs.retain(|run| !run.events.is_empty());
        runs
    }
}

/// Whether events that another store recorded can follow in this run.
fn check_recorded(run: &Run, append: &Append, recorded: &Recorded, repeats: &[Novelty]) -> Result<()> {
    assert_eq!(recorded.at.len(), append.events.len(), "each event was recorded at some time");
    for (index, (event, repeat)) in append.events.iter().zip(repeats).enumerate() {
        let seq = match repeat {
            Novelty::New => continue,
            Novelty::Duplicate(seq) => *seq,
            // All before it are new, or one of them would have been refused.
            Novelty::InBatch(earlier) => run.last_seq + 1 + *earlier as u64,
        };
        let event_id = event.event_id.as_ref().map(ToString::to_string).unwrap_or_default();
        return Err(Error::EventIdConflict { run_id: append.run_id.to_string(), event_id, seq, index: Some(index) });
    }
    let before = (run.last_seq > 0).then_some(run.updated_at);
    let in_order = before.iter().chain(&recorded.at).is_sorted();
    if in_order {
        Ok(())
    } else {
        Err(Error::invalid("recorded_at", "must not lie before that of the event before it"))
    }
}
