//! Projects in a database of several replicas.

use std::sync::Arc;
use std::time::Duration;

use runlog::domain::{ProjectId, Scope};
use runlog::store::postgres::{PostgresOptions, PostgresStore};
use runlog::store::{ProjectNumber, SharedStore};

use crate::cluster::Database;
use crate::fixture::*;

fn id(project: &str) -> ProjectId {
    ProjectId::parse(project).unwrap()
}

async fn replica(database: &Database) -> (SharedStore, Arc<Recorder>) {
    let recorder = Arc::<Recorder>::default();
    let poll = Duration::from_millis(20);
    let options = PostgresOptions { pool_size: 2, poll, ..PostgresOptions::new(database.url()) };
    (Arc::new(PostgresStore::open(options, recorder.clone()).await.unwrap()), recorder)
}

/// The store as a project sees it, which is created.
async fn created(store: &SharedStore, project: &str) -> SharedStore {
    store.in_project(store.create_project(&id(project)).await.unwrap())
}

/// Positions of the feed of a project in the order of their announcement.
fn announced(recorder: &Recorder, project: ProjectNumber) -> Vec<u64> {
    let commits = recorder.commits().into_iter().filter(|commit| commit.project == project);
    commits.flat_map(|commit| commit.feed).flat_map(|chunk| chunk.first..=chunk.last()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_create_projects_at_once_agree_on_all_numbers() {
    let Some(database) = Database::create().await else { return };
    let ((one, _), (other, _)) = (replica(&database).await, replica(&database).await);
    let names: Vec<ProjectId> = (0..8).map(|n| id(&format!("p{n}"))).collect();
    let at_one = futures_util::future::join_all(names.iter().map(|name| one.create_project(name)));
    let at_other = futures_util::future::join_all(names.iter().rev().map(|name| other.create_project(name)));
    let (at_one, at_other) = tokio::join!(at_one, at_other);
    let at_one: Vec<ProjectNumber> = at_one.into_iter().map(Result::unwrap).collect();
    let at_other: Vec<ProjectNumber> = at_other.into_iter().rev().map(Result::unwrap).collect();
    assert_eq!(at_one, at_other);
    let mut distinct = at_one.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), names.len());
    for project in at_one {
        assert_eq!(one.in_project(project).history(), other.in_project(project).history());
        one.in_project(project).append(append("r", vec![event("x")])).await.unwrap();
        assert_eq!(seqs(&other.in_project(project).append(append("r", vec![event("y")])).await.unwrap()), [2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_announces_commits_of_projects_that_another_one_created_meanwhile() {
    let Some(database) = Database::create().await else { return };
    let ((one, _), (other, recorder)) = (replica(&database).await, replica(&database).await);
    let project = created(&one, "p").await;
    for _ in 0..3 {
        project.append(append("r", vec![event("x")])).await.unwrap();
    }
    recorder.announced_up_to(3).await;
    one.append(append("r", vec![event("x"); 5])).await.unwrap();
    recorder.announced_up_to(5).await;
    // An own commit after commits of the other replica.
    created(&other, "p").await.append(append("r", vec![event("x"); 6])).await.unwrap();
    recorder.announced_up_to(9).await;
    let number = other.project(&id("p")).await.unwrap().unwrap();
    assert_eq!(announced(&recorder, number), (1..=9).collect::<Vec<_>>());
    assert_eq!(announced(&recorder, ProjectNumber::DEFAULT), (1..=5).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_lineage_begins_an_epoch_of_each_project() {
    let Some(database) = Database::create().await else { return };
    let (store, _) = replica(&database).await;
    store.append(append("r", vec![event("x"); 2])).await.unwrap();
    let (used, empty) = (created(&store, "used").await, created(&store, "empty").await);
    used.append(append("r", vec![event("x"); 3])).await.unwrap();
    let first = used.history();
    store.close().await;
    // A replica of version 7 was first, and has begun the epoch of the project `default`.
    database.execute("UPDATE project_epochs SET lineage = 'another'").await;
    let (store, _) = replica(&database).await;
    let used = created(&store, "used").await;
    assert_eq!((store.history().newest_start(), used.history().newest_start()), (0, 3));
    assert_eq!(used.history().agrees_with(&first.mark()), Some(3));
    let empty_before = empty.history();
    let empty = created(&store, "empty").await;
    assert!(empty.history().newest_start() == 0 && empty.history() != empty_before);
    store.close().await;
    database.execute("UPDATE epochs SET lineage = 'another'; UPDATE project_epochs SET lineage = 'another'").await;
    let (store, _) = replica(&database).await;
    assert_eq!(store.history().newest_start(), 2);
    assert_eq!(created(&store, "used").await.history().agrees_with(&first.mark()), Some(3));
    let epochs: i64 = sqlx::query_scalar("SELECT count(*) FROM project_epochs")
        .fetch_one(&mut database.connect().await)
        .await
        .unwrap();
    assert_eq!(epochs, 3, "an epoch without an event is replaced");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_lost_its_last_events_begins_an_epoch_and_goes_on() {
    let Some(database) = Database::create().await else { return };
    let (store, recorder) = replica(&database).await;
    let project = created(&store, "p").await;
    project.append(append("r", vec![event("kept"); 2])).await.unwrap();
    project.append(append("r", vec![event("lost")])).await.unwrap();
    recorder.announced_up_to(3).await;
    let before = project.history();
    let lose = "UPDATE runs SET last_seq = 2; DELETE FROM events WHERE seq = 3; UPDATE feed SET last_pos = last_pos - 1 WHERE id > 1";
    database.execute(lose).await;
    let noticed = async {
        while store.generation() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), noticed).await.unwrap();
    assert_eq!(project.history().agrees_with(&before.mark()), Some(2));
    assert_eq!(seqs(&project.append(append("r", vec![event("again")])).await.unwrap()), [3]);
    assert_eq!(project.extent(&Scope::Feed).await.unwrap().end.last, 3);
    store.close().await;
}

#[tokio::test]
async fn a_replica_of_version_7_goes_on_storing_in_the_project_default() {
    let Some(database) = Database::create().await else { return };
    let (store, _) = replica(&database).await;
    store.append(append("r", vec![event("x")])).await.unwrap();
    let project = created(&store, "p").await;
    project.append(append("r", vec![event("x"); 2])).await.unwrap();
    let call = "SELECT append_events(ARRAY(SELECT run FROM runs WHERE run_id = 'r'), '{1}', \
        ARRAY(SELECT updated_at FROM runs WHERE run_id = 'r'), '{2}', ARRAY(SELECT updated_at FROM runs WHERE run_id = 'r'), \
        NULL, NULL, ARRAY(SELECT run FROM runs WHERE run_id = 'r'), '{2}', '{7}', '{7}', '{8}', '{9}', '{99}', '{0}', '{2}', \
        '{t}', '{f}', '{old}', '{step}', '{NULL}', ARRAY['{ \"a\":1}']::json[], NULL, '{NULL}', NULL, NULL)";
    database.execute(call).await;
    assert_eq!(events(&store, &Scope::Feed).await.last().unwrap().event_id.as_str(), "old");
    assert_eq!(seqs(&store.append(append("r", vec![event("y")])).await.unwrap()), [3]);
    assert_eq!(seqs(&project.append(append("r", vec![event("y")])).await.unwrap()), [3]);
    for (of, last) in [(&store, 3), (&project, 3)] {
        assert_eq!(of.extent(&Scope::Feed).await.unwrap().end.last, last);
        assert_eq!(events(of, &Scope::Feed).await.len(), 3);
    }
    store.close().await;
}
