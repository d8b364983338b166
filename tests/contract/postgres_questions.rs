//! Questions of one run, asked and answered at two replicas at the same time. A transaction that holds the row lock of
//! the run decides the order.

use runlog::domain::RunStatus;
use runlog::domain::projection::Lifecycle;
use runlog::store::{Append, Condition, SharedStore};
use sqlx::Connection;
use tokio::task::JoinHandle;

use crate::cluster::Database;
use crate::fixture::*;
use crate::postgres_fast_path::two_replicas;

type Outcome = JoinHandle<Result<runlog::domain::event::Appended, runlog::domain::Error>>;

/// Submits the appends in order while a lock on the run's row blocks them, then releases the lock.
async fn behind_a_lock(database: &Database, appends: Vec<(&SharedStore, Append)>) -> Vec<Outcome> {
    const WAITING: &str =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let (mut holder, mut observer) = (database.connect().await, database.connect().await);
    let mut lock = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM runs FOR UPDATE").execute(&mut *lock).await.unwrap();
    let mut outcomes = Vec::new();
    for (store, append) in appends {
        let store = store.clone();
        outcomes.push(tokio::spawn(async move { store.append(append).await }));
        let waiting = i64::try_from(outcomes.len()).unwrap();
        while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut observer).await.unwrap() < waiting {
            tokio::task::yield_now().await;
        }
    }
    lock.rollback().await.unwrap();
    outcomes
}

fn answer(id: &str) -> Append {
    let answer = append("r", vec![with_id(id, typed("run.signal_applied", "{}"))]);
    Append { condition: Some(Condition::QuestionOpen(1)), ..answer }
}

#[tokio::test]
async fn of_two_answers_under_different_ids_at_two_replicas_one_is_stored() {
    let Some((database, one, other)) = two_replicas(Lifecycle::Record).await else { return };
    one.append(append("r", vec![typed("human_input_requested", "{}")])).await.unwrap();
    let mut outcomes = behind_a_lock(&database, vec![(&one, answer("a")), (&other, answer("b"))]).await.into_iter();
    assert_eq!(seqs(&outcomes.next().unwrap().await.unwrap().unwrap()), [2]);
    assert_eq!(reason(outcomes.next().unwrap().await.unwrap()), "RUN_CHANGED");
    assert_eq!(one.extent(&run("r")).await.unwrap().end.last, 2);
}

#[tokio::test]
async fn a_question_that_is_asked_while_another_replica_waits_to_end_the_run_is_open_no_more() {
    let Some((database, one, other)) = two_replicas(Lifecycle::Record).await else { return };
    one.append(append("r", vec![event("x")])).await.unwrap();
    let question = append("r", vec![typed("human_input_requested", "{}")]);
    let end = append("r", vec![typed("run_end", "{}")]);
    for outcome in behind_a_lock(&database, vec![(&one, question), (&other, end)]).await {
        outcome.await.unwrap().unwrap();
    }
    let run = one.run(&run_id("r")).await.unwrap();
    assert_eq!((run.status, run.last_seq, run.pending_inputs.len()), (RunStatus::Succeeded, 3, 0));
    let open = "SELECT count(*) FROM run_documents WHERE kind LIKE 'pending_input%'";
    assert_eq!(sqlx::query_scalar::<_, i64>(open).fetch_one(&mut database.connect().await).await.unwrap(), 0);
    assert_eq!(
        reason(other.append(Append { condition: Some(Condition::QuestionOpen(2)), ..answer("late") }).await),
        "RUN_CHANGED"
    );
}
