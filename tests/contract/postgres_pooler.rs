//! PostgreSQL behind a pooler in transaction mode. The contract suite runs there too; these tests cover the faults that
//! only a pooler can cause.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use runlog::domain::Scope;
use runlog::store::inspect::{CheckOptions, Verdict};
use runlog::store::postgres::{PostgresStore, inspect};
use runlog::store::{RunQuery, Store};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, Row};

use crate::fixture::*;
use crate::pooler::SHARED_CONNECTIONS;

async fn replica(fixture: &PoolerFixture) -> (PostgresStore, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    (PostgresStore::open(fixture.options(Tuning::default()), recorder.clone()).await.unwrap(), recorder)
}

#[tokio::test]
async fn an_acknowledgement_behind_a_pooler_is_durable_whatever_the_database_is_set_to() {
    let Some(fixture) = PoolerFixture::new().await else { return };
    let (name, database) = (&fixture.database.name, &fixture.database);
    database.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    database.execute(&format!("ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")).await;
    let (store, _) = replica(&fixture).await;
    // Records the settings in force for each insert.
    let spy = "CREATE TABLE spied (mode text); CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN INSERT INTO spied SELECT string_agg(setting, '' '' ORDER BY name) FROM pg_settings WHERE name IN \
        (''synchronous_commit'', ''transaction_isolation'', ''statement_timeout''); RETURN NULL; END'; \
        CREATE TRIGGER spy AFTER INSERT ON events EXECUTE FUNCTION spy()";
    database.execute(spy).await;
    for _ in 0..4 {
        store.append(append("r", vec![event("x")])).await.unwrap();
        store.append(append("other", vec![event("x")])).await.unwrap();
    }
    store.close().await;
    let modes: Vec<String> =
        sqlx::query_scalar("SELECT mode FROM spied").fetch_all(&mut database.connect().await).await.unwrap();
    assert_eq!(modes, ["10000 on read committed"; 8]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_left_on_the_connections_that_a_pooler_shares() {
    let Some(fixture) = PoolerFixture::new().await else { return };
    let options = fixture.options(Tuning::default());
    inspect::migrate(&options).await.unwrap();
    assert!(inspect::schema(&options).await.unwrap().pending.is_empty());
    let (store, _) = replica(&fixture).await;
    let used = (0..20).map(async |n| {
        let run = format!("r{}", n % 3);
        store.append(append(&run, vec![with_id(&format!("e{n}"), event("x"))])).await.unwrap();
        let page = store.read(&Scope::Feed, ascending(0, 500)).await.unwrap();
        assert!(!page.chunks.is_empty());
        store.runs(&RunQuery { limit: 10, ..RunQuery::default() }).await.unwrap();
        assert_eq!(reason(store.run(&run_id("nobody")).await), "RUN_NOT_FOUND");
        store.find_event(None, &runlog::domain::EventId::parse(&format!("e{n}")).unwrap()).await.unwrap();
        store.ready().await.unwrap();
    });
    futures_util::future::join_all(used).await;
    let look = CheckOptions { deep: true, max_clock_skew: Duration::from_secs(60) };
    let findings = inspect::look(&options, look).await;
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Ok), "{findings:?}");
    store.close().await;

    let of_server = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut direct = fixture.database.connect().await;
    let shared: Vec<i32> = sqlx::query_scalar(of_server).fetch_all(&mut direct).await.unwrap();
    assert!(shared.len() > 1, "clients came together");
    // Concurrent transactions together use all server connections.
    let mut looked_at = Vec::new();
    let mut open = Vec::new();
    for _ in 0..SHARED_CONNECTIONS {
        const LEFT: &str = "SELECT pg_backend_pid() AS pid, concat_ws(', ', (SELECT string_agg(statement, ';') \
            FROM pg_prepared_statements), (SELECT string_agg(name || '=' || setting, ' ') FROM pg_settings \
            WHERE source = 'session' AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', \
            'standard_conforming_strings')), (SELECT string_agg(c, ' ') FROM pg_listening_channels() c), \
            (SELECT string_agg(l.mode, ' ') FROM pg_locks l WHERE l.locktype = 'advisory' \
            AND l.pid = pg_backend_pid())) AS what";
        let url = PgConnectOptions::from_str(&options.url).unwrap().extra_float_digits(None);
        let mut connection = PgConnection::connect_with(&url).await.unwrap();
        sqlx::raw_sql("BEGIN").execute(&mut connection).await.unwrap();
        let row = sqlx::raw_sql(LEFT).fetch_one(&mut connection).await.unwrap();
        assert_eq!(row.get::<String, _>("what"), "");
        looked_at.push(row.get::<i32, _>("pid"));
        open.push(connection);
    }
    assert!(shared.iter().all(|pid| looked_at.contains(pid)), "{shared:?} {looked_at:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_behind_a_pooler_make_one_schema_and_announce_each_others_events() {
    let Some(fixture) = PoolerFixture::new().await else { return };
    let replicas = futures_util::future::join_all((0..4).map(|_| replica(&fixture))).await;
    let writers = replicas.iter().enumerate().map(async |(writer, (store, _))| {
        for n in 0..30 {
            let batch = vec![with_id(&format!("{writer}-{n}"), event("x")), typed("run_start", "{}")];
            store.append(append(&format!("r{}", n % 3), batch)).await.unwrap();
        }
    });
    futures_util::future::join_all(writers).await;
    for (store, recorder) in &replicas {
        recorder.announced_up_to(240).await;
        let commits = recorder.commits();
        let announced = commits.iter().flat_map(|commit| &commit.feed).flat_map(|chunk| chunk.first..=chunk.last());
        assert!(announced.eq(1..=240), "every position once and in order");
        store.close().await;
    }
}
