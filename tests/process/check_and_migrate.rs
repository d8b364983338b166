//! `check` and `migrate`: the state of a store before a server starts, and migrations.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::client;
use crate::cluster::Database;
use crate::command::{Ran, json_lines, run};
use crate::harness::{Data, Server};
use crate::transfer::NOWHERE;
use crate::transfer_refusals::with_trailer;

async fn sqlite(path: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn check(args: &[&str]) -> Ran {
    run(NOWHERE, &[&["check", "--json", "--listen", "127.0.0.1:0", "--max-connections", "10"], args].concat()).await
}

/// The findings of `check` by name; asserts the matching exit code.
async fn findings(args: &[&str]) -> BTreeMap<String, (String, String)> {
    let ran = check(args).await;
    let lines = json_lines(&ran.stdout);
    let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let found = lines.iter().map(|line| (text(line, "check"), (text(line, "result"), text(line, "detail"))));
    let found: BTreeMap<_, _> = found.collect();
    assert_eq!(found.len(), lines.len(), "each check once: {ran:?}");
    let fails = found.values().any(|(result, _)| result == "failed");
    assert_eq!(ran.code, Some(if fails { 78 } else { 0 }), "{ran:?}");
    found
}

/// Asserts this result of one check, with these words; all others are ok.
async fn only(args: &[&str], name: &str, result: &str, words: &[&str]) {
    let found = findings(args).await;
    for (check, (got, detail)) in &found {
        assert_eq!(got, if check == name { result } else { "ok" }, "{check}: {detail}");
    }
    let (_, detail) = found.get(name).unwrap_or_else(|| panic!("no {name} in {found:?}"));
    for word in words {
        assert!(detail.contains(word), "{word:?} in {detail:?}");
    }
}

/// A store with some events, closed.
async fn used(data: &Data) {
    let server = Server::start(&data.file()).await;
    client::publish_one(&mut server.events().await, "r", "run_start", "{}").await;
    client::publish_one(&mut server.events().await, "r", "step", "{}").await;
    server.terminate().await;
    server.ended().await;
}

/// Names and contents of a directory.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).unwrap())).collect()
}

#[tokio::test]
async fn check_finds_a_sound_store_in_order_and_changes_nothing() {
    let data = Data::new();
    let path = data.file();
    let file = ["--data", path.to_str().unwrap()];
    only(&file, "store", "ok", &["not there yet"]).await;
    assert!(contents(data.directory()).is_empty(), "nothing was made");
    used(&data).await;
    let before = contents(data.directory());
    only(&file, "integrity", "ok", &["2 events"]).await;
    only(&[&file[..], &["--deep"]].concat(), "integrity", "ok", &["2 events", "all of it"]).await;
    run(NOWHERE, &["migrate", "--dry-run", file[0], file[1]]).await.succeeds();
    assert_eq!(contents(data.directory()), before, "nothing was changed");
    // Also after a kill, with the write-ahead log beside the file.
    let server = Server::start(&path).await;
    client::publish_one(&mut server.events().await, "r", "step", "{}").await;
    server.kill().await;
    let without_index = |mut all: BTreeMap<String, Vec<u8>>| {
        // SQLite's own shared memory file, recreated after a crash.
        all.retain(|name, _| !name.ends_with("-shm"));
        all
    };
    let before = without_index(contents(data.directory()));
    only(&[&file[..], &["--deep"]].concat(), "integrity", "ok", &["3 events"]).await;
    assert_eq!(without_index(contents(data.directory())), before);
    // The text output, without `--json`.
    let text = run(NOWHERE, &["check", "--listen", "127.0.0.1:0", file[0], file[1]]).await.succeeds();
    assert!(text.lines().any(|line| line.starts_with("ok       schema         version 9")), "{text}");
}

#[tokio::test]
async fn check_says_what_would_keep_a_server_from_starting() {
    let data = Data::new();
    let path = data.file();
    let file = ["--data", path.to_str().unwrap()];
    let with = |more: &[&'static str]| [&file[..], more].concat();
    only(&with(&["--max-request-bytes", "2048"]), "configuration", "failed", &["--max-payload-bytes"]).await;
    only(&with(&["--log", "runlog=loud"]), "log", "failed", &["loud"]).await;
    let ran = run(NOWHERE, &["check", "--json", "--listen", "127.0.0.1:0", "--max-connections", "1000000"]).await;
    assert!(ran.stdout.contains("{\"check\":\"open-files\",\"result\":\"warning\""), "{ran:?}");
    let ran = run(NOWHERE, &["check", "--json", "--listen", "0.0.0.0:0", file[0], file[1]]).await;
    assert_eq!(ran.code, Some(78));
    assert!(ran.stdout.contains("--insecure-no-tls"), "{ran:?}");
    let insecure = ["check", "--json", "--insecure-no-tls", "--insecure-no-auth", file[0], file[1], "--listen"];
    let ran = run(NOWHERE, &[&insecure[..], &["0.0.0.0:0"]].concat()).await;
    assert_eq!(json_lines(&ran.stdout)[0]["result"], json!("warning"));
    ran.succeeds();
    let ran = run(NOWHERE, &[&insecure[..], &["203.0.113.1:1"]].concat()).await;
    assert_eq!((ran.code, &json_lines(&ran.stdout)[1]["result"]), (Some(78), &json!("failed")), "not ours: {ran:?}");
    run(NOWHERE, &["check", "--max-json-depth", "101"]).await.fails(64, &["--max-json-depth"]);

    let missing = data.directory().join("no").join("such.db");
    let found = findings(&["--data", missing.to_str().unwrap()]).await;
    assert!(found["store"].0 == "failed" && found["store"].1.contains("no"), "{found:?}");
    used(&data).await;
    let server = Server::start(&path).await;
    only(&file, "store", "warning", &["a server serves it now"]).await;
    let address = server.address.to_string();
    let ran = run(NOWHERE, &["check", "--json", "--listen", &address, file[0], file[1]]).await;
    assert!(ran.stdout.contains("{\"check\":\"listen\",\"result\":\"warning\""), "{ran:?}");
    let admin = ["check", "--json", "--listen", "127.0.0.1:0", "--admin-listen", &address, file[0], file[1]];
    let ran = run(NOWHERE, &admin).await;
    assert!(ran.stdout.contains("{\"check\":\"admin-listen\",\"result\":\"warning\""), "{ran:?}");
    server.terminate().await;
    server.ended().await;

    let other = Data::new();
    let theirs = other.file();
    std::fs::write(&theirs, "just a text, and longer than the header of a database file would be\n".repeat(40))
        .unwrap();
    only(&["--data", theirs.to_str().unwrap()], "schema", "failed", &["no runlog database"]).await;
    std::fs::remove_file(&theirs).unwrap();
    sqlite(&theirs, "CREATE TABLE theirs (x)").await;
    only(&["--data", theirs.to_str().unwrap()], "schema", "failed", &["another program"]).await;
    run(NOWHERE, &["migrate", "--data", theirs.to_str().unwrap()]).await.fails(78, &["another program"]);
}

#[tokio::test]
async fn check_finds_damage_and_a_clock_that_is_behind() {
    let data = Data::new();
    let path = data.file();
    let file = ["--data", path.to_str().unwrap()];
    used(&data).await;
    let copy = |name: &str| {
        let to = data.directory().join(name);
        std::fs::copy(&path, &to).unwrap();
        to
    };
    let gap = copy("gap.db");
    sqlite(&gap, "DELETE FROM log WHERE pos = 1").await;
    only(&["--data", gap.to_str().unwrap()], "integrity", "failed", &["damaged"]).await;
    // Damage in the flushed part is found only by a full read.
    let index = copy("index.db");
    sqlite(&index, "UPDATE store SET sealed_pos = 2, checksum = NULL").await;
    only(&["--data", index.to_str().unwrap()], "integrity", "ok", &[]).await;
    only(&["--data", index.to_str().unwrap(), "--deep"], "integrity", "failed", &["0 events of 2"]).await;
    // An event of the year 3000.
    let later = data.directory().join("later");
    run(NOWHERE, &["export", "-o", later.to_str().unwrap(), file[0], file[1]]).await.succeeds();
    let text = std::fs::read_to_string(&later).unwrap();
    let (head, last) = text.trim_end().rsplit_once("\"recorded_at\":\"2").unwrap();
    let changed: Vec<String> = format!("{head}\"recorded_at\":\"3{last}").lines().map(str::to_owned).collect();
    std::fs::write(&later, with_trailer(&changed).iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let future = data.directory().join("future.db");
    let into = ["--data", future.to_str().unwrap()];
    run(NOWHERE, &["import", later.to_str().unwrap(), into[0], into[1]]).await.succeeds();
    only(&into, "clock", "failed", &["behind the newest event"]).await;
}

#[tokio::test]
async fn check_and_migrate_know_older_and_newer_files() {
    let data = Data::new();
    let path = data.file();
    let file = ["--data", path.to_str().unwrap()];
    let dry = ["migrate", "--dry-run", file[0], file[1]];
    let pending = run(NOWHERE, &dry).await;
    assert_eq!(pending.code, Some(3), "{pending:?}");
    assert!(
        pending.stdout.contains(
            "pending  1  log\npending  2  id segments\npending  3  open questions\npending  4  checksums\n\
             pending  5  epochs\npending  6  keys\npending  7  secrets\n\
             pending  8  projects\npending  9  removals\nschema version 0, 9 is needed"
        ),
        "{pending:?}"
    );
    assert!(contents(data.directory()).is_empty());
    let done = run(NOWHERE, &["migrate", file[0], file[1]]).await.succeeds();
    assert_eq!(
        done,
        "applied  1  log\napplied  2  id segments\napplied  3  open questions\napplied  4  checksums\n\
         applied  5  epochs\napplied  6  keys\napplied  7  secrets\n\
         applied  8  projects\napplied  9  removals\nschema version 0 before, 9 now\n"
    );
    for args in [&["migrate", file[0], file[1]][..], &dry] {
        assert_eq!(run(NOWHERE, args).await.succeeds(), "schema version 9, up to date\n");
    }
    used(&data).await;
    let server = Server::start(&path).await;
    run(NOWHERE, &["migrate", file[0], file[1]]).await.fails(78, &["another runlog process"]);
    assert_eq!(run(NOWHERE, &dry).await.succeeds(), "schema version 9, up to date\n");
    server.terminate().await;
    server.ended().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', 1, x'00', 0)";
    sqlite(&path, newer).await;
    only(&file, "schema", "failed", &["9999", "newer"]).await;
    for args in [&["migrate", file[0], file[1]][..], &dry] {
        run(NOWHERE, args).await.fails(78, &["9999", "newer"]);
    }
    // A crash in the first start left only the table of the migrations.
    let early = data.directory().join("early.db");
    sqlite(
        &early,
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on \
                    TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, \
                    execution_time BIGINT NOT NULL)",
    )
    .await;
    only(&["--data", early.to_str().unwrap()], "schema", "ok", &["none yet"]).await;
    run(NOWHERE, &["migrate", "--data", early.to_str().unwrap()]).await.succeeds();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_database_is_migrated_and_checked_while_replicas_serve() {
    let Some(database) = Database::create().await else { return };
    let url = database.url();
    let store = ["--store", &url];
    let dry = ["migrate", "--dry-run", store[0], store[1]];
    only(&store, "schema", "ok", &["none yet"]).await;
    assert_eq!(run(NOWHERE, &dry).await.code, Some(3));
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let count: i64 = sqlx::query_scalar(tables).fetch_one(&mut database.connect().await).await.unwrap();
    assert_eq!(count, 0, "nothing was made");
    // Concurrent migrations: one of them migrates.
    let migrate = ["migrate", store[0], store[1]];
    let migrations = (0..4).map(|_| run(NOWHERE, &migrate));
    let printed = futures_util::future::join_all(migrations).await;
    let printed: Vec<String> = printed.into_iter().map(Ran::succeeds).collect();
    assert_eq!(printed.iter().filter(|text| text.contains("applied  1")).count(), 1, "{printed:?}");
    assert_eq!(
        printed.iter().filter(|text| text.as_str() == "schema version 11, up to date\n").count(),
        3,
        "{printed:?}"
    );

    let (one, two) = (Server::on(&url).await, Server::on(&url).await);
    assert_eq!(run(NOWHERE, &["migrate", store[0], store[1]]).await.succeeds(), "schema version 11, up to date\n");
    client::publish_one(&mut one.events().await, "r", "step", "{}").await;
    client::publish_one(&mut two.events().await, "r", "step", "{}").await;
    only(&store, "integrity", "ok", &["2 events"]).await;
    only(&[&store[..], &["--deep"]].concat(), "integrity", "ok", &["2 events", "counted"]).await;
    // A server whose clock is an hour late, as seen by this session.
    let late = "CREATE SCHEMA late; CREATE FUNCTION late.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
        'SELECT pg_catalog.clock_timestamp() - interval ''1 hour'''";
    database.execute(late).await;
    let late = format!("{url}?options=-csearch_path%3Dlate,pg_catalog");
    only(&["--store", &late], "server-clock", "failed", &["3600 s apart"]).await;
    only(&["--store", &late, "--max-clock-skew", "2h"], "server-clock", "ok", &["3600 s apart"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_what_keeps_a_replica_from_starting() {
    let Some(database) = Database::create().await else { return };
    let url = database.url();
    let store = ["--store", &url];
    only(&["--store", "postgres://u:secret@127.0.0.1:1/d"], "store", "failed", &["cannot be reached"]).await;
    let ran = check(&["--store", "postgres://u:secret@127.0.0.1:1/d"]).await;
    assert!(!ran.stdout.contains("secret") && !ran.stderr.contains("secret"), "{ran:?}");
    run(NOWHERE, &["migrate", store[0], store[1]]).await.succeeds();
    only(&[&store[..], &["--pg-pool-size", "999"]].concat(), "store", "warning", &["--pg-pool-size"]).await;

    let name = format!("poor_{}", database.name);
    database.execute(&format!("CREATE ROLE {name} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")).await;
    let poor = database.tcp_url(&name, database.cluster().port());
    only(&["--store", &poor], "rights", "failed", &["INSERT on events"]).await;

    let server = Server::on(&url).await;
    client::publish_one(&mut server.events().await, "r", "step", "{}").await;
    client::publish_one(&mut server.events().await, "r", "step", "{}").await;
    server.terminate().await;
    server.ended().await;
    database.execute("ALTER TABLE events DROP CONSTRAINT events_run_seq").await;
    only(&store, "integrity", "failed", &["events_run_seq"]).await;
    database.execute("ALTER TABLE events ADD CONSTRAINT events_run_seq UNIQUE (run, seq)").await;
    database.execute("DELETE FROM events WHERE seq = 1").await;
    only(&store, "integrity", "ok", &[]).await;
    only(&[&store[..], &["--deep"]].concat(), "integrity", "failed", &["1 positions"]).await;
    database.execute("UPDATE feed SET last_pos = 7").await;
    only(&store, "integrity", "failed", &["the feed ends at 7"]).await;
    database.execute("DELETE FROM feed").await;
    only(&store, "integrity", "failed", &["row of the feed"]).await;
    let later = "INSERT INTO _sqlx_migrations SELECT 7777, 'later', installed_on, success, checksum, 0 \
        FROM _sqlx_migrations LIMIT 1";
    database.execute(later).await;
    only(&store, "schema", "failed", &["7777", "newer"]).await;
    run(NOWHERE, &["migrate", store[0], store[1]]).await.fails(78, &["7777"]);
    let other = Database::create().await.unwrap();
    other.execute("CREATE TABLE events (text text)").await;
    only(&["--store", &other.url()], "schema", "failed", &["another program"]).await;
    run(NOWHERE, &["migrate", "--store", &other.url()]).await.fails(78, &["another program"]);
}
