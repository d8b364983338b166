//! Stored events with any ids, as an earlier version or an import may have stored.

use std::path::Path;
use std::sync::Arc;

use runlog::domain::{EventId, EventType, Limits, NewEvent, Payload, RunId};
use runlog::service::live::hub::{Hub, WindowLimits};
use runlog::store::sqlite::{SqliteOptions, SqliteStore};
use runlog::store::{Append, Store};
use sqlx::{Connection, SqliteConnection};

/// Creates a database file with these events, then changes it by this SQL. Each event is a run, a type, an id and a
/// payload.
pub async fn write(file: &Path, events: &[(&str, &str, &str, &str)], sql: &str) {
    let options = SqliteOptions::new(file);
    let store = SqliteStore::open(options, Arc::new(Hub::new(WindowLimits::default()))).await.unwrap();
    for (run, event_type, id, payload) in events {
        let event_type = EventType::parse(event_type).unwrap();
        let payload = Payload::parse(&event_type, *payload, &Limits::default()).unwrap();
        let event = NewEvent { event_id: Some(EventId::parse(id).unwrap()), ..NewEvent::new(event_type, payload) };
        store.append(Append::new(RunId::parse(run).unwrap(), vec![event])).await.unwrap();
    }
    store.close().await;
    drop(store);
    let url = format!("sqlite:{}", file.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
