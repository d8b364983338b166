//! Events as rows: the columns that a commit writes, and the rows that readers get.

use jiff::Timestamp;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgTypeInfo};
use sqlx::query::QueryScalar;
use sqlx::{Encode, Postgres, Type};

use crate::domain::public_view;
use crate::domain::{AgentName, Chunk, Error, Event, EventId, EventType, Origin, Payload, Result, RunId, RunStatus};
use crate::store::Commit;
use crate::store::layout::{Laid, Layout};
use crate::store::plan::{self, PlannedRun};

/// The columns of an [`EventRow`], of events `e` and runs `r`.
macro_rules! event_columns {
    ($payload:literal) => {
        concat!(
            "e.pos, e.run, r.run_id, e.seq, e.event_id, e.event_type, e.origin, e.status, e.occurred_s, \
             e.occurred_ns, e.recorded_s, e.recorded_ns, e.sent_seconds, e.agent_name, e.sensitive, ",
            $payload,
            " AS payload"
        )
    };
}
pub(super) use event_columns;

/// An event as readers get it.
#[derive(sqlx::FromRow)]
pub struct EventRow {
    pub pos: i64,
    pub run: i64,
    run_id: String,
    pub seq: i64,
    pub event_id: String,
    event_type: String,
    origin: i16,
    status: i16,
    occurred_s: i64,
    occurred_ns: i32,
    recorded_s: i64,
    recorded_ns: i32,
    sent_seconds: Option<f64>,
    agent_name: Option<String>,
    sensitive: bool,
    /// None where the query leaves it out.
    payload: Option<String>,
}

impl EventRow {
    /// The event and the run's status after it; a row that does not read is damage. No payload: no event.
    pub fn into_event(self) -> Result<Option<(Event, RunStatus)>> {
        let place = (self.run, self.seq);
        if self.payload.is_none() {
            return Ok(None);
        }
        self.parse().map(Some).ok_or_else(|| {
            tracing::error!(?place, "a row of the events table does not read");
            Error::StoreDamaged
        })
    }

    fn parse(self) -> Option<(Event, RunStatus)> {
        let agent_name = match self.agent_name {
            Some(name) => Some(AgentName::parse(&name).ok()?),
            None => None,
        };
        // Rows from before tool input and output were part of the rule do not tell of them.
        let sensitive = self.sensitive || public_view::has_previews(&self.event_type);
        let event = Event {
            run_id: RunId::parse(&self.run_id).ok()?,
            seq: u64::try_from(self.seq).ok()?,
            event_id: EventId::parse(&self.event_id).ok()?,
            event_type: EventType::parse(&self.event_type).ok()?,
            origin: match self.origin {
                1 => Origin::System,
                2 => Origin::User,
                _ => return None,
            },
            occurred_at: Timestamp::new(self.occurred_s, self.occurred_ns).ok()?,
            sent_seconds: self.sent_seconds,
            recorded_at: Timestamp::new(self.recorded_s, self.recorded_ns).ok()?,
            agent_name,
            payload: Payload::from_parts(self.payload?, sensitive),
        };
        Some((event, RunStatus::from_number(i64::from(self.status))?))
    }
}

/// Rows that follow each other in the feed, or in one run, laid out as readers get them.
pub struct Rows {
    laid: Laid,
    runs: std::collections::HashMap<i64, (RunId, RunStatus)>,
}

impl Rows {
    /// `rows` ascend.
    pub fn lay_out(rows: impl IntoIterator<Item = EventRow>) -> Result<Self> {
        let mut rows = rows.into_iter().peekable();
        let first = rows.peek().map_or(1, |row| row.pos.unsigned_abs());
        let mut layout = Layout::after(first - 1);
        let mut runs = std::collections::HashMap::new();
        for row in rows {
            let run = row.run;
            let (event, status) = row.into_event()?.ok_or(Error::StoreDamaged)?;
            layout.add(run, &event);
            runs.insert(run, (event.run_id, status));
        }
        Ok(Self { laid: layout.finish(), runs })
    }

    /// As they are told.
    pub fn commit(&self) -> Commit {
        self.laid.commit(|run| self.runs[&run].clone())
    }

    /// As a part of the feed.
    pub fn feed_chunks(&self) -> Vec<Chunk> {
        self.commit().feed
    }

    /// As a part of their run.
    pub fn run_chunks(&self) -> Vec<Chunk> {
        self.commit().runs.pop().map(|run| run.chunks).unwrap_or_default()
    }
}

/// The columns of new events, in feed order.
#[derive(Default)]
pub struct EventColumns<'a> {
    run: Vec<i64>,
    seq: Vec<i64>,
    occurred_s: Vec<i64>,
    recorded_s: Vec<i64>,
    occurred_ns: Vec<i32>,
    recorded_ns: Vec<i32>,
    bytes: Vec<i32>,
    status: Vec<i16>,
    origin: Vec<i16>,
    given: Vec<bool>,
    sensitive: Vec<bool>,
    event_id: Vec<&'a str>,
    event_type: Vec<&'a str>,
    agent_name: Vec<Option<&'a str>>,
    payload: Vec<Json<&'a str>>,
    sent_seconds: Vec<Option<f64>>,
}

/// JSON as the text that it is.
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

/// `json` and `json[]`, <https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat>.
const JSON: Oid = Oid(114);
const JSON_ARRAY: Oid = Oid(199);

impl<T> Type<Postgres> for Json<T> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(JSON)
    }
}

impl<T> PgHasArrayType for Json<T> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(JSON_ARRAY)
    }
}

impl<T: AsRef<str>> Encode<'_, Postgres> for Json<T> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0.as_ref().as_bytes());
        Ok(IsNull::No)
    }
}

impl<'a> EventColumns<'a> {
    /// The columns of these runs' new events, and how they are laid out after position 0.
    pub fn of(runs: &'a [PlannedRun]) -> (Self, Laid) {
        let mut columns = Self::default();
        let mut layout = Layout::after(0);
        for (run, planned) in plan::in_feed_order(runs) {
            let event = &planned.event;
            let bytes = layout.add(run.head.number, event);
            columns.bytes.push(i32::try_from(bytes).unwrap_or(i32::MAX));
            columns.status.push(i16::from(planned.status as u8));
            columns.given.push(run.producer_ids.contains_key(&event.event_id));
            columns.push(run.head.number, event);
        }
        (columns, layout.finish())
    }

    fn push(&mut self, run: i64, event: &'a Event) {
        let (occurred_s, occurred_ns) = split(event.occurred_at);
        let (recorded_s, recorded_ns) = split(event.recorded_at);
        self.run.push(run);
        self.seq.push(event.seq.cast_signed());
        self.occurred_s.push(occurred_s);
        self.recorded_s.push(recorded_s);
        self.occurred_ns.push(occurred_ns);
        self.recorded_ns.push(recorded_ns);
        self.origin.push(match event.origin {
            Origin::System => 1,
            Origin::User => 2,
        });
        self.sensitive.push(event.payload.is_sensitive());
        self.event_id.push(event.event_id.as_str());
        self.event_type.push(event.event_type.as_str());
        self.agent_name.push(event.agent_name.as_ref().map(AgentName::as_str));
        self.payload.push(Json(event.payload.as_str()));
        self.sent_seconds.push(event.sent_seconds);
    }

    /// Gives them to `append_events`, in its order.
    pub fn bind<'q, O>(
        self,
        query: QueryScalar<'q, Postgres, O, PgArguments>,
    ) -> QueryScalar<'q, Postgres, O, PgArguments>
    where
        'a: 'q,
    {
        query
            .bind(self.run)
            .bind(self.seq)
            .bind(self.occurred_s)
            .bind(self.recorded_s)
            .bind(self.occurred_ns)
            .bind(self.recorded_ns)
            .bind(self.bytes)
            .bind(self.status)
            .bind(self.origin)
            .bind(self.given)
            .bind(self.sensitive)
            .bind(self.event_id)
            .bind(self.event_type)
            .bind(self.agent_name)
            .bind(self.payload)
            // Few producers send such times.
            .bind(self.sent_seconds.iter().any(Option::is_some).then_some(self.sent_seconds))
    }
}

/// Seconds rounded down, and the nanoseconds after them.
pub fn split(at: Timestamp) -> (i64, i32) {
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    if nanos < 0 { (seconds - 1, nanos + 1_000_000_000) } else { (seconds, nanos) }
}
