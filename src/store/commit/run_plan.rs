//! Planned changes of one run in a commit.

use foldhash::HashMap;
use jiff::Timestamp;

use crate::domain::event::Appended;
use crate::domain::projection::{self, Documents, Lifecycle};
use crate::domain::{Event, EventId, NewEvent, Published, Result, Run, RunStatus};
use crate::store::{Append, ids};

use super::existing::RunState;

/// Planned changes of one run.
pub struct PlannedRun {
    /// State of the run after the commit.
    pub head: RunState,
    /// Changed documents of the run.
    pub documents: Documents,
    /// New events in the order of their seqs.
    pub events: Vec<PlannedEvent>,
    /// Producers' ids of the new events, with indexes into `events`.
    pub producer_ids: HashMap<EventId, usize>,
}

/// A new event with its position in the plan.
pub struct PlannedEvent {
    /// The event with seq, id and times.
    pub event: Event,
    /// Status of the run after the event.
    pub status: RunStatus,
    /// Sort key for the feed order, ascending; events with equal keys belong to one run and keep their order.
    pub(crate) feed_key: usize,
}

/// Novelty of an event in a request: `Duplicate` holds the seq of a stored or planned event, `InBatch` the index of an
/// earlier event of the same request.
pub(crate) enum Novelty {
    New,
    Duplicate(u64),
    InBatch(usize),
}

/// State of a run plan before an append, to be restored if the append fails.
pub(crate) struct Undo {
    run: Run,
    documents: Documents,
    events: usize,
}

impl PlannedRun {
    pub(crate) fn undo(&self) -> Undo {
        Undo { run: self.head.run.clone(), documents: self.documents.clone(), events: self.events.len() }
    }

    pub(crate) fn restore(&mut self, before: Undo) {
        self.head.run = before.run;
        self.documents = before.documents;
        self.events.truncate(before.events);
        self.producer_ids.retain(|_, index| *index < before.events);
    }

    /// Adds the new events of an append. On error some of the events may have been added.
    pub(crate) fn extend(
        &mut self,
        append: Append,
        repeats: Vec<Novelty>,
        lifecycle: Lifecycle,
        now: Timestamp,
        feed_key: usize,
    ) -> Result<Appended> {
        let run = &mut self.head.run;
        if let (0, Some(recorded)) = (run.last_seq, &append.recorded) {
            run.first_seq = recorded.seq_after(0);
        }
        let recorded_at = append.recorded.map(|recorded| recorded.at).unwrap_or_default();
        if let (0, Some(first)) = (run.last_seq, recorded_at.first()) {
            (run.created_at, run.updated_at) = (*first, *first);
            // The events before are lost, and count.
            run.last_seq = run.first_seq - 1;
        }
        run.agent_name = run.agent_name.take().or(append.agent_name);
        run.structure_id = run.structure_id.take().or(append.structure_id);
        let mut published: Vec<Published> = Vec::with_capacity(append.events.len());
        self.events.reserve(append.events.len());
        for (index, (new, repeat)) in append.events.into_iter().zip(repeats).enumerate() {
            let seq = match repeat {
                Novelty::Duplicate(seq) => seq,
                Novelty::InBatch(earlier) => published[earlier].seq,
                Novelty::New => {
                    let recorded_at = recorded_at.get(index).copied();
                    let added = self.add(new, lifecycle, recorded_at.unwrap_or_else(|| self.not_before(now)), feed_key);
                    published.push(added.map_err(|error| error.of_event(Some(index)))?);
                    continue;
                }
            };
            let event_id = new.event_id.unwrap_or_else(|| unreachable!("an event without an id repeats nothing"));
            published.push(Published { seq, event_id, duplicate: true });
        }
        let is_open = !self.head.run.status.is_final() && published.iter().any(|event| !event.duplicate);
        if let Some(completion) = append.completion.filter(|_| is_open) {
            self.add(*completion, lifecycle, self.not_before(now), feed_key)?;
        }
        let run = &self.head.run;
        Ok(Appended { events: published, status: run.status, last_seq: run.last_seq })
    }

    /// This time, or that of the last change of the run if that is later.
    fn not_before(&self, now: Timestamp) -> Timestamp {
        now.max(self.head.run.updated_at)
    }

    /// Adds a new event.
    fn add(&mut self, new: NewEvent, lifecycle: Lifecycle, at: Timestamp, feed_key: usize) -> Result<Published> {
        let RunState { number, run } = &mut self.head;
        if let Some(event_id) = &new.event_id {
            self.producer_ids.insert(event_id.clone(), self.events.len());
        }
        let event = numbered(*number, run, new, at);
        self.documents.merge(projection::apply(run, &event, lifecycle)?);
        let published = Published { seq: event.seq, event_id: event.event_id.clone(), duplicate: false };
        self.events.push(PlannedEvent { event, status: run.status, feed_key });
        Ok(published)
    }
}

/// Builds the next event of a run.
fn numbered(run_number: i64, run: &Run, new: NewEvent, recorded_at: Timestamp) -> Event {
    let seq = run.last_seq + 1;
    Event {
        run_id: run.run_id.clone(),
        seq,
        event_id: new.event_id.unwrap_or_else(|| ids::assigned(run_number, seq)),
        event_type: new.event_type,
        origin: new.origin,
        occurred_at: new.occurred_at.unwrap_or(recorded_at),
        sent_seconds: new.sent_seconds,
        recorded_at,
        agent_name: new.agent_name,
        payload: new.payload,
        removal: new.removal,
        joined_from: new.joined_from,
    }
}
