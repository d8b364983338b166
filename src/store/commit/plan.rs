//! The plan of a commit: new events, their seqs, and the resulting state of their runs. A plan has no I/O, so an
//! invalid append in a group fails alone and leaves no trace.

use foldhash::HashMap;
use jiff::{Timestamp, Unit};

use crate::domain::event::Appended;
use crate::domain::projection::Lifecycle;
use crate::domain::{Error, EventId, NewEvent, Result, Run};

pub use super::existing::{ExistingEvent, ExistingEvents, RunState, longest_to_compare};
use super::queue::QueuedAppend;
use super::row_builder::{EncodedCommit, RowBuilder};
use super::run_plan::Novelty;
pub use super::run_plan::{PlannedEvent, PlannedRun};
use crate::store::{Append, Commit, ProjectNumber, Recorded, RunKey};

/// Highest seq with which an imported run may begin. An id that the store assigns to an event has 40 bits for the seq.
const MAX_FIRST_SEQ: u64 = 1 << 39;

/// Builder of a commit plan. `head` returns the stored state of a run, or a new run with an unused number.
pub struct Plan<'a, H> {
    head: H,
    known: &'a ExistingEvents,
    lifecycle: Lifecycle,
    now: Timestamp,
    runs: Vec<PlannedRun>,
    by_id: HashMap<RunKey, usize>,
    /// The highest [`PlannedEvent::feed_key`] so far.
    last_feed_key: usize,
}

/// Current time of the server, rounded to microseconds.
pub fn now() -> Timestamp {
    Timestamp::now().round(Unit::Microsecond).unwrap_or_else(|_| Timestamp::now())
}

/// The events of a commit by project, and in feed order: the events of a run are neighbours, except for imports, which keep
/// their order across runs.
pub fn in_feed_order(runs: &[PlannedRun]) -> Vec<(&PlannedRun, &PlannedEvent)> {
    let mut events: Vec<_> = runs.iter().flat_map(|run| run.events.iter().map(move |event| (run, event))).collect();
    // Without imports and other projects the events are already sorted, which the sort detects in one pass.
    events.sort_by_key(|(run, event)| (run.head.project(), event.feed_key));
    events
}

/// Encodes the events of a commit into log rows. `last_pos` gives the stored position of a project's last event.
pub fn encode(runs: &[PlannedRun], last_pos: impl Fn(ProjectNumber) -> u64) -> EncodedCommit {
    let mut builder = RowBuilder::after(last_pos);
    for (run, planned) in in_feed_order(runs) {
        builder.add(run.head.number, &planned.event);
    }
    builder.finish()
}

/// Builds the announcements of an encoded commit, one for each project.
pub fn announcements(encoded: &EncodedCommit, runs: &[PlannedRun]) -> Vec<Commit> {
    let by_number: HashMap<i64, &Run> = runs.iter().map(|planned| (planned.head.number, &planned.head.run)).collect();
    encoded.commits(|number| (by_number[&number].run_id.clone(), by_number[&number].status))
}

impl<'a, H: FnMut(&RunKey) -> RunState> Plan<'a, H> {
    /// An empty plan. `now` is the time of the server, used as `recorded_at`.
    pub fn new(head: H, known: &'a ExistingEvents, lifecycle: Lifecycle, now: Timestamp) -> Self {
        Self { head, known, lifecycle, now, runs: Vec::new(), by_id: HashMap::default(), last_feed_key: 0 }
    }

    /// Plans one append after the earlier ones. On error the plan is unchanged.
    pub fn add(&mut self, QueuedAppend { run, append }: QueuedAppend) -> Result<Appended> {
        let Some(import) = append.import().cloned() else { return self.add_next(&run, append) };
        match import.failure() {
            Some(error) => Err(error),
            // The failure is set before the next append is planned, which may belong to the same import.
            None => self.add_next(&run, append).inspect_err(|error| import.fail(error)),
        }
    }

    fn add_next(&mut self, run: &RunKey, append: Append) -> Result<Appended> {
        let index = self.run_index(run);
        let planned = &self.runs[index];
        let repeats = self.repeats(planned, &append)?;
        if let Some(recorded) = &append.recorded {
            check_recorded(&planned.head.run, &append, recorded, &repeats)?;
            check_first_seq(recorded)?;
        }
        let is_new = |repeat: &Novelty| matches!(repeat, Novelty::New);
        if let Some(condition) = append.condition
            && repeats.iter().any(is_new)
        {
            condition.check(&planned.head.run)?;
        }
        let is_import = append.recorded.is_some();
        let lifecycle = if is_import { Lifecycle::Record } else { self.lifecycle };
        let feed_key = match planned.events.last() {
            Some(before) if !is_import => before.feed_key,
            _ => self.last_feed_key + 1,
        };
        // Only a strict lifecycle can reject an append after this point.
        let before = (lifecycle == Lifecycle::Strict).then(|| planned.undo());
        let appended = self.runs[index].extend(append, repeats, lifecycle, self.now, feed_key);
        match (&appended, before) {
            (Ok(_), _) => self.last_feed_key = self.last_feed_key.max(feed_key),
            (Err(_), Some(before)) => self.runs[index].restore(before),
            (Err(error), None) => unreachable!("a lifecycle that records refuses nothing: {error}"),
        }
        appended
    }

    fn run_index(&mut self, run: &RunKey) -> usize {
        if let Some(index) = self.by_id.get(run) {
            return *index;
        }
        let head = (self.head)(run);
        let (documents, events, producer_ids) = Default::default();
        self.runs.push(PlannedRun { head, documents, events, producer_ids });
        self.by_id.insert(run.clone(), self.runs.len() - 1);
        self.runs.len() - 1
    }

    /// Determines for each event whether the event is already stored, planned, or contained in the request.
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

    /// Seq of the stored or planned event with this id, and whether `new` has the same content.
    fn stored(&self, planned: &PlannedRun, event_id: &EventId, new: &NewEvent) -> Option<(u64, bool)> {
        if let Some(index) = planned.producer_ids.get(event_id) {
            let event = &planned.events[*index].event;
            return Some((event.seq, !event.is_as_sent() || event.content() == new.content()));
        }
        let stored = self.known.get(&(planned.head.number, event_id.clone()))?;
        Some((stored.seq, stored.has_content_of(new)))
    }

    /// The runs with new events; empty if no event is new.
    pub fn finish(self) -> Vec<PlannedRun> {
        let mut runs = self.runs;
        runs.retain(|run| !run.events.is_empty());
        runs
    }
}

/// Checks that imported events can follow the last event of the run.
fn check_recorded(run: &Run, append: &Append, recorded: &Recorded, repeats: &[Novelty]) -> Result<()> {
    assert_eq!(recorded.at.len(), append.events.len(), "each event was recorded at some time");
    for (index, (event, repeat)) in append.events.iter().zip(repeats).enumerate() {
        let seq = match repeat {
            Novelty::New => continue,
            Novelty::Duplicate(seq) => *seq,
            // Every earlier event of the append is new, otherwise an earlier iteration would have returned.
            Novelty::InBatch(earlier) => recorded.seq_after(run.last_seq) + *earlier as u64,
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

/// Checks the first seq of an imported run.
fn check_first_seq(recorded: &Recorded) -> Result<()> {
    match recorded.first_seq {
        Some(seq) if !(1..=MAX_FIRST_SEQ).contains(&seq) => {
            Err(Error::invalid("seq", format!("must be 1 to {MAX_FIRST_SEQ} in the first event of a run")))
        }
        _ => Ok(()),
    }
}
