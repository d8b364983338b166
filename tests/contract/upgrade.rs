//! Data of version 0.1.0: open questions without ids, and open questions of ended runs.

use runlog::domain::projection::Lifecycle;
use runlog::store::{Append, Condition, SharedStore};
use sqlx::{Connection, SqliteConnection};

use crate::fixture::*;
use crate::postgres_fast_path::two_replicas;

/// A run that asked twice, the second time with an id.
fn asking() -> Append {
    append("r", vec![typed("human_input_requested", "{}"), typed("human_input_requested", r#"{"id":"b"}"#)])
}

/// Seqs and ids of the run's open questions.
async fn open(store: &SharedStore) -> Vec<(u64, Option<String>)> {
    let run = store.run(&run_id("r")).await.unwrap();
    run.pending_inputs.into_iter().map(|question| (question.requested_seq, question.question_id)).collect()
}

/// Checks a store whose first question has the form of version 0.1.0, without an id.
async fn is_answered_by_any_name(before: &SharedStore) {
    let second = || (2, Some("b".to_owned()));
    assert_eq!(open(before).await, [(1, None), second()]);
    before.append(append("r", vec![typed("human_input_received", r#"{"question_id":"a"}"#)])).await.unwrap();
    assert_eq!(open(before).await, [second()]);
    before.append(append("r", vec![typed("human_input_received", r#"{"question_id":"a"}"#)])).await.unwrap();
    assert_eq!(open(before).await, [second()], "its id is known, and is another one");
}

/// Checks a store whose run was ended by version 0.1.0, which does not know the second question.
async fn awaits_nothing(before: &SharedStore) {
    assert_eq!(open(before).await, []);
    let late = append("r", vec![typed("run.signal_applied", "{}")]);
    let late = Append { condition: Some(Condition::QuestionOpen(2)), ..late };
    assert_eq!(reason(before.append(late).await), "RUN_CHANGED");
}

#[tokio::test]
async fn questions_of_version_0_1_0_are_answered_by_any_name_and_end_with_their_run_on_postgresql() {
    let Some((database, one, other)) = two_replicas(Lifecycle::Record).await else { return };
    one.append(asking()).await.unwrap();
    let first = "kind = 'pending_input', json = '{\"question\":\"?\",\"requested_seq\":1}' WHERE kind = 'pending_input:00000000000000000001:'";
    database.execute(&format!("UPDATE run_documents SET {first}")).await;
    is_answered_by_any_name(&other).await;
    database.execute("UPDATE runs SET status = 6").await;
    awaits_nothing(&one).await;
}

#[tokio::test]
async fn questions_of_version_0_1_0_are_answered_by_any_name_and_end_with_their_run_on_sqlite() {
    let fixture = SqliteFixture::here();
    let store = fixture.opened().await;
    store.append(asking()).await.unwrap();
    store.close().await;
    let change = async |sql: &str| {
        let path = fixture.options(Tuning::default()).path;
        let mut connection = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    };
    change(
        r#"UPDATE run_documents SET kind = 'pending_input', checksum = NULL, json = '{"question":"?","requested_seq":1}'
               WHERE kind = 'pending_input:00000000000000000001:';
           DELETE FROM _sqlx_migrations WHERE version = 3"#,
    )
    .await;
    let store = fixture.opened().await;
    is_answered_by_any_name(&store).await;
    store.close().await;
    change("UPDATE runs SET status = 6, checksum = NULL, end_checksum = NULL").await;
    awaits_nothing(&fixture.opened().await).await;
}
