//! Promises 3 and 8 for in-doubt commits: an unresolved commit is answered with `OUTCOME_UNKNOWN`, is not retried by
//! the store, and a retry with the same ids finds the outcome.

mod others;
mod removed;

use std::sync::Arc;
use std::time::Duration;

use runlog::domain::event::Appended;
use runlog::domain::{Error, Scope};
use runlog::store::postgres::{OpenError, PostgresOptions, PostgresStore};
use runlog::store::{Append, Receipt, SharedStore};
use sqlx::Connection;

use crate::cluster::Database;
use crate::fixture::*;
use crate::postgres_fast_path::SPY;
use crate::proxy::{AtCommit, Mode, Proxy};

/// Guard against a test that hangs.
const GUARD: Duration = Duration::from_secs(60);

/// A store behind a proxy, with direct access to the database.
struct Fixture {
    database: Database,
    proxy: Proxy,
    store: SharedStore,
    recorder: Arc<Recorder>,
}

impl Fixture {
    async fn new(change: impl FnOnce(&mut PostgresOptions)) -> Option<Self> {
        let database = Database::create().await?;
        let proxy = Proxy::start(database.cluster().port()).await;
        let mut options = PostgresOptions {
            retry: Duration::ZERO,
            pool_size: 1,
            // The follower polls rarely, so that its connections do not mix with the writer's.
            poll: Duration::from_secs(3_600),
            ..PostgresOptions::new(database.tcp_url("postgres", proxy.port))
        };
        change(&mut options);
        let recorder = Arc::new(Recorder::default());
        let store: SharedStore = loop {
            match PostgresStore::open(options.clone(), recorder.clone()).await {
                Ok(store) => break Arc::new(store),
                // The short connect timeout may be too short on a busy machine.
                Err(error) => assert!(matches!(error, OpenError::Unreachable { .. }), "{error}"),
            }
        };
        database.execute(SPY).await;
        Some(Self { database, proxy, store, recorder })
    }

    /// Another replica, connected without the proxy.
    async fn other(&self) -> SharedStore {
        let options = PostgresOptions { pool_size: 1, ..PostgresOptions::new(self.database.url()) };
        Arc::new(PostgresStore::open(options, Arc::new(Recorder::default())).await.unwrap())
    }

    /// The stored events by run: seq, id, payload.
    async fn stored(&self) -> Vec<(String, i64, String, String)> {
        const EVENTS: &str = "SELECT r.run_id, e.seq, e.event_id, e.payload::text FROM events e JOIN runs r ON r.run = e.run \
            WHERE r.run_id <> 'plug' ORDER BY r.run_id, e.seq";
        let mut connection = self.database.connect().await;
        let stored = sqlx::query_as(EVENTS).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        stored
    }

    /// Texts of a run's events; asserts gapless seqs.
    async fn texts(&self, run: &str) -> Vec<String> {
        let of_run = self.stored().await.into_iter().filter(|(run_id, ..)| run_id == run);
        let (seqs, texts): (Vec<i64>, Vec<String>) = of_run.map(|(_, seq, _, text)| (seq, text)).unzip();
        assert!(seqs.iter().zip(1..).all(|(seq, place)| *seq == place), "{seqs:?}");
        texts.iter().map(|text| text.replace(r#"{"text":""#, "").replace("\"}", "")).collect()
    }

    /// Appends, and retries while the database is unreachable, which stores nothing.
    async fn append(&self, append: Append) -> Result<Appended, Error> {
        loop {
            match self.store.append(append.clone()).await {
                Err(Error::StoreUnavailable) => {}
                answer => return answer,
            }
        }
    }

    /// Waits until the condition is true in the database.
    async fn until(&self, condition: &str) {
        let condition = format!("SELECT {condition}");
        let mut connection = self.database.connect().await;
        let is_so = async {
            while !sqlx::query_scalar::<_, bool>(sqlx::AssertSqlSafe(condition.clone()))
                .fetch_one(&mut connection)
                .await
                .unwrap()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(GUARD, is_so).await.unwrap_or_else(|_| panic!("{condition}"));
    }

    /// The path of the last commit, `fast` or `slow`.
    async fn last_path(&self) -> String {
        let last = "SELECT path FROM paths ORDER BY n DESC LIMIT 1";
        sqlx::query_scalar(last).fetch_one(&mut self.database.connect().await).await.unwrap()
    }

    /// Waits until the marked session and its server process have ended.
    async fn until_writer_is_gone(&self) {
        self.until("NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = (SELECT pid FROM writer))").await;
    }

    /// Marks the server process of the session that appended last.
    async fn mark_writer(&self) {
        let mark = "DROP TABLE IF EXISTS writer; CREATE TABLE writer AS SELECT pid FROM pg_stat_activity \
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ 'append_events|COMMIT' \
            ORDER BY query_start DESC LIMIT 1";
        self.database.execute(mark).await;
    }
}

async fn submitted(store: &SharedStore, appends: Vec<Append>) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for append in appends {
        receipts.push(store.submit(append).await.unwrap());
    }
    receipts
}

async fn answers(receipts: Vec<Receipt>) -> Vec<Result<Appended, Error>> {
    tokio::time::timeout(GUARD, futures_util::future::join_all(receipts.into_iter().map(Receipt::stored)))
        .await
        .unwrap()
}

/// Submits the appends as one group.
async fn group(fixture: &Fixture, appends: Vec<Append>, harm: impl FnOnce(&Proxy)) -> Vec<Result<Appended, Error>> {
    let held = fixture.recorder.hold(&fixture.store).await;
    let receipts = submitted(&fixture.store, appends).await;
    harm(&fixture.proxy);
    drop(held);
    answers(receipts).await
}

fn reasons(answers: &[Result<Appended, Error>]) -> Vec<&'static str> {
    answers.iter().map(|answer| answer.as_ref().map_or_else(Error::reason, |_| "OK")).collect()
}

/// Appends of every kind to three runs that end at `last`: without an id, with an id, with a condition.
fn of_every_kind(last: u64) -> Vec<Append> {
    (0..3)
        .flat_map(|n| {
            let run = format!("r{n}");
            [
                append(&run, vec![event("nameless")]),
                expecting(last + 1, append(&run, vec![with_id("named", event("named"))])),
                append(&run, vec![event("with another"), with_id("second", event("second"))]),
            ]
        })
        .collect()
}

async fn a_lost_answer_is_an_unknown_outcome(connection: &str, (retry, mode): (u64, Mode), loss: AtCommit) {
    let place = format!("{connection}, retry {retry}, {mode:?} then, {loss:?}");
    let change = |options: &mut PostgresOptions| {
        options.retry = Duration::from_millis(retry);
        options.notify = connection != "pooled";
    };
    let Some(fixture) = Fixture::new(change).await else { return };
    let known = u64::from(connection != "new");
    if connection != "new" {
        for n in 0..3 {
            fixture.store.append(append(&format!("r{n}"), vec![event("before")])).await.unwrap();
        }
    }
    let outcomes = group(&fixture, of_every_kind(known), |proxy| proxy.at_commit_then(loss, mode)).await;
    assert_eq!(reasons(&outcomes), ["OUTCOME_UNKNOWN"; 9], "{place}");
    let is_stored = loss == AtCommit::LoseAnswer;
    if is_stored {
        fixture.until("(SELECT count(*) = 3 FROM events WHERE event_id = 'named')").await;
        assert_eq!(fixture.last_path().await, if connection == "session" { "fast" } else { "slow" }, "{place}");
    }
    fixture.proxy.set(Mode::Pass);
    // A retry with the same ids finds the outcome.
    for n in 0..3 {
        let run = format!("r{n}");
        let named = || append(&run, vec![with_id("named", event("named"))]);
        let again = fixture.append(expecting(known + 1, named())).await;
        if is_stored {
            let again = again.unwrap();
            assert_eq!((seqs(&again), duplicates(&again)), (vec![known + 2], vec![true]), "{place}");
            let before = ["before"].into_iter().take(usize::from(known > 0));
            let texts: Vec<_> = before.chain(["nameless", "named", "with another", "second"]).collect();
            assert_eq!(fixture.texts(&run).await, texts, "{place}");
        } else {
            // The append before `named` was not stored either.
            assert_eq!(reason(again), "SEQ_CONFLICT", "{place}");
            let again = fixture.append(expecting(known, named())).await.unwrap();
            assert_eq!((seqs(&again), duplicates(&again)), (vec![known + 1], vec![false]), "{place}");
            assert_eq!(fixture.texts(&run).await.last().unwrap(), "named", "{place}");
            assert_eq!(fixture.texts(&run).await.len() as u64, known + 1, "{place}");
        }
    }
    fixture.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_that_is_lost_for_longer_than_is_waited_is_unknown_and_nothing_is_stored_twice() {
    for connection in ["session", "new", "pooled"] {
        for retry in [(0, Mode::Pass), (0, Mode::Refuse), (200, Mode::Refuse)] {
            for loss in [AtCommit::LoseAnswer, AtCommit::LoseCommit] {
                a_lost_answer_is_an_unknown_outcome(connection, retry, loss).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_that_ends_in_time_is_not_noticed_whatever_became_of_the_commit() {
    for loss in [AtCommit::LoseAnswer, AtCommit::LoseCommit] {
        for is_known in [false, true] {
            let Some(fixture) = Fixture::new(|options| options.retry = GUARD).await else { return };
            let last = u64::from(is_known);
            for n in 0..3 * last {
                fixture.store.append(append(&format!("r{n}"), vec![event("before")])).await.unwrap();
            }
            let held = fixture.recorder.hold(&fixture.store).await;
            let receipts = submitted(&fixture.store, of_every_kind(last)).await;
            fixture.proxy.at_commit_then(loss, Mode::Refuse);
            drop(held);
            fixture.proxy.lost().await;
            fixture.proxy.set(Mode::Pass);
            let answered: Vec<_> = answers(receipts).await.into_iter().map(Result::unwrap).collect();
            let answered: Vec<_> =
                answered.iter().map(|answer| (seqs(answer), duplicates(answer).contains(&true))).collect();
            let of_run = [vec![last + 1], vec![last + 2], vec![last + 3, last + 4]].map(|seqs| (seqs, false));
            assert_eq!(answered, [of_run.clone(), of_run.clone(), of_run].concat(), "{loss:?}");
            fixture.recorder.announced_up_to(fixture.store.extent(&Scope::Feed).await.unwrap().end.last).await;
            let commits = fixture.recorder.commits();
            let positions = commits.iter().flat_map(|commit| &commit.feed).flat_map(|chunk| chunk.first..=chunk.last());
            assert!(positions.eq(1..=commits.last().unwrap().feed_end.last), "each is announced once and in order");
            fixture.store.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_arrives_after_its_outcome_was_unknown_is_stored_once_or_never() {
    for (is_known, comes_first) in [(true, true), (true, false), (false, true), (false, false)] {
        let place = format!("known: {is_known}, the late one first: {comes_first}");
        // The server ends a session that waits for its COMMIT after this timeout, and releases its locks.
        let change = |options: &mut PostgresOptions| options.statement_timeout = Duration::from_secs(1);
        let Some(fixture) = Fixture::new(change).await else { return };
        if is_known {
            fixture.store.append(append("r", vec![event("before")])).await.unwrap();
            fixture.store.append(append("r", vec![event("before")])).await.unwrap();
        }
        let last = if is_known { 2 } else { 0 };
        fixture.proxy.at_commit(AtCommit::Delay);
        let late = || expecting(last, append("r", vec![with_id("a", event("a")), with_id("b", event("b"))]));
        assert_eq!(reason(fixture.store.append(late()).await), "OUTCOME_UNKNOWN", "{place}");
        fixture.mark_writer().await;
        if comes_first {
            fixture.proxy.deliver();
            fixture.until_writer_is_gone().await;
        }
        // The append may wait for the locks of the late commit.
        let again = fixture.append(late()).await.unwrap();
        assert_eq!(duplicates(&again).contains(&true), comes_first, "{place}");
        fixture.proxy.deliver();
        fixture.until_writer_is_gone().await;
        assert_eq!(fixture.texts("r").await[usize::try_from(last).unwrap()..], ["a", "b"], "{place}");
        assert_eq!(
            seqs(&fixture.store.append(append("r", vec![event("after")])).await.unwrap()),
            [last + 3],
            "{place}"
        );
        fixture.store.close().await;
    }
}
