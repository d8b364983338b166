//! Runs: creating them on purpose, looking at them.

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::ids::MAX_NAME_CHARS;
use crate::domain::json::redaction::redact;
use crate::domain::{
    AgentName, Error, Event, EventId, EventType, Limits, NewEvent, Origin, Payload, PendingInput, Result, Run, RunId,
    RunStatus, StructureId,
};
use crate::store::{Append, Condition, RunQuery};

use super::{Service, event_ids};

/// Most runs that are read at a time: with their documents each may have several MiB.
const RUNS_PER_READ: usize = 16;

/// Runs in one page when the reader does not say.
const DEFAULT_PAGE_SIZE: usize = 100;

/// A run to be.
#[derive(Clone, Debug)]
pub struct CreateRun {
    /// Its id; `None`: made from the key, or else by chance.
    pub run_id: Option<RunId>,
    /// Makes a retry safe: the same key answers with the same run.
    pub idempotency_key: Option<String>,
    /// Its agent.
    pub agent_name: Option<AgentName>,
    /// Its structure.
    pub structure_id: Option<StructureId>,
    /// Its first event; `None`: `run.created` with an empty payload.
    pub first_event: Option<NewEvent>,
}

/// Which runs to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct ListRuns {
    /// Only these; none: all.
    pub statuses: Vec<RunStatus>,
    /// Only runs of this agent.
    pub agent_name: Option<AgentName>,
    /// Only runs of this structure.
    pub structure_id: Option<StructureId>,
    /// From an earlier page; empty: the newest runs.
    pub page_token: String,
    /// Most runs; 0: 100.
    pub page_size: usize,
}

/// Some runs.
#[derive(Clone, Debug)]
pub struct RunsList {
    /// Newest first.
    pub runs: Vec<Run>,
    /// Empty at the end.
    pub next_page_token: String,
}

/// A numbered page of runs, for clients that count pages.
#[derive(Clone, Debug)]
pub struct RunsByPage {
    /// Newest first.
    pub run_ids: Vec<RunId>,
    /// How many match in all.
    pub total: u64,
}

impl Service {
    /// Creates a run with its first event. Returns the run, and whether an earlier call with this key had created it.
    /// Fails with `RunExists` when anything else had.
    pub async fn create_run(&self, create: CreateRun) -> Result<(Run, bool)> {
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
        // What an earlier program may have stored under the key.
        let keyed = key.map(|key| (key, first_event.clone()));
        let append = Append {
            run_id: run_id.clone(),
            events: vec![first_event],
            condition: Some(Condition::LastSeq(0)),
            agent_name: create.agent_name,
            structure_id: create.structure_id,
            recorded: None,
        };
        let appended = match (self.store.append(append).await, keyed) {
            (Err(Error::SeqConflict { .. }), Some((key, first_event))) => {
                self.require_created_before(&run_id, &first_event, key).await?;
                return Ok((self.run(&run_id).await?, true));
            }
            (Err(Error::SeqConflict { run_id, .. }), None) => return Err(Error::RunExists { run_id }),
            (appended, _) => appended.map_err(|error| error.of_event(None))?,
        };
        let already_existed = appended.events.iter().any(|event| event.duplicate);
        if already_existed && key.is_none() {
            // Only a key makes a second creation the same as the first.
            return Err(Error::RunExists { run_id: run_id.to_string() });
        }
        Ok((self.stored_run(&run_id).await?, already_existed))
    }

    /// Fails unless version 0.1.0 created the run with this key and the same first event: it gave that another id.
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

    /// The run, after something of it was stored for this request.
    pub(super) async fn stored_run(&self, run_id: &RunId) -> Result<Run> {
        self.run(run_id).await.map_err(Error::after_commit)
    }

    /// One run.
    pub async fn run(&self, run_id: &RunId) -> Result<Run> {
        self.store.run(run_id).await.map(shown)
    }

    /// One event by its id, in whatever run it is. Fails with `EventNotFound`.
    pub async fn find_event(&self, event_id: &EventId) -> Result<Event> {
        self.store.find_event(None, event_id).await
    }

    /// The runs of a structure by page, newest first; pages count from 1.
    pub async fn runs_by_page(
        &self,
        structure_id: StructureId,
        statuses: Vec<RunStatus>,
        page: u64,
        page_size: usize,
    ) -> Result<RunsByPage> {
        let offset = (page - 1).saturating_mul(page_size as u64);
        let query = RunQuery { statuses, structure_id: Some(structure_id), limit: page_size, ..RunQuery::default() };
        let total = self.store.count_runs(&query).await?;
        let run_ids = if offset < total { self.store.run_ids_at(&query, offset).await? } else { Vec::new() };
        Ok(RunsByPage { run_ids, total })
    }

    /// Runs, newest first.
    pub async fn list_runs(&self, list: ListRuns) -> Result<RunsList> {
        let max = self.options.limits.max_page_size;
        let limit = match list.page_size {
            0 => DEFAULT_PAGE_SIZE.min(max),
            size if size <= max => size,
            size => return Err(Error::invalid("page_size", format!("must be at most {max}; it is {size}"))),
        };
        let before = parse_token(&list.page_token)?;
        let ListRuns { statuses, agent_name, structure_id, .. } = list;
        let mut query = RunQuery { statuses, agent_name, structure_id, before, limit: limit.min(RUNS_PER_READ) };
        let (mut runs, mut bytes): (Vec<Run>, usize) = (Vec::new(), 0);
        loop {
            let page = self.store.runs(&query).await?;
            bytes += page.runs.iter().map(document_bytes).sum::<usize>();
            if bytes > self.options.max_page_bytes && runs.len() + page.runs.len() > 1 {
                if !runs.is_empty() {
                    break;
                }
                // Too many at once even for a page of their own.
                (bytes, query.limit) = (0, page.runs.len() / 2);
                continue;
            }
            let is_short = page.runs.len() < query.limit;
            runs.extend(page.runs.into_iter().map(shown));
            query.before = page.next;
            query.limit = (limit - runs.len()).min(RUNS_PER_READ);
            // A short read looked at as many runs as one call may.
            if query.limit == 0 || query.before.is_none() || is_short {
                break;
            }
        }
        let next_page_token = query.before.map(|number| format!("r1-{number:x}")).unwrap_or_default();
        Ok(RunsList { runs, next_page_token })
    }
}

/// A run as readers see it. Its error may be the whole payload of an event, so that has its public view; there is no other view
/// of a run.
fn shown(run: Run) -> Run {
    let error_json = run.error_json.map(|error| redact(&error).unwrap_or(error));
    Run { error_json, ..run }
}

/// A key as a client may give it.
pub(super) fn idempotency_key(key: &str) -> Result<&str> {
    if key.is_empty() || key.len() > 4 * MAX_NAME_CHARS || key.chars().count() > MAX_NAME_CHARS {
        return Err(Error::invalid("idempotency_key", format!("must be 1 to {MAX_NAME_CHARS} characters")));
    }
    Ok(key)
}

/// What a page is bounded by; all else of a run is small.
fn document_bytes(run: &Run) -> usize {
    let weight = |pending: &PendingInput| {
        let PendingInput { question_id, question, context_json, channel, reason_code, input_kind, .. } = pending;
        let words = question.len() + channel.len() + reason_code.len() + input_kind.len();
        words + context_json.len() + question_id.as_ref().map_or(0, String::len)
    };
    // The oldest is shown twice.
    let pending = run.pending_inputs.iter().chain(run.pending_inputs.first()).map(weight).sum::<usize>();
    run.output_json.as_ref().map_or(0, String::len) + run.error_json.as_ref().map_or(0, String::len) + pending
}

/// The event that makes a run QUEUED, with this payload. The error's field is empty where the payload is at fault.
pub fn created_event(payload: impl Into<Box<str>>, limits: &Limits) -> Result<NewEvent> {
    let event_type = EventType::parse("run.created")?;
    let payload = Payload::parse(&event_type, payload, limits)?;
    Ok(NewEvent {
        event_id: None,
        event_type,
        origin: Origin::System,
        occurred_at: None,
        sent_seconds: None,
        agent_name: None,
        payload,
    })
}

fn parse_token(token: &str) -> Result<Option<i64>> {
    if token.is_empty() {
        return Ok(None);
    }
    let number = token.strip_prefix("r1-").and_then(|hex| i64::from_str_radix(hex, 16).ok()).filter(|n| *n > 0);
    let problem = "must be the next_page_token of an earlier page, unchanged";
    number.map(Some).ok_or_else(|| Error::invalid("page_token", problem))
}
