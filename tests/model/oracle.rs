//! The expected log as plain vectors. The answer to a publish is predicted at submission, since publishes are stored in
//! the order of submission; events may be visible before the answer, and must be visible afterwards.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use runlog::domain::filter::FilteredParts;
use runlog::domain::{Event, EventFilter, EventId, NewEvent, Removal, RunId, RunStatus, Scope};

pub use crate::content::filter;
use crate::content::{content_of, same_content, target};
use crate::in_doubt::Doubt;
use crate::ops::{EventSpec, Id, RUNS, ScopeSpec};

/// An event with all fields that readers must receive.
#[derive(Clone, Debug)]
pub struct Stored {
    pub new: NewEvent,
    /// `None` until the server has returned the id of the event.
    pub id: Option<EventId>,
    /// `None` until the event was read.
    pub recorded_at: Option<Timestamp>,
    /// Why the payload, in `new`, is that of a removed event.
    pub removal: Option<Removal>,
    /// The first seq whose text the payload, in `new`, holds after a compaction.
    pub joined_from: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct RunModel {
    pub events: Vec<Stored>,
    /// The last acknowledged seq.
    pub acked: u64,
    pub ended: Option<(u64, RunStatus)>,
    pub status: Option<RunStatus>,
    /// Number of events that the run does not keep any more: its first ones.
    pub gone: u64,
    pub is_held: bool,
    /// The state before the last publish, for a publish in doubt.
    pub doubt: Option<Box<Doubt>>,
    ids: HashMap<EventId, usize>,
}

/// The expected answer to a publish.
#[derive(Debug)]
pub struct Predicted {
    pub run: u8,
    /// (seq, is a duplicate) for each event, or the reason of the error.
    pub answer: Result<Vec<(u64, bool)>, &'static str>,
    pub status: RunStatus,
    pub last_seq: u64,
}

#[derive(Debug)]
pub struct Oracle {
    pub runs: Vec<RunModel>,
    /// The known part of the all-runs feed: index `i` is position `i + 1`.
    pub feed: Vec<(u8, u64)>,
    /// Number of events that the feed does not keep any more: its first ones.
    pub feed_gone: u64,
    /// Run and seqs of an erasure that publishes may have overtaken.
    pub erasing: Option<(u8, RangeInclusive<u64>)>,
    /// Run and seq of the events with an id given by the server.
    pub assigned: Vec<(u8, u64)>,
    strict: bool,
}

impl Oracle {
    pub fn new(strict: bool) -> Self {
        let runs = (0..RUNS).map(|_| RunModel::default()).collect();
        Self { runs, feed: Vec::new(), feed_gone: 0, erasing: None, assigned: Vec::new(), strict }
    }

    /// The event for a specification, in the current state.
    pub fn event(&self, spec: &EventSpec) -> NewEvent {
        let mut seed = spec.seed;
        let mut event_id = None;
        let mut original = None;
        match &spec.id {
            Id::None => {}
            Id::Own(n) => {
                seed = u16::from(*n) * 41 + 7;
                event_id = Some(EventId::parse(&format!("id-{n} é")).unwrap());
            }
            Id::Assigned(index) if !self.assigned.is_empty() => {
                let (run, seq) = self.assigned[index.index(self.assigned.len())];
                let stored = self.at(run, seq);
                event_id.clone_from(&stored.id);
                original = Some(stored.new.clone());
            }
            Id::Assigned(_) => {}
        }
        let occurred_at = spec.occurred_at.map(|s| Timestamp::new(s.into(), 123_456_000).unwrap());
        let content = if spec.other == 0 { original } else { None };
        let content = content.unwrap_or_else(|| content_of(seed + 100 * u16::from(spec.other)));
        NewEvent { event_id, occurred_at, ..content }
    }

    /// Predicts the answer to a publish, and applies the publish to the model.
    pub fn predict(&mut self, run: u8, events: &[NewEvent], expected: Option<u64>) -> Predicted {
        let model = &mut self.runs[usize::from(run)];
        let refused = |model: &RunModel, reason| Predicted {
            run,
            answer: Err(reason),
            status: model.status.unwrap_or(RunStatus::Unspecified),
            last_seq: model.last(),
        };
        // The new events; ids within the request count too.
        let (mut answer, mut fresh) = (Vec::new(), Vec::<&NewEvent>::new());
        for event in events {
            let same = |earlier: &NewEvent| event.event_id.is_some() && earlier.event_id == event.event_id;
            let stored = event.event_id.as_ref().and_then(|id| model.kept_index(id));
            let (seq, earlier) = match stored {
                // Without a payload as sent nothing is compared.
                Some(index) if !model.events[index].is_as_sent() => (index as u64 + 1, Some(event)),
                Some(index) => (index as u64 + 1, Some(&model.events[index].new)),
                None => match fresh.iter().position(|earlier| same(earlier)) {
                    Some(index) => (model.last() + 1 + index as u64, Some(fresh[index])),
                    None => (model.last() + 1 + fresh.len() as u64, None),
                },
            };
            match earlier {
                Some(earlier) if !same_content(earlier, event) => return refused(model, "EVENT_ID_CONFLICT"),
                Some(_) => answer.push((seq, true)),
                None => {
                    fresh.push(event);
                    answer.push((seq, false));
                }
            }
        }
        if !fresh.is_empty() && expected.is_some_and(|expected| expected != model.last()) {
            return refused(model, "SEQ_CONFLICT");
        }
        let (mut status, mut ended) = (model.status, model.ended);
        for (index, event) in fresh.iter().enumerate() {
            let Some(to) = target(&event.event_type) else { continue };
            match ended {
                Some((_, is)) if self.strict && is != to => return refused(model, "RUN_STATUS_FINAL"),
                Some(_) => {}
                None => {
                    status = Some(to);
                    ended = to.is_final().then_some((model.last() + 1 + index as u64, to));
                }
            }
        }
        for event in fresh {
            if let Some(id) = &event.event_id {
                model.ids.insert(id.clone(), model.events.len());
            }
            model.events.push(Stored::new(event.clone()));
        }
        (model.status, model.ended) = (status, ended);
        Predicted { run, answer: Ok(answer), status: status.unwrap_or(RunStatus::Unspecified), last_seq: model.last() }
    }

    /// Records the id of an acknowledged event.
    pub fn acknowledge(&mut self, run: u8, seq: u64, id: &EventId) {
        let model = &mut self.runs[usize::from(run)];
        model.acked = model.acked.max(seq);
        let index = usize::try_from(seq - 1).unwrap();
        let stored = &mut model.events[index];
        match &stored.id {
            Some(known) => assert_eq!(known, id, "the id of event {seq} of run {run}"),
            None => {
                stored.id = Some(id.clone());
                stored.new.event_id = Some(id.clone());
                assert!(model.ids.insert(id.clone(), index).is_none(), "{id} was given twice");
                self.assigned.push((run, seq));
            }
        }
    }

    pub fn at(&self, run: u8, seq: u64) -> &Stored {
        &self.runs[usize::from(run)].events[usize::try_from(seq - 1).unwrap()]
    }

    /// Run and seq at an offset of a scope.
    pub fn place(&self, scope: ScopeSpec, offset: u64) -> (u8, u64) {
        match scope {
            Some(run) => (run, offset),
            None => self.feed[usize::try_from(offset - 1).unwrap()],
        }
    }

    /// The acknowledged end of a scope, and the submitted end.
    pub fn end(&self, scope: ScopeSpec) -> (u64, u64) {
        match scope {
            Some(run) => (self.runs[usize::from(run)].acked, self.runs[usize::from(run)].last()),
            None => (self.runs.iter().map(|run| run.acked).sum(), self.runs.iter().map(RunModel::last).sum()),
        }
    }

    /// The first offset of a scope that is kept.
    pub fn first(&self, scope: ScopeSpec) -> u64 {
        scope.map_or(self.feed_gone, |run| self.runs[usize::from(run)].gone) + 1
    }

    /// Whether a cursor at this offset is refused, because the next event is not kept any more. 0 is the beginning.
    pub fn is_expired(&self, scope: ScopeSpec, at: u64) -> bool {
        at > 0 && at + 1 < self.first(scope)
    }

    /// The offset at which a subscription stands that was given this one.
    pub fn start(&self, scope: ScopeSpec, at: u64) -> u64 {
        if at == 0 { self.first(scope) - 1 } else { at }
    }

    /// Records the time of an event that was read, which never changes.
    pub fn learn_time(&mut self, run: u8, seq: u64, recorded_at: Timestamp) {
        self.change(run, |model| {
            if let Some(stored) = model.events.get_mut(usize::try_from(seq - 1).unwrap()) {
                stored.recorded_at = Some(recorded_at);
            }
        });
    }

    pub fn passes(&self, scope: ScopeSpec, filter: &EventFilter, offset: u64) -> bool {
        let (run, seq) = self.place(scope, offset);
        let new = &self.at(run, seq).new;
        let (run_id, agent) = (run_id(run), new.agent_name.as_ref().map(ToString::to_string));
        filter.passes(FilteredParts {
            event_type: new.event_type.as_str(),
            origin: new.origin,
            run_id: run_id.as_str(),
            agent_name: agent.as_deref(),
        })
    }

    /// Promise 7 and the exact location: the event equals the published event at this offset of the scope, as far as it is kept.
    pub fn check(&self, scope: ScopeSpec, offset: u64, event: &Event) {
        assert!(offset >= self.first(scope), "{offset} of {scope:?} is not kept any more");
        let (run, seq) = self.place(scope, offset);
        let stored = self.at(run, seq);
        assert_eq!((event.run_id.clone(), event.seq), (run_id(run), seq));
        if let Some(id) = &stored.id {
            assert_eq!(&event.event_id, id);
        }
        let payload = stored.new.payload.as_str();
        assert_eq!((event.removal, event.payload.as_str()), (stored.removal, payload), "{seq} of run {run}");
        assert_eq!(event.joined_from, stored.joined_from, "{seq} of run {run}");
        assert!(stored.recorded_at.is_none_or(|recorded_at| recorded_at == event.recorded_at));
        assert_eq!(event.event_type, stored.new.event_type);
        assert_eq!(event.origin, stored.new.origin);
        assert_eq!(event.agent_name, stored.new.agent_name);
        assert_eq!(event.occurred_at, stored.new.occurred_at.unwrap_or(event.recorded_at));
    }
}

impl Stored {
    fn new(new: NewEvent) -> Self {
        let id = new.event_id.clone();
        Self { new, id, recorded_at: None, removal: None, joined_from: None }
    }

    fn is_as_sent(&self) -> bool {
        self.removal.is_none() && self.joined_from.is_none()
    }
}

impl RunModel {
    pub fn last(&self) -> u64 {
        self.events.len() as u64
    }

    /// Index of the event with this id, while it has its place.
    fn kept_index(&self, id: &EventId) -> Option<usize> {
        self.ids.get(id).copied().filter(|index| *index as u64 >= self.gone)
    }
}

pub fn run_id(run: u8) -> RunId {
    RunId::parse(&format!("run-{run}")).unwrap()
}

pub fn scope(spec: ScopeSpec) -> Scope {
    spec.map_or(Scope::Feed, |run| Scope::Run(run_id(run)))
}
