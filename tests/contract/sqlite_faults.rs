//! Faults of a SQLite store: other owners, other files, damage, a full disk, a crash. Promises 1 and 8.

mod damage;
mod flips;
mod maintenance;
mod mount;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runlog::domain::{Error, Scope};
use runlog::store::sqlite::{OpenError, SqliteOptions, SqliteStore};
use runlog::store::{QueueOptions, RunQuery, SharedStore};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::fixture::*;
use mount::Mount;

async fn try_open(options: SqliteOptions) -> Result<SharedStore, OpenError> {
    Ok(Arc::new(SqliteStore::open(options, Arc::new(Recorder::default())).await?))
}

async fn refusal(path: impl Into<PathBuf>) -> OpenError {
    match try_open(SqliteOptions::new(path)).await {
        Ok(_) => panic!("the store opened"),
        Err(error) => error,
    }
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

async fn execute(path: &Path, sql: &'static str) {
    let mut connection = raw(path).await;
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_second_owner_is_refused_until_the_first_has_gone() {
    let fixture = SqliteFixture::here();
    let path = fixture.options(Tuning::default()).path;
    let store = fixture.opened().await;
    assert!(matches!(refusal(&path).await, OpenError::InUse { .. }));
    store.append(append("r", vec![event("x")])).await.unwrap();
    store.close().await;
    fixture.opened().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dropped_store_keeps_the_file_until_its_last_commit() {
    let fixture = SqliteFixture::here();
    let (store, recorder) = fixture.open(Tuning::default()).await;
    let held = recorder.hold(&store).await;
    let accepted = store.submit(append("r", vec![event("x")])).await.unwrap();
    drop(store);
    assert!(matches!(refusal(fixture.options(Tuning::default()).path).await, OpenError::InUse { .. }));
    drop(held);
    assert_eq!(accepted.stored().await.unwrap().last_seq, 1);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    let text = "these are notes and no database\n".repeat(1_000);
    fs::write(&path, &text).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = [
        "CREATE TABLE notes (text TEXT)",
        "CREATE TABLE log (text TEXT); CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
         installed_on TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT NOT NULL);
         INSERT INTO _sqlx_migrations VALUES (20240101, 'theirs', 0, 1, x'00', 0)",
    ];
    for (n, sql) in theirs.into_iter().enumerate() {
        let path = dir.path().join(format!("{n}.db"));
        execute(&path, sql).await;
        let before = fs::read(&path).unwrap();
        let error = refusal(&path).await;
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        assert!(fs::read(&path).unwrap() == before, "nothing was changed");
    }
}

#[tokio::test]
async fn an_empty_file_becomes_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("empty.db");
    fs::write(&path, "").unwrap();
    try_open(SqliteOptions::new(&path)).await.unwrap().close().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_name() {
    let fixture = SqliteFixture::here();
    let path = fixture.options(Tuning::default()).path;
    fixture.opened().await.close().await;
    execute(
        &path,
        "INSERT INTO _sqlx_migrations SELECT 7777, 'later', installed_on, success, checksum, 0 FROM _sqlx_migrations LIMIT 1",
    )
    .await;
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::NewerSchema { found: 7777, known: 9, .. }), "{error}");
    assert!(error.to_string().contains("newer"));
}

#[tokio::test]
async fn a_path_that_cannot_be_written_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("missing/log.db"), dir.path().to_owned()] {
        let error = refusal(&path).await;
        assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()));
    }
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = refusal(file.join("log.db")).await;
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
}

#[tokio::test]
async fn a_read_only_file_system_is_refused_by_name() {
    let Some(mount) = Mount::tmpfs("size=8m") else { return };
    let path = mount.path().join("log.db");
    let store = try_open(SqliteOptions::new(&path)).await.unwrap();
    store.append(append("r", vec![event("x")])).await.unwrap();
    store.close().await;
    drop(store);
    assert!(mount.remount("ro"));
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    assert!(mount.remount("rw"));
    let store = try_open(SqliteOptions::new(&path)).await.unwrap();
    assert_eq!(events(&store, &run("r")).await.len(), 1);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_refuses_appends_and_loses_nothing_and_recovers_by_itself() {
    let Some(mount) = Mount::tmpfs("size=4m") else { return };
    let ballast = mount.path().join("ballast");
    fs::write(&ballast, vec![1; 1_500_000]).unwrap();
    let options = SqliteOptions { max_unflushed_entries: 20, ..SqliteOptions::new(mount.path().join("log.db")) };
    let store = try_open(options.clone()).await.unwrap();
    let text = "x".repeat(20_000);
    let numbered = |n: usize| vec![with_id(&n.to_string(), event(&text)), event("small"), typed("run_start", "{}")];
    let mut acked = 0;
    let refused = loop {
        match store.append(append("r", numbered(acked))).await {
            Ok(appended) => acked = usize::try_from(appended.last_seq).unwrap() / 3,
            Err(error) => break error,
        }
        assert!(acked < 1_000, "the disk has an end");
    };
    assert_eq!(refused.reason(), "STORE_FULL");
    for _ in 0..5 {
        // Many concurrent appends, so that groups of several rows fail too.
        let large = || store.append(append("other", numbered(acked)));
        for outcome in <[_; 4]>::from(tokio::join!(large(), large(), large(), large())) {
            assert!(matches!(outcome, Err(Error::StoreFull)), "{outcome:?}");
        }
        assert_eq!(events(&store, &run("r")).await.len(), 3 * acked, "reads go on");
        assert_eq!(store.extent(&run("r")).await.unwrap().end.last, 3 * acked as u64);
        assert_eq!(events(&store, &Scope::Feed).await.len(), 3 * acked);
    }
    assert_eq!(reason(store.extent(&run("other")).await), "RUN_NOT_FOUND");
    fs::remove_file(&ballast).unwrap();
    let appended = store.append(append("r", numbered(acked))).await.unwrap();
    assert_eq!(appended.last_seq, 3 * (acked as u64 + 1), "gapless");
    assert!(store.append(append("r", vec![with_id("0", event(&text))])).await.unwrap().events[0].duplicate);
    let stored = events(&store, &run("r")).await;
    store.close().await;
    drop(store);
    let store = try_open(options).await.unwrap();
    assert_eq!(events(&store, &run("r")).await, stored);
    assert_eq!(all(&store, &Scope::Feed).await.len(), stored.len());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_planned_behind_a_commit_that_failed_is_refused_and_leaves_no_trace() {
    let fixture = SqliteFixture::here();
    // One append per commit, each large enough that the next append is planned meanwhile.
    let queue = QueueOptions { max_commit_events: 1, ..QueueOptions::default() };
    let options = SqliteOptions { queue, ..fixture.options(Tuning::default()) };
    let recorder = Arc::new(Recorder::default());
    let store: SharedStore = Arc::new(SqliteStore::open(options.clone(), recorder.clone()).await.unwrap());
    store.append(append("r", vec![event("first")])).await.unwrap();
    execute(
        &options.path,
        "CREATE TRIGGER fault BEFORE INSERT ON log WHEN instr(new.data, 'poison') \
         BEGIN SELECT RAISE(ABORT, 'it is poison'); END",
    )
    .await;
    const EVENTS: u64 = 300;
    let large = |name: &str, text: &str| {
        append("r", (0..EVENTS).map(|n| with_id(&format!("{name}-{n}"), event(text))).collect())
    };
    let (mut stored, mut in_vain) = (Vec::new(), 0);
    for round in 0..30 {
        let held = recorder.hold(&store).await;
        let poison = round % 3;
        let mut receipts = Vec::new();
        for n in 0..6 {
            let text = if n == poison { "poison".to_owned() } else { format!("{round}-{n}") };
            let receipt = store.submit(large(&format!("{round}-{n}"), &text)).await.unwrap();
            receipts.push((n, text, receipt));
        }
        drop(held);
        let mut refused = Vec::new();
        for (n, text, receipt) in receipts {
            match receipt.stored().await {
                Ok(appended) => {
                    assert_ne!(n, poison);
                    stored.push(text);
                    assert_eq!(appended.last_seq, 1 + EVENTS * stored.len() as u64, "gapless");
                }
                Err(_) if n == poison => {}
                Err(error) => {
                    assert_eq!((n, error.reason()), (poison + 1, "STORE_UNAVAILABLE"));
                    refused.push((n, text));
                }
            }
        }
        for (n, text) in refused {
            in_vain += 1;
            let appended = store.append(large(&format!("{round}-{n}"), &text)).await.unwrap();
            stored.push(text);
            assert_eq!(appended.last_seq, 1 + EVENTS * stored.len() as u64, "nothing of it was stored");
        }
    }
    assert!(in_vain > 0, "one was planned behind one that failed");
    let of_run = events(&store, &run("r")).await;
    let texts: Vec<&str> = of_run[1..].chunks(300).map(|events| events[0].payload.as_str()).collect();
    assert_eq!(texts, stored.iter().map(|text| format!(r#"{{"text":"{text}"}}"#)).collect::<Vec<_>>());
    store.close().await;
    drop(store);
    let store = try_open(options).await.unwrap();
    assert_eq!(events(&store, &run("r")).await, of_run);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_at_any_moment_keeps_all_that_was_acknowledged() {
    let fixture = SqliteFixture::here();
    let options = SqliteOptions { max_unflushed_entries: 7, ..fixture.options(Tuning::default()) };
    let store = try_open(options.clone()).await.unwrap();
    let mut pending = Vec::new();
    for round in 0..8 {
        for n in 0..round * 3 + 1 {
            let events = vec![with_id(&format!("{round}-{n}"), event("x")), event("y")];
            store.append(append(&format!("r{}", n % 3), events)).await.unwrap();
        }
        let acked = store.extent(&Scope::Feed).await.unwrap().end.last;
        // The files after a power loss: the unchanged database and a log that may be longer than the acknowledged part.
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("log.db");
        fs::copy(&options.path, &copy).unwrap();
        let wal = fs::read(options.path.with_extension("db-wal")).unwrap();
        fs::write(copy.with_extension("db-wal"), [&wal[..], &vec![0xa5; 777 * round]].concat()).unwrap();
        let recovered = try_open(SqliteOptions { path: copy, ..options.clone() }).await.unwrap();
        assert_eq!(all(&recovered, &Scope::Feed).await.len() as u64, acked);
        let total: u64 = recovered
            .runs(&RunQuery { limit: 9, ..RunQuery::default() })
            .await
            .unwrap()
            .runs
            .iter()
            .map(|run| run.last_seq)
            .sum();
        assert_eq!(total, acked, "the rows of the runs agree with the log");
        for name in ["r0", "r1", "r2"] {
            let (Ok(extent), here) = (recovered.extent(&run(name)).await, store.extent(&run(name)).await) else {
                continue;
            };
            assert_eq!(extent, here.unwrap());
            assert_eq!(events(&recovered, &run(name)).await, events(&store, &run(name)).await);
        }
        let again = recovered.append(append("r0", vec![with_id("0-0", event("x")), event("new")])).await.unwrap();
        assert_eq!(duplicates(&again), [true, false]);
        assert_eq!(recovered.extent(&Scope::Feed).await.unwrap().end.last, acked + 1);
        recovered.close().await;
        pending.push(dir);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_ahead_log_made_longer_ahead_of_commits_keeps_all_of_them_in_a_crash() {
    let fixture = SqliteFixture::here();
    let options = fixture.options(Tuning::default());
    let wal = options.path.with_extension("db-wal");
    let store = try_open(options.clone()).await.unwrap();
    let large = event(&"x".repeat(100_000));
    let (mut ahead, mut written) = (0, 0);
    // Long enough for a checkpoint and a restart of the log, so that old frames and zeros lie behind the new frames.
    for round in 0..12 {
        for _ in 0..round * 4 + 1 {
            store.append(append("r", vec![large.clone()])).await.unwrap();
            written += 100_000;
        }
        let length = fs::metadata(&wal).unwrap().len();
        ahead += usize::from(length > written + written / 4);
        let acked = store.extent(&Scope::Feed).await.unwrap().end.last;
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("log.db");
        fs::copy(&options.path, &copy).unwrap();
        fs::copy(&wal, copy.with_extension("db-wal")).unwrap();
        let recovered = try_open(SqliteOptions { path: copy, ..options.clone() }).await.unwrap();
        assert_eq!(all(&recovered, &Scope::Feed).await.len() as u64, acked);
        recovered.append(append("r", vec![event("more")])).await.unwrap();
        recovered.close().await;
    }
    assert!(ahead > 0, "the log was made longer");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_without_a_pause_do_not_let_the_write_ahead_log_grow_for_ever() {
    let fixture = SqliteFixture::new().await.unwrap();
    let path = fixture.options(Tuning::default()).path;
    let store = fixture.open(tuning(20)).await.0;
    let mut readers = [raw(&path).await, raw(&path).await];
    let overlapping = tokio::spawn(async move {
        // Read transactions overlap without a pause; each lasts as long as the read of a full page.
        for turn in 0.. {
            let (young, old) = (turn % 2, (turn + 1) % 2);
            sqlx::raw_sql("BEGIN; SELECT max(pos) FROM log").execute(&mut readers[young]).await.unwrap();
            if turn > 0 {
                let look = "SELECT count(*) FROM (SELECT data FROM log ORDER BY pos DESC LIMIT 2) \
                    WHERE instr(data, x'010203'); COMMIT";
                sqlx::raw_sql(look).execute(&mut readers[old]).await.unwrap();
            }
        }
    });
    let large = typed("t", &format!("\"{}\"", "x".repeat(1_000_000)));
    for _ in 0..240 {
        store.append(append("r", vec![large.clone()])).await.unwrap();
    }
    let wal = fs::metadata(path.with_extension("db-wal")).unwrap().len();
    assert!(wal < 150_000_000, "the write-ahead log has {wal} bytes");
    overlapping.abort();
    store.close().await;
}
