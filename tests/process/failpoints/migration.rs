//! Failpoints in a migration: of a SQLite file with the first schema, and of an empty database.

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::place::Place;
use super::work::Work;
use super::{ACTIONS, Action, POSTGRES_MIGRATION, Point, SQLITE_MIGRATION, environment, was_killed};
use crate::start::CANNOT_START;

/// Converts a file to the first schema: the ids of the flushed events in one table.
async fn take_back(place: &Place, work: &Work) {
    let options = SqliteConnectOptions::new().filename(place.option()[1]);
    let mut file = SqliteConnection::connect_with(&options).await.unwrap();
    const FORMER: &str = "DROP TABLE id_segments; DROP TABLE id_blocks; DROP TABLE id_filters; DROP TABLE epochs;
        DROP TABLE keys; DROP TABLE secrets; DROP TABLE projects; DROP TABLE feed_floors;
        ALTER TABLE runs DROP COLUMN first_seq; ALTER TABLE runs DROP COLUMN held; ALTER TABLE runs DROP COLUMN kept_checksum;
        ALTER TABLE log DROP COLUMN checksum; ALTER TABLE store DROP COLUMN checksum;
        ALTER TABLE store DROP COLUMN checked_from; ALTER TABLE runs DROP COLUMN checksum;
        ALTER TABLE runs DROP COLUMN end_checksum; ALTER TABLE run_documents DROP COLUMN checksum;
        DELETE FROM _sqlx_migrations WHERE version > 1;
        CREATE TABLE event_ids (hash INTEGER NOT NULL, run INTEGER NOT NULL, seq INTEGER NOT NULL,
            PRIMARY KEY (hash, run, seq)) STRICT, WITHOUT ROWID";
    sqlx::raw_sql(FORMER).execute(&mut file).await.unwrap();
    const FLUSHED: &str = "SELECT run, coalesce((SELECT max(seq + count - 1) FROM run_index i, store s \
        WHERE i.run = r.run AND i.pos <= s.sealed_pos), 0) FROM runs r WHERE run_id = ?";
    let mut moved = 0;
    for run in work.runs() {
        let (number, flushed): (i64, i64) = sqlx::query_as(FLUSHED).bind(&run.id).fetch_one(&mut file).await.unwrap();
        for (seq, event) in (1..=flushed).zip(&run.sent) {
            let hash = xxhash_rust::xxh3::xxh3_64(event.event_id.as_bytes()).cast_signed();
            let row = sqlx::query("INSERT INTO event_ids VALUES (?, ?, ?)").bind(hash).bind(number).bind(seq);
            row.execute(&mut file).await.unwrap();
            moved += 1;
        }
    }
    assert!(moved > 0, "there are ids to move");
    file.close().await.unwrap();
}

/// Asserts that the command ends or fails at the failpoint.
async fn is_cut_off(place: &Place, point: &Point, action: Action) {
    let command = ["migrate"];
    let (status, said) = place.spawn(&command, &environment(point, action, 0)).ended().await;
    match action {
        Action::Kill => assert!(was_killed(status), "{status}: {said}"),
        Action::Fail => assert!(status.code() == Some(CANNOT_START) && said.contains("error:"), "{status}: {said}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_of_a_sqlite_file_that_is_cut_off_at_any_point_loses_nothing_and_is_made_again() {
    for (point, action) in SQLITE_MIGRATION.iter().flat_map(|point| ACTIONS.map(|action| (point, action))) {
        let (place, mut work) = (Place::file(), Work::new());
        let server = place.serve(&[]).await;
        work.publish(&server).await.unwrap();
        server.terminate().await;
        server.ended().await;
        take_back(&place, &work).await;
        is_cut_off(&place, point, action).await;
        let server = place.serve(&[]).await;
        work.verify(&server).await;
        work.repeat(&server).await;
        server.kill().await;
        place.is_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_of_a_database_that_is_cut_off_at_any_point_is_made_again() {
    for (point, action) in POSTGRES_MIGRATION.iter().flat_map(|point| ACTIONS.map(|action| (point, action))) {
        let Some(place) = Place::database().await else { return };
        is_cut_off(&place, point, action).await;
        let (server, mut work) = (place.serve(&[]).await, Work::new());
        work.publish(&server).await.unwrap();
        work.verify(&server).await;
        server.kill().await;
        place.is_sound().await;
    }
}
