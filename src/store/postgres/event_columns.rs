//! Column arrays of new events: the parameters of the function `append_events`.

use jiff::Timestamp;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgTypeInfo};
use sqlx::query::QueryScalar;
use sqlx::{Encode, Postgres, Type};

use crate::domain::{AgentName, Event, Origin, Result};
use crate::store::ProjectNumber;
use crate::store::commit::plan;
use crate::store::commit::plan::PlannedRun;
use crate::store::commit::row_builder::{EncodedCommit, RowBuilder};
use crate::store::project::stored_run_id;

use super::row_checksum::Checked;

/// One array for each column of `events`, in feed order.
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
    checksum: Vec<i64>,
}

/// A JSON text bound as `json` without parsing.
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

/// OIDs of `json` and `json[]`, <https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat>.
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
    /// The columns of the new events, and the events encoded after position 0 of their project.
    pub fn of(runs: &'a [PlannedRun]) -> (Self, EncodedCommit) {
        let mut columns = Self::default();
        let mut builder = RowBuilder::after(|project| project.pos(0));
        for (run, planned) in plan::in_feed_order(runs) {
            let event = &planned.event;
            let bytes = i32::try_from(builder.add(run.head.number, event)).unwrap_or(i32::MAX);
            let given = run.producer_ids.contains_key(&event.event_id);
            columns.push(run.head.number, event, i16::from(planned.status as u8), given, bytes);
        }
        (columns, builder.finish())
    }

    fn push(&mut self, run: i64, event: &'a Event, status: i16, given: bool, bytes: i32) {
        let origin = match event.origin {
            Origin::System => 1,
            Origin::User => 2,
        };
        let run_id = stored_run_id(ProjectNumber::of_run(run), event.run_id.as_str());
        let columns = Checked {
            run,
            run_id: &run_id,
            seq: event.seq.cast_signed(),
            event_id: event.event_id.as_str(),
            event_type: event.event_type.as_str(),
            small: [origin, status],
            times: [split(event.occurred_at), split(event.recorded_at)],
            sent_seconds: event.sent_seconds,
            agent_name: event.agent_name.as_ref().map(AgentName::as_str),
            flags: [event.payload.is_sensitive(), given],
            removal: event.removal.map_or(0, |removal| removal as i16),
            joined_from: event.joined_from.map(u64::cast_signed),
            bytes,
            payload: event.payload.as_str(),
        };
        self.checksum.push(columns.checksum());
        self.run.push(run);
        self.seq.push(columns.seq);
        self.occurred_s.push(columns.times[0].0);
        self.recorded_s.push(columns.times[1].0);
        self.occurred_ns.push(columns.times[0].1);
        self.recorded_ns.push(columns.times[1].1);
        self.bytes.push(bytes);
        self.status.push(status);
        self.origin.push(origin);
        self.given.push(given);
        self.sensitive.push(event.payload.is_sensitive());
        self.event_id.push(event.event_id.as_str());
        self.event_type.push(event.event_type.as_str());
        self.agent_name.push(event.agent_name.as_ref().map(AgentName::as_str));
        self.payload.push(Json(event.payload.as_str()));
        self.sent_seconds.push(event.sent_seconds);
    }

    /// Binds the arrays in the parameter order of `append_events`.
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
            // Few producers send `sent_seconds`; an array without values is bound as NULL.
            .bind(self.sent_seconds.iter().any(Option::is_some).then_some(self.sent_seconds))
            .bind(self.checksum)
    }
}

/// Seconds rounded down, and the remaining nanoseconds (0 to 999,999,999).
pub fn split(at: Timestamp) -> (i64, i32) {
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    if nanos < 0 { (seconds - 1, nanos + 1_000_000_000) } else { (seconds, nanos) }
}
