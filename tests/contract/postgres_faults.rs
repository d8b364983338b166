//! The errors for a database that cannot be used, and several stores on one database.

use std::sync::Arc;
use std::time::Duration;

use runlog::domain::Scope;
use runlog::store::postgres::{OpenError, PostgresOptions, PostgresStore};
use runlog::store::{Commit, CommitListener, SharedStore, Store};
use tokio::net::TcpListener;

use crate::cluster::Database;
use crate::fixture::*;

struct Deaf;

impl CommitListener for Deaf {
    fn committed(&self, _: Commit) {}
}

fn impatient(url: impl Into<String>) -> PostgresOptions {
    let short = Duration::from_millis(300);
    PostgresOptions { connect_timeout: short, retry: short, pool_size: 2, ..PostgresOptions::new(url) }
}

/// The error of a failed open. No error may contain the password.
async fn refusal(url: &str) -> OpenError {
    let error = PostgresStore::open(impatient(url), Arc::new(Deaf)).await.err().expect("a refusal");
    // The table `secrets` may be named.
    assert!(!format!("{error} {error:?}").replace("on secrets", "").contains("secret"), "{error:?}");
    error
}

async fn opened(url: &str) -> SharedStore {
    Arc::new(PostgresStore::open(impatient(url), Arc::new(Deaf)).await.unwrap())
}

#[tokio::test]
async fn what_is_no_url_is_refused_by_name() {
    for url in ["postgres://u:secret@h:notaport/d", "postgres://u:secret@h/d?sslmode=secret", "postgres://u:secret@[/d"]
    {
        assert!(matches!(refusal(url).await, OpenError::Url { .. }), "{url}");
    }
}

#[tokio::test]
async fn nobody_there_is_refused_by_name() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = refusal(&format!("postgres://u:secret@127.0.0.1:{port}/d")).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    // A server that accepts connections and does not answer.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = refusal(&format!("postgres://u:secret@127.0.0.1:{port}/d")).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn failed_logins_are_refused_by_name() {
    let Some(database) = Database::create().await else { return };
    database.execute("CREATE ROLE locked LOGIN PASSWORD 'other'").await;
    let port = database.cluster().port();
    let error = refusal(&database.tcp_url("locked:secret", port)).await;
    assert!(matches!(&error, OpenError::Authentication { user, .. } if user == "locked"), "{error}");
    let error = refusal(&database.cluster().url("missing")).await;
    assert!(matches!(error, OpenError::NoDatabase { .. }), "{error}");
    let error = refusal(&(database.tcp_url("postgres", port) + "?sslmode=require")).await;
    assert!(matches!(error, OpenError::Tls { .. }), "{error}");
}

#[tokio::test]
async fn missing_privileges_are_refused_by_name() {
    let Some(database) = Database::create().await else { return };
    let name = format!("poor_{}", database.name);
    database.execute(&format!("CREATE ROLE {name} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")).await;
    let url = database.tcp_url(&name, database.cluster().port());
    let error = refusal(&url).await;
    assert!(matches!(&error, OpenError::Rights { user, .. } if *user == name), "{error}");
    opened(&database.url()).await.close().await;
    database.execute(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")).await;
    let error = refusal(&url).await;
    assert!(error.to_string().contains("INSERT on events") && error.to_string().contains(&name), "{error}");
    // The owner of the tables and the user of the store may be different roles.
    let enough =
        format!("GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {name}; GRANT USAGE ON run_numbers TO {name}");
    database.execute(&enough.replace("USAGE ON", "USAGE ON SEQUENCE")).await;
    let error = refusal(&url).await;
    assert!(
        error.to_string().contains("it needs DELETE on run_documents, DELETE on events, DELETE on replicas"),
        "{error}"
    );
    database.execute(&format!("GRANT DELETE ON run_documents, events, replicas TO {name}")).await;
    let store = opened(&url).await;
    store.append(append("r", vec![typed("run_end", r#"{"output":1}"#)])).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_not_changed() {
    let Some(database) = Database::create().await else { return };
    database.execute("CREATE TABLE events (text text)").await;
    let error = refusal(&database.url()).await;
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        .fetch_one(&mut database.connect().await)
        .await
        .unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_name() {
    let Some(database) = Database::create().await else { return };
    opened(&database.url()).await.close().await;
    let later = "INSERT INTO _sqlx_migrations SELECT 7777, 'later', installed_on, success, checksum, 0 FROM _sqlx_migrations LIMIT 1";
    database.execute(later).await;
    let error = refusal(&database.url()).await;
    assert!(matches!(error, OpenError::NewerSchema { found: 7777, known: 11, .. }), "{error}");
}

#[tokio::test]
async fn a_changed_migration_is_refused_by_name_and_nothing_is_changed() {
    let Some(database) = Database::create().await else { return };
    opened(&database.url()).await.close().await;
    database.execute("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 2").await;
    let error = refusal(&database.url()).await;
    assert!(matches!(error, OpenError::ChangedMigration { version: 2, .. }), "{error}");
    // The check comes first also with pending migrations.
    database.execute("DELETE FROM _sqlx_migrations WHERE version > 3").await;
    let error = refusal(&database.url()).await;
    assert!(matches!(error, OpenError::ChangedMigration { version: 2, .. }), "{error}");
    assert!(error.to_string().contains("migration 2"), "{error}");
}

#[tokio::test]
async fn a_server_that_only_reads_and_another_encoding_are_refused_by_name() {
    let Some(database) = Database::create().await else { return };
    let name = database.name.clone();
    database.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    assert!(matches!(refusal(&database.url()).await, OpenError::ReadOnly { .. }));
    let latin = format!("CREATE DATABASE latin_{name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    database.cluster().execute(&latin).await;
    let error = refusal(&database.cluster().url(&format!("latin_{name}"))).await;
    assert!(matches!(&error, OpenError::Encoding { found, .. } if found == "LATIN1"), "{error}");
}

#[tokio::test]
async fn an_acknowledgement_is_durable_whatever_the_database_is_set_to() {
    let Some(database) = Database::create().await else { return };
    let name = &database.name;
    database.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    database.execute(&format!("ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")).await;
    // Records the settings in force for each insert.
    let spy = "CREATE TABLE spied (mode text); CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN INSERT INTO spied VALUES (current_setting(''synchronous_commit'') || '' '' || current_setting(''transaction_isolation'')); RETURN NULL; END'; \
        CREATE TRIGGER spy AFTER INSERT ON events EXECUTE FUNCTION spy()";
    for notify in [true, false] {
        let store =
            PostgresStore::open(PostgresOptions { notify, ..impatient(database.url()) }, Arc::new(Deaf)).await.unwrap();
        if notify {
            database.execute(spy).await;
        }
        store.append(append("r", vec![event("x")])).await.unwrap();
        store.close().await;
    }
    let modes: Vec<String> =
        sqlx::query_scalar("SELECT mode FROM spied").fetch_all(&mut database.connect().await).await.unwrap();
    assert_eq!(modes, ["on read committed", "on read committed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_replicas_that_start_at_once_make_one_schema() {
    let Some(database) = Database::create().await else { return };
    let stores = (0..6).map(|_| PostgresStore::open(PostgresOptions::new(database.url()), Arc::new(Deaf)));
    let stores = futures_util::future::join_all(stores).await;
    let ids: Vec<_> = stores.iter().map(|store| store.as_ref().unwrap().history().feed).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "they share one feed");
    for store in stores {
        store.unwrap().close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_replica_announces_every_commit_in_feed_order() {
    for notify in [true, false] {
        let Some(database) = Database::create().await else { return };
        let mut replicas = Vec::new();
        for _ in 0..3 {
            let recorder = Arc::new(Recorder::default());
            let poll = Duration::from_millis(if notify { 60_000 } else { 20 });
            let options = PostgresOptions { notify, poll, pool_size: 2, ..PostgresOptions::new(database.url()) };
            replicas.push((PostgresStore::open(options, recorder.clone()).await.unwrap(), recorder));
        }
        let writers = replicas.iter().enumerate().map(async |(writer, (store, _))| {
            for n in 0..60 {
                let batch = vec![with_id(&format!("{writer}-{n}"), event("x")), typed("run_start", "{}")];
                store.append(append(&format!("r{}", n % 3), batch)).await.unwrap();
            }
        });
        futures_util::future::join_all(writers).await;
        let last = replicas[0].0.extent(&Scope::Feed).await.unwrap().end.last;
        assert_eq!(last, 360);
        for (store, recorder) in &replicas {
            recorder.announced_up_to(last).await;
            let announced: Vec<u64> = recorder
                .commits()
                .iter()
                .flat_map(|commit| commit.feed.clone())
                .flat_map(|chunk| chunk.first..=chunk.last())
                .collect();
            assert!(announced.iter().copied().eq(1..=last), "every position once and in order");
            for commit in recorder.commits() {
                for run in commit.runs {
                    assert_eq!(run.chunks.last().unwrap().last(), run.scope_end.last);
                }
            }
            store.close().await;
        }
    }
}
