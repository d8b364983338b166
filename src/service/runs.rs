//! Runs: creation, lookup and listing.

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::codec::record;
use crate::domain::ids::MAX_NAME_CHARS;
use crate::domain::json::redaction::redact;
use crate::domain::{
    AgentName, Error, Event, EventId, EventType, KeyScope, Limits, NewEvent, Origin, Payload, PendingInput, Result,
    Run, RunFilter, RunId, Scope, StructureId,
};
use crate::store::{Append, Condition, ProjectNumber, Range, ReadFrom, RunQuery};

use super::{Service, event_ids};

/// Most runs in one read of the store: output, error and questions of one run may have several MiB.
const RUNS_PER_READ: usize = 16;

/// Runs in one page if the request has no page size.
const DEFAULT_PAGE_SIZE: usize = 100;

/// A request to create a run.
#[derive(Clone, Debug)]
pub struct CreateRun {
    /// Id of the run; `None`: derived from the key, or a new UUID without a key.
    pub run_id: Option<RunId>,
    /// Makes a retry safe: the same key returns the same run.
    pub idempotency_key: Option<String>,
    /// Agent of the run, if known.
    pub agent_name: Option<AgentName>,
    /// Structure of the run, if any.
    pub structure_id: Option<StructureId>,
    /// First event of the run; `None`: `run.created` with an empty payload.
    pub first_event: Option<NewEvent>,
}

/// A request for a page of runs, newest first.
#[derive(Clone, Debug, Default)]
pub struct ListRuns {
    /// The runs to list.
    pub filter: RunFilter,
    /// Token of an earlier page; empty: the newest runs.
    pub cursor: String,
    /// Most runs; 0: 100.
    pub page_size: usize,
}

/// One page of runs.
#[derive(Clone, Debug)]
pub struct RunsList {
    /// The runs, newest first.
    pub runs: Vec<Run>,
    /// Token of the next page; empty at the end.
    pub next_cursor: String,
}

/// Type of the first event of a run that was created without one.
const CREATED: &str = "run.created";

/// A numbered page of runs, for clients that count pages.
#[derive(Clone, Debug)]
pub struct RunsByPage {
    /// Ids of the runs, newest first.
    pub run_ids: Vec<RunId>,
    /// Number of matching runs on all pages.
    pub total: u64,
}

impl Service {
    /// Creates a run with a first event. Returns the run, and whether an earlier call with the same key had created the run.
    /// Fails with `RunExists` if the run was created in any other way.
    pub async fn create_run(&self, create: CreateRun) -> Result<(Run, bool)> {
        self.caller.require(KeyScope::RunsWrite)?;
        let is_system = |event: &NewEvent| event.origin == Origin::System && event.event_type.as_str() != CREATED;
        if create.first_event.as_ref().is_some_and(is_system) {
            self.caller.require(KeyScope::EventsPublishSystem)?;
        }
        let key = create.idempotency_key.as_deref().map(idempotency_key).transpose()?;
        let run_id = match (create.run_id, key) {
            (Some(run_id), _) => run_id,
            (None, Some(key)) => RunId::parse(&format!("run_{:032x}", xxh3_128(key.as_bytes())))?,
            (None, None) => RunId::parse(&format!("run_{}", Uuid::now_v7().simple()))?,
        };
        let mut first_event = match create.first_event {
            Some(first_event) => first_event,
            None => created_event("{}", self.limits())?,
        };
        if let Some(key) = key {
            if first_event.event_id.is_some() {
                let problem = "must be absent beside idempotency_key, which gives the first event its id";
                return Err(Error::invalid("first_event.event_id", problem));
            }
            first_event.event_id = Some(event_ids::create(key)?);
        } else {
            event_ids::check(std::slice::from_ref(&first_event))
                .map_err(|error| error.with_field("first_event.event_id"))?;
        }
        self.caller.limits().publish(1, || first_event.payload.as_str().len()).await?;
        // Version 0.1.0 may have stored the same first event with another id.
        let keyed = key.map(|key| (key, first_event.clone()));
        let events = vec![first_event];
        let append = Append {
            condition: Some(Condition::LastSeq(0)),
            agent_name: create.agent_name,
            structure_id: create.structure_id,
            completion: self.completion(&run_id, &events).await?.map(Box::new),
            ..Append::new(run_id.clone(), events)
        };
        let appended = match (self.store.append(append).await, keyed) {
            (Err(Error::SeqConflict { .. }), Some((key, first_event))) => {
                self.require_created_before(&run_id, &first_event, key).await?;
                return Ok((self.read_run(&run_id).await?, true));
            }
            (Err(Error::SeqConflict { run_id, .. }), None) => return Err(Error::RunExists { run_id }),
            (appended, _) => appended.map_err(|error| error.of_event(None))?,
        };
        let already_existed = appended.events.iter().any(|event| event.duplicate);
        if already_existed && key.is_none() {
            // Without a key, a second creation is no repeat of the first, even with an equal first event.
            return Err(Error::RunExists { run_id: run_id.to_string() });
        }
        Ok((self.stored_run(&run_id).await?, already_existed))
    }

    /// Fails unless version 0.1.0 created the run with this key and the same first event; version 0.1.0 used another event id.
    async fn require_created_before(&self, run_id: &RunId, first_event: &NewEvent, key: &str) -> Result<()> {
        let event_id = event_ids::create_before(key)?;
        match self.store.find_event(Some(run_id), &event_id).await {
            Ok(event) if event.content() == first_event.content() => Ok(()),
            Ok(event) => {
                let (run_id, event_id) = (run_id.to_string(), event_id.to_string());
                Err(Error::EventIdConflict { run_id, event_id, seq: event.seq, index: None })
            }
            Err(Error::EventNotFound { .. }) => Err(Error::RunExists { run_id: run_id.to_string() }),
            Err(error) => Err(error),
        }
    }

    /// The run, after a commit for this request. A failure of the read is reported as a failure after the commit.
    pub(super) async fn stored_run(&self, run_id: &RunId) -> Result<Run> {
        self.read_run(run_id).await.map_err(Error::after_commit)
    }

    /// One run by id. Fails with `RunNotFound`.
    pub async fn run(&self, run_id: &RunId) -> Result<Run> {
        self.caller.require_read(&Scope::Run(run_id.clone()))?;
        self.read_run(run_id).await
    }

    /// One run, for the answer to a request of any scope.
    pub(super) async fn read_run(&self, run_id: &RunId) -> Result<Run> {
        self.store.run(run_id).await.map(shown)
    }

    /// The first event of a run, for callers who may read or create runs; `None` without events.
    pub async fn first_event(&self, run_id: &RunId) -> Result<Option<Event>> {
        let scope = if self.caller.has(KeyScope::RunsWrite) { KeyScope::RunsWrite } else { KeyScope::EventsRead };
        self.caller.require(scope)?;
        self.event_at(run_id, 1).await
    }

    /// The event with this seq; `None` if the run has no such event.
    pub(super) async fn event_at(&self, run_id: &RunId, seq: u64) -> Result<Option<Event>> {
        let range = Range { from: ReadFrom::After(seq.saturating_sub(1)), max_events: 1, max_bytes: 1 };
        let page = self.store.read(&Scope::Run(run_id.clone()), range).await?;
        for chunk in page.chunks {
            for record in chunk.records() {
                let (found, record) = record?;
                if found == seq {
                    return record::decode(record).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// One event by id, in any run. Fails with `EventNotFound`.
    pub async fn find_event(&self, event_id: &EventId) -> Result<Event> {
        self.caller.require(KeyScope::EventsRead)?;
        self.store.find_event(None, event_id).await
    }

    /// The matching runs by page, newest first; pages count from 1.
    pub async fn runs_by_page(&self, filter: &RunFilter, page: u64, page_size: usize) -> Result<RunsByPage> {
        self.caller.require(KeyScope::EventsRead)?;
        let offset = (page - 1).saturating_mul(page_size as u64);
        let total = self.store.count_runs(filter).await?;
        let run_ids = if offset < total { self.store.run_ids_at(filter, offset, page_size).await? } else { Vec::new() };
        Ok(RunsByPage { run_ids, total })
    }

    /// One page of runs, newest first. Fails if the page size or the token cannot be used.
    pub async fn list_runs(&self, list: ListRuns) -> Result<RunsList> {
        self.caller.require(KeyScope::EventsRead)?;
        let limit = self.page_size("page_size", list.page_size, DEFAULT_PAGE_SIZE)?;
        let before = parse_cursor(&list.cursor)?.map(|number| self.project().run(number));
        let mut query = RunQuery { filter: list.filter, before, limit: limit.min(RUNS_PER_READ) };
        let (mut runs, mut bytes): (Vec<Run>, usize) = (Vec::new(), 0);
        loop {
            let page = self.store.runs(&query).await?;
            bytes += page.runs.iter().map(document_bytes).sum::<usize>();
            if bytes > self.shared.options.max_page_bytes && runs.len() + page.runs.len() > 1 {
                if !runs.is_empty() {
                    break;
                }
                // One read exceeds the page already: read half as many runs.
                (bytes, query.limit) = (0, page.runs.len() / 2);
                continue;
            }
            let is_short = page.runs.len() < query.limit;
            runs.extend(page.runs.into_iter().map(shown));
            query.before = page.next;
            query.limit = (limit - runs.len()).min(RUNS_PER_READ);
            // A short read has examined as many runs as one call may.
            if query.limit == 0 || query.before.is_none() || is_short {
                break;
            }
        }
        let next_cursor =
            query.before.map(|run| format!("r1-{:x}", ProjectNumber::number_in_project(run))).unwrap_or_default();
        Ok(RunsList { runs, next_cursor })
    }
}

/// A run in the form for readers. The error may be the whole payload of an event, so the error is reduced to the public view;
/// runs have no other view.
fn shown(run: Run) -> Run {
    let error_json = run.error_json.map(|error| redact(&error).unwrap_or(error));
    Run { error_json, ..run }
}

/// Checks the length of a client's idempotency key.
pub(super) fn idempotency_key(key: &str) -> Result<&str> {
    if key.is_empty() || key.len() > 4 * MAX_NAME_CHARS || key.chars().count() > MAX_NAME_CHARS {
        return Err(Error::invalid("idempotency_key", format!("must be 1 to {MAX_NAME_CHARS} characters")));
    }
    Ok(key)
}

/// Bytes of a run's output, error and questions, which limit a page; all other fields are small.
fn document_bytes(run: &Run) -> usize {
    let weight = |pending: &PendingInput| {
        let PendingInput { question_id, question, context_json, channel, reason_code, input_kind, .. } = pending;
        let words = question.len() + channel.len() + reason_code.len() + input_kind.len();
        words + context_json.len() + question_id.as_ref().map_or(0, String::len)
    };
    // A run shows the oldest question twice.
    let pending = run.pending_inputs.iter().chain(run.pending_inputs.first()).map(weight).sum::<usize>();
    run.output_json.as_ref().map_or(0, String::len) + run.error_json.as_ref().map_or(0, String::len) + pending
}

/// The event that makes a run QUEUED, with this payload. The field of an error is empty if the payload is invalid.
pub fn created_event(payload: impl Into<Box<str>>, limits: &Limits) -> Result<NewEvent> {
    let event_type = EventType::parse(CREATED)?;
    let payload = Payload::parse(&event_type, payload, limits)?;
    Ok(NewEvent { origin: Origin::System, ..NewEvent::new(event_type, payload) })
}

fn parse_cursor(token: &str) -> Result<Option<i64>> {
    if token.is_empty() {
        return Ok(None);
    }
    let number = token.strip_prefix("r1-").and_then(|hex| i64::from_str_radix(hex, 16).ok()).filter(|n| *n > 0);
    let problem = "must be the next_cursor of an earlier page, unchanged";
    number.map(Some).ok_or_else(|| Error::invalid("cursor", problem))
}
