//! Rows of events that lose their payload, or get another one.

use crate::domain::Removal;
use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::error::Fault;
use crate::store::postgres::event_columns::Json;
use crate::store::postgres::event_row::{EventRow, Rewritten, event_columns};

use super::state::State;

/// The rows at these positions.
pub async fn rows(connection: &mut PgExecutor<'_>, positions: &[i64]) -> Result<Vec<EventRow>, Fault> {
    const AT: &str = concat!(
        "SELECT ",
        event_columns!("e.payload::text"),
        " FROM events e JOIN runs r ON r.run = e.run WHERE e.pos = ANY($1)"
    );
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as(AT).bind(positions).fetch_all(connection).await?)
}

/// The changes of `events` by one transaction.
#[derive(Default)]
pub struct Rewrites {
    pos: Vec<i64>,
    removal: Vec<Option<i16>>,
    joined_from: Vec<Option<i64>>,
    given: Vec<bool>,
    sensitive: Vec<bool>,
    bytes: Vec<i32>,
    checksum: Vec<Option<i64>>,
    payload: Vec<Json<String>>,
}

impl Rewrites {
    /// Adds a row without its payload, see [`EventRow::stub`].
    pub fn remove(&mut self, row: EventRow, removal: Removal, keeps_id: bool, state: &mut State) {
        self.add(row.stub(removal, keeps_id), state);
    }

    /// Adds a row.
    pub fn add(&mut self, row: Rewritten, state: &mut State) {
        state.uncount(row.pos, i64::from(row.was_bytes) - i64::from(row.bytes));
        self.pos.push(row.pos);
        self.removal.push(row.removal);
        self.joined_from.push(row.joined_from);
        self.given.push(row.given);
        self.sensitive.push(row.sensitive);
        self.bytes.push(row.bytes);
        self.checksum.push(row.checksum);
        self.payload.push(Json(row.payload.as_str().to_owned()));
    }

    /// Whether no row changes.
    pub fn is_empty(&self) -> bool {
        self.pos.is_empty()
    }

    /// Writes the rows.
    pub async fn write(self, connection: &mut PgExecutor<'_>) -> Result<(), Fault> {
        const WRITE: &str = "UPDATE events e SET payload = w.payload, sensitive = w.sensitive, removal = w.removal, \
            joined_from = w.joined_from, given = w.given, bytes = w.bytes, checksum = w.checksum FROM (SELECT unnest($1::bigint[]) AS pos, \
            unnest($2::smallint[]) AS removal, unnest($3::boolean[]) AS given, unnest($4::boolean[]) AS sensitive, \
            unnest($5::integer[]) AS bytes, unnest($6::bigint[]) AS checksum, unnest($7::json[]) AS payload, \
            unnest($8::bigint[]) AS joined_from) w \
            WHERE e.pos = w.pos";
        if !self.is_empty() {
            let write = sqlx::query(WRITE).bind(self.pos).bind(self.removal).bind(self.given).bind(self.sensitive);
            let write = write.bind(self.bytes).bind(self.checksum).bind(self.payload).bind(self.joined_from);
            write.execute(connection).await?;
        }
        Ok(())
    }
}
