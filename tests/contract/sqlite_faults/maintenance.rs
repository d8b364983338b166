//! Maintenance that fails half-way, as on a full disk: SQLite rolls the transaction back. Commits go on meanwhile, and
//! maintenance resumes afterwards.

use std::path::{Path, PathBuf};
use std::time::Duration;

use runlog::domain::{Error, Scope};
use runlog::store::SharedStore;
use runlog::store::sqlite::SqliteOptions;

use super::{execute, raw, try_open};
use crate::fixture::*;

/// Most log entries outside of the indexes.
const UNFLUSHED: usize = 20;

/// Most unflushed events while maintenance works.
const BOUND: i64 = 40;

/// A store that flushes in slices of a few entries, with one run.
struct Faulty {
    store: SharedStore,
    options: SqliteOptions,
    appended: u64,
    _fixture: SqliteFixture,
}

impl Faulty {
    async fn open() -> Self {
        let fixture = SqliteFixture::here();
        let options =
            SqliteOptions { max_unflushed_entries: UNFLUSHED, slice_entries: 5, ..fixture.options(Tuning::default()) };
        Self { store: try_open(options.clone()).await.unwrap(), options, appended: 0, _fixture: fixture }
    }

    fn path(&self) -> &PathBuf {
        &self.options.path
    }

    async fn append(&mut self) -> Result<(), Error> {
        let id = format!("id-{}", self.appended + 1);
        let appended = self.store.append(append("r", vec![with_id(&id, event("x"))])).await?;
        self.appended += 1;
        assert_eq!((appended.last_seq, appended.events[0].duplicate), (self.appended, false), "gapless");
        Ok(())
    }

    /// Appends until the query's result satisfies the condition.
    async fn append_until(&mut self, what: &str, sql: &'static str, is_so: impl Fn(i64) -> bool) {
        let appends = async {
            while !is_so(number(self.path(), sql).await) {
                self.append().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), appends).await.unwrap_or_else(|_| panic!("{what}"));
    }

    /// All events are readable, after a crash at this moment too, and a retry finds all of them as duplicates.
    async fn is_whole(&self) {
        assert_eq!(events(&self.store, &run("r")).await.len() as u64, self.appended);
        assert_eq!(all(&self.store, &Scope::Feed).await.len() as u64, self.appended);
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("log.db");
        std::fs::copy(self.path(), &copy).unwrap();
        std::fs::copy(self.path().with_extension("db-wal"), copy.with_extension("db-wal")).unwrap();
        let recovered = try_open(SqliteOptions { path: copy, ..self.options.clone() }).await.unwrap();
        assert_eq!(events(&recovered, &run("r")).await, events(&self.store, &run("r")).await);
        for store in [&recovered, &self.store] {
            let again = (1..=self.appended).map(|n| with_id(&format!("id-{n}"), event("x"))).collect();
            let again = store.append(append("r", again)).await.unwrap();
            assert!(duplicates(&again).into_iter().all(|duplicate| duplicate), "every id is known");
        }
        recovered.close().await;
    }
}

async fn number(path: &Path, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&mut raw(path).await).await.unwrap()
}

const UNFLUSHED_EVENTS: &str = "SELECT (SELECT max(pos) FROM log) - sealed_pos FROM store";
const LIVE: &str = "SELECT count(*) FROM id_segments WHERE live";
const DEAD: &str = "SELECT count(*) FROM id_segments WHERE NOT live";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flush_that_sqlite_rolled_back_resumes_with_the_commits_after_the_fault() {
    let mut faulty = Faulty::open().await;
    // The fault strikes in the third slice.
    execute(
        faulty.path(),
        "CREATE TRIGGER fault BEFORE INSERT ON run_index WHEN new.seq >= 12 BEGIN SELECT RAISE(ROLLBACK, 'fault'); END",
    )
    .await;
    for _ in 0..100 {
        faulty.append().await.unwrap();
    }
    assert_eq!(number(faulty.path(), UNFLUSHED_EVENTS).await, 100, "nothing is flushed");
    assert_eq!(number(faulty.path(), "SELECT max(seq) FROM run_index").await, 10, "two slices are written");
    faulty.is_whole().await;
    execute(faulty.path(), "DROP TRIGGER fault").await;
    let is_bounded = |unflushed| unflushed <= BOUND;
    faulty.append_until("flushes go on", UNFLUSHED_EVENTS, is_bounded).await;
    for _ in 0..100 {
        faulty.append().await.unwrap();
        assert!(is_bounded(number(faulty.path(), UNFLUSHED_EVENTS).await), "the unflushed end is as short as before");
    }
    faulty.is_whole().await;
    faulty.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_block_of_ids_that_could_not_be_written_is_written_after_the_fault() {
    let mut faulty = Faulty::open().await;
    execute(
        faulty.path(),
        "CREATE TRIGGER fault BEFORE INSERT ON id_filters BEGIN SELECT RAISE(ROLLBACK, 'fault'); END",
    )
    .await;
    for _ in 0..60 {
        faulty.append().await.unwrap();
    }
    assert_eq!(number(faulty.path(), LIVE).await, 0);
    execute(faulty.path(), "DROP TRIGGER fault").await;
    faulty.append_until("a segment is complete", LIVE, |live| live > 0).await;
    faulty.is_whole().await;
    faulty.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_compaction_that_sqlite_rolled_back_resumes_after_the_fault_and_delays_no_flush() {
    let mut faulty = Faulty::open().await;
    execute(
        faulty.path(),
        "CREATE TRIGGER fault BEFORE UPDATE ON id_segments WHEN NOT new.live BEGIN SELECT RAISE(ROLLBACK, 'fault'); END",
    )
    .await;
    faulty.append_until("flushes go on", LIVE, |live| live >= 8).await;
    assert!(number(faulty.path(), UNFLUSHED_EVENTS).await <= BOUND);
    faulty.is_whole().await;
    execute(faulty.path(), "DROP TRIGGER fault").await;
    faulty.append_until("compactions go on", LIVE, |live| live <= 4).await;
    faulty.is_whole().await;
    faulty.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_removal_that_sqlite_rolled_back_resumes_after_the_fault() {
    let mut faulty = Faulty::open().await;
    execute(
        faulty.path(),
        "CREATE TRIGGER fault BEFORE DELETE ON id_blocks BEGIN SELECT RAISE(ROLLBACK, 'fault'); END",
    )
    .await;
    faulty.append_until("there is something to remove", DEAD, |dead| dead >= 4).await;
    for _ in 0..20 {
        faulty.append().await.unwrap();
    }
    faulty.is_whole().await;
    execute(faulty.path(), "DROP TRIGGER fault").await;
    faulty.append_until("all is removed", DEAD, |dead| dead == 0).await;
    faulty.is_whole().await;
    faulty.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_flushes_fail_for_good_the_unflushed_end_is_bounded_and_reads_work() {
    let mut faulty = Faulty::open().await;
    execute(
        faulty.path(),
        "CREATE TRIGGER fault BEFORE INSERT ON run_index BEGIN SELECT RAISE(ROLLBACK, 'fault'); END",
    )
    .await;
    let refused = loop {
        if let Err(error) = faulty.append().await {
            break error;
        }
        assert!(faulty.appended <= 17 * UNFLUSHED as u64, "there is a bound");
    };
    assert_eq!(refused.reason(), "STORE_UNAVAILABLE");
    assert!(faulty.appended >= 15 * UNFLUSHED as u64, "{} events", faulty.appended);
    assert_eq!(events(&faulty.store, &run("r")).await.len() as u64, faulty.appended);
    execute(faulty.path(), "DROP TRIGGER fault").await;
    let stored = async { while faulty.append().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(60), stored).await.expect("publishing goes on");
    faulty.is_whole().await;
    faulty.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_commit_that_failed_nothing_stays_in_memory() {
    let fixture = SqliteFixture::here();
    let store = fixture.opened().await;
    let path = fixture.options(Tuning::default()).path;
    store.append(append("r", vec![with_id("first", event("x"))])).await.unwrap();
    execute(&path, "CREATE TRIGGER fault BEFORE INSERT ON log BEGIN SELECT RAISE(ROLLBACK, 'fault'); END").await;
    let events_of = |n: u64| vec![with_id(&format!("id-{n}"), event("x")), with_id("same", event("x")), event("y")];
    for n in 0..3 {
        assert!(store.append(append("r", events_of(n))).await.is_err());
        assert!(store.append(append("new", events_of(n))).await.is_err());
        assert_eq!(store.extent(&run("r")).await.unwrap().end.last, 1);
        assert_eq!(reason(store.extent(&run("new")).await), "RUN_NOT_FOUND");
    }
    execute(&path, "DROP TRIGGER fault").await;
    for (name, last_seq) in [("r", 4), ("new", 3)] {
        let appended = store.append(append(name, events_of(0))).await.unwrap();
        assert_eq!((appended.last_seq, duplicates(&appended)), (last_seq, vec![false; 3]));
    }
    let again = vec![with_id("first", event("x")), with_id("same", event("x"))];
    assert_eq!(duplicates(&store.append(append("r", again)).await.unwrap()), [true, true]);
    store.close().await;
}
