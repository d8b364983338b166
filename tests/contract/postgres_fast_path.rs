//! The fast path: a replica plans with its cached run state and reads nothing first. These cases have an outdated
//! cache.

use std::sync::Arc;

use runlog::domain::projection::Lifecycle;
use runlog::domain::{RunStatus, Scope};
use runlog::store::SharedStore;
use runlog::store::postgres::{PostgresOptions, PostgresStore};

use crate::cluster::Database;
use crate::fixture::*;

/// Records the path of each insert: only the slow path has locked rows of `runs` before.
pub const SPY: &str = "CREATE TABLE paths (n serial, path text); CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    INSERT INTO paths (path) SELECT CASE WHEN EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() \
    AND relation = 'runs'::regclass AND mode = 'RowShareLock') THEN 'slow' ELSE 'fast' END; RETURN NULL; END $$; \
    CREATE TRIGGER spy AFTER INSERT ON events EXECUTE FUNCTION spy()";

async fn replica(database: &Database, lifecycle: Lifecycle) -> SharedStore {
    let options = PostgresOptions { lifecycle, pool_size: 2, ..PostgresOptions::new(database.url()) };
    Arc::new(PostgresStore::open(options, Arc::new(Recorder::default())).await.unwrap())
}

pub async fn two_replicas(lifecycle: Lifecycle) -> Option<(Database, SharedStore, SharedStore)> {
    let database = Database::create().await?;
    let replicas = (replica(&database, lifecycle).await, replica(&database, lifecycle).await);
    database.execute(SPY).await;
    Some((database, replicas.0, replicas.1))
}

async fn paths(database: &Database) -> Vec<String> {
    sqlx::query_scalar("SELECT path FROM paths ORDER BY n").fetch_all(&mut database.connect().await).await.unwrap()
}

async fn stored(store: &SharedStore, append: runlog::store::Append) -> Vec<u64> {
    seqs(&store.append(append).await.unwrap())
}

#[tokio::test]
async fn a_run_that_this_replica_wrote_last_is_written_without_asking() {
    let Some((database, one, _)) = two_replicas(Lifecycle::Record).await else { return };
    for seq in 1..=3 {
        assert_eq!(stored(&one, append("r", vec![event("x")])).await, [seq]);
    }
    // The changes touch every column of the run, and an open question is a document.
    let changes = ["run_start", "human_input_requested", "human_input_received", "run_end"];
    let changes = changes.map(|event_type| typed(event_type, r#"{"prompt":"?","output":{"a":1},"total_tokens":7}"#));
    assert_eq!(stored(&one, append("r", changes.to_vec())).await, [4, 5, 6, 7]);
    assert_eq!(paths(&database).await, ["slow", "fast", "fast", "fast"]);
    let run = one.run(&run_id("r")).await.unwrap();
    assert_eq!((run.status, run.last_seq), (RunStatus::Succeeded, 7));
    assert_eq!(run.usage.unwrap().total_tokens, 7);
    assert!(run.output_json.is_some() && run.completed_at.is_some());
}

#[tokio::test]
async fn what_another_replica_wrote_meanwhile_counts() {
    let Some((database, one, other)) = two_replicas(Lifecycle::Strict).await else { return };
    assert_eq!(stored(&one, append("r", vec![event("x")])).await, [1]);
    assert_eq!(stored(&one, append("r", vec![event("x")])).await, [2]);
    assert_eq!(stored(&other, append("r", vec![with_id("theirs", event("x"))])).await, [3]);
    assert_eq!(stored(&one, append("r", vec![event("x"), event("y")])).await, [4, 5]);
    assert_eq!(paths(&database).await, ["slow", "fast", "slow", "slow"]);
    // Conditions and duplicates are checked against the current run, not against the cached state.
    assert_eq!(stored(&other, append("r", vec![event("x")])).await, [6]);
    assert_eq!(reason(one.append(expecting(5, append("r", vec![event("x")]))).await), "SEQ_CONFLICT");
    assert_eq!(stored(&one, expecting(6, append("r", vec![event("x")]))).await, [7]);
    assert_eq!(stored(&one, append("r", vec![with_id("theirs", event("x"))])).await, [3]);
    assert_eq!(reason(one.append(append("r", vec![with_id("theirs", event("y"))])).await), "EVENT_ID_CONFLICT");
    assert_eq!(stored(&other, append("r", vec![typed("run_end", "{}")])).await, [8]);
    assert_eq!(reason(one.append(append("r", vec![typed("run_start", "{}")])).await), "RUN_STATUS_FINAL");
    assert_eq!(events(&one, &run("r")).await.len(), 8);
    assert_eq!(one.extent(&Scope::Feed).await.unwrap().end.last, 8);
}

#[tokio::test]
async fn a_repeat_is_found_without_having_asked_before() {
    let Some((database, one, _)) = two_replicas(Lifecycle::Record).await else { return };
    one.append(append("r", vec![event("x")])).await.unwrap();
    let named = || append("r", vec![with_id("a", event("x")), event("y")]);
    assert_eq!(stored(&one, named()).await, [2, 3]);
    assert_eq!(paths(&database).await, ["slow", "fast"]);
    // A fast-path transaction with a stored id is rolled back as a whole, also the new run beside the duplicate.
    let again = one.append(append("r", vec![with_id("a", event("x")), with_id("b", event("z"))])).await.unwrap();
    assert_eq!((seqs(&again), duplicates(&again)), (vec![2, 4], vec![true, false]));
    assert_eq!(
        reason(one.append(append("r", vec![event("new"), with_id("a", event("other"))])).await),
        "EVENT_ID_CONFLICT"
    );
    // Ids given by the store have no index entry.
    let given = events(&one, &run("r")).await[0].event_id.to_string();
    let repeated = one.append(append("r", vec![with_id(&given, event("x"))])).await.unwrap();
    assert_eq!((seqs(&repeated), duplicates(&repeated)), (vec![1], vec![true]));
    assert_eq!(events(&one, &run("r")).await.len(), 4);
}

#[tokio::test]
async fn a_run_that_went_back_in_time_is_not_taken_for_the_one_that_was_known() {
    let Some((database, one, _)) = two_replicas(Lifecycle::Strict).await else { return };
    one.append(append("r", vec![typed("run_start", "{}")])).await.unwrap();
    // A restored run: the same number of events, another history.
    database.execute("UPDATE runs SET status = 6, updated_at = '2020-01-01T00:00:00Z'").await;
    assert_eq!(reason(one.append(append("r", vec![typed("run_start", "{}")])).await), "RUN_STATUS_FINAL");
    assert_eq!(one.extent(&run("r")).await.unwrap().end.last, 1);
}

#[tokio::test]
async fn a_killed_connection_costs_nothing_but_a_try() {
    let Some((database, one, other)) = two_replicas(Lifecycle::Record).await else { return };
    one.append(append("r", vec![event("x")])).await.unwrap();
    for seq in 2..6 {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
            AND pid <> pg_backend_pid()";
        database.execute(kill).await;
        assert_eq!(stored(&one, append("r", vec![event("x")])).await, [seq]);
    }
    assert_eq!(events(&other, &run("r")).await.len(), 5);
    assert!(!paths(&database).await[1..].contains(&"fast".to_owned()), "a new connection may lead elsewhere");
}

#[tokio::test]
async fn a_replica_of_the_version_before_goes_on_storing_after_the_schema_has_changed() {
    let Some((database, one, _)) = two_replicas(Lifecycle::Record).await else { return };
    one.append(append("r", vec![event("x")])).await.unwrap();
    // The call of the previous version, without the double of the timestamp.
    let call = "SELECT append_events(ARRAY(SELECT run FROM runs), '{1}', ARRAY(SELECT updated_at FROM runs), '{2}', \
        ARRAY(SELECT updated_at FROM runs), NULL, NULL, ARRAY(SELECT run FROM runs), '{2}', '{7}', '{7}', '{8}', '{9}', \
        '{99}', '{0}', '{2}', '{t}', '{f}', '{old}', '{step}', '{NULL}', ARRAY['{ \"a\":1}']::json[], NULL, NULL)";
    database.execute(call).await;
    let stored = events(&one, &run("r")).await;
    let of_old = stored.last().unwrap();
    assert_eq!((of_old.seq, of_old.event_id.as_str(), of_old.sent_seconds), (2, "old", None));
    assert_eq!(of_old.occurred_at, jiff::Timestamp::new(7, 8).unwrap());
    assert_eq!(seqs(&one.append(append("r", vec![event("y")])).await.unwrap()), [3]);
}
