//! The expected log as plain vectors. The answer to a publish is predicted at submission, since publishes are stored in
//! the order of submission; events may be visible before the answer, and must be visible afterwards.

use std::collections::HashMap;

use jiff::Timestamp;
use runlog::domain::filter::FilteredParts;
use runlog::domain::{
    AgentName, Event, EventFilter, EventId, EventType, Limits, NewEvent, Origin, Payload, RunId, RunStatus, Scope,
};

use crate::in_doubt::Doubt;
use crate::ops::{EventSpec, Id, RUNS, ScopeSpec};

/// An event with all fields that readers must receive.
#[derive(Clone, Debug)]
pub struct Stored {
    pub new: NewEvent,
    /// `None` until the server has returned the id of the event.
    pub id: Option<EventId>,
}

#[derive(Clone, Debug, Default)]
pub struct RunModel {
    pub events: Vec<Stored>,
    /// The last acknowledged seq.
    pub acked: u64,
    pub ended: Option<(u64, RunStatus)>,
    pub status: Option<RunStatus>,
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
    /// Run and seq of the events with an id given by the server.
    pub assigned: Vec<(u8, u64)>,
    strict: bool,
}

impl Oracle {
    pub fn new(strict: bool) -> Self {
        let runs = (0..RUNS).map(|_| RunModel::default()).collect();
        Self { runs, feed: Vec::new(), assigned: Vec::new(), strict }
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
            let stored = event.event_id.as_ref().and_then(|id| model.ids.get(id)).copied();
            let (seq, earlier) = match stored {
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
            model.events.push(Stored { new: event.clone(), id: event.event_id.clone() });
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

    /// Promise 7 and the exact location: the event equals the published event at this offset of the scope.
    pub fn check(&self, scope: ScopeSpec, offset: u64, event: &Event) {
        let (run, seq) = self.place(scope, offset);
        let stored = self.at(run, seq);
        assert_eq!((event.run_id.clone(), event.seq), (run_id(run), seq));
        if let Some(id) = &stored.id {
            assert_eq!(&event.event_id, id);
        }
        assert_eq!(event.payload.as_str(), stored.new.payload.as_str());
        assert_eq!(event.event_type, stored.new.event_type);
        assert_eq!(event.origin, stored.new.origin);
        assert_eq!(event.agent_name, stored.new.agent_name);
        assert_eq!(event.occurred_at, stored.new.occurred_at.unwrap_or(event.recorded_at));
    }
}

impl RunModel {
    pub fn last(&self) -> u64 {
        self.events.len() as u64
    }
}

pub fn run_id(run: u8) -> RunId {
    RunId::parse(&format!("run-{run}")).unwrap()
}

pub fn scope(spec: ScopeSpec) -> Scope {
    spec.map_or(Scope::Feed, |run| Scope::Run(run_id(run)))
}

pub fn filter(number: u8) -> EventFilter {
    let (types, origins): (&[&str], _) = match number {
        0 => (&[], vec![]),
        1 => (&["step"], vec![]),
        2 => (&["run*"], vec![]),
        3 => (&[], vec![Origin::System]),
        4 => (&["nothing.is.called.so"], vec![]),
        5..=7 => (&[], vec![]),
        _ => (&["my.*", "error"], vec![Origin::User]),
    };
    let agent = || vec![AgentName::parse("agent Ω").unwrap()];
    let (runs, agents) = match number {
        5 => (vec![run_id(0), run_id(9)], vec![]),
        6 => (vec![], agent()),
        7 => (vec![run_id(0), run_id(1)], agent()),
        _ => (vec![], vec![]),
    };
    let types: Vec<String> = types.iter().map(|t| (*t).to_owned()).collect();
    EventFilter::parse(&types, origins).unwrap().of(runs, agents).unwrap()
}

fn same_content(a: &NewEvent, b: &NewEvent) -> bool {
    a.event_type == b.event_type && a.origin == b.origin && a.agent_name == b.agent_name && a.payload == b.payload
}

/// The table "Status of a run" of the reference, for the types of [`content_of`].
fn target(event_type: &EventType) -> Option<RunStatus> {
    Some(match event_type.as_str() {
        "run_start" => RunStatus::Running,
        "run_end" => RunStatus::Succeeded,
        "error" => RunStatus::Failed,
        "run.cancelled" => RunStatus::Cancelled,
        "human_input_requested" => RunStatus::AwaitingInput,
        _ => return None,
    })
}

/// A type and a payload; ends are rare, so that runs become long enough.
fn content_of(seed: u16) -> NewEvent {
    const TYPES: [&str; 5] = ["step", "my.note", "run_start", "tool_call", "human_input_requested"];
    const ENDS: [&str; 3] = ["run_end", "error", "run.cancelled"];
    let name = if seed % 24 == 23 {
        ENDS[usize::from(seed / 24) % ENDS.len()]
    } else {
        TYPES[usize::from(seed) % TYPES.len()]
    };
    let payload = match seed % 7 {
        0 => format!("{{ \"n\" : {seed},  \"big\":123456789012345678901234567890, \"n\":1.0 }}"),
        1 => "null".to_owned(),
        2 => format!("{{\"input\":\"secret {seed}\",\"é\":\"\\u00e9\\n\"}}"),
        3 => format!("[{seed}, \"{}\"]", "x".repeat(usize::from(seed))),
        _ => format!("{{\"text\":\"event {seed}\"}}"),
    };
    let event_type = EventType::parse(name).unwrap();
    NewEvent {
        event_id: None,
        payload: Payload::parse(&event_type, payload, &Limits::default()).unwrap(),
        origin: if seed.is_multiple_of(11) { Origin::System } else { Origin::default_for(&event_type) },
        event_type,
        occurred_at: None,
        sent_seconds: None,
        agent_name: seed.is_multiple_of(5).then(|| AgentName::parse("agent Ω").unwrap()),
        removal: None,
        joined_from: None,
    }
}
