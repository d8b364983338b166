//! `verify` and `restore`: damage is found, and a restored store goes on with its cursors, keys and projects.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::backup::{fill, text};
use crate::command::run;
use crate::harness::{Data, Server};
use crate::transfer::NOWHERE;

/// The exit code of a check that failed.
const FAILED: i32 = 78;

async fn change(file: &Path, sql: &str) {
    let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn stop(server: Server) {
    server.terminate().await;
    server.ended().await;
}

/// A backup of some events.
async fn backup(data: &Data) -> PathBuf {
    let server = Server::start(&data.file()).await;
    fill(&server, 200).await;
    let file = data.directory().join("backup");
    run(&server.url(), &["backup", text(&file)]).await.succeeds();
    stop(server).await;
    file
}

#[tokio::test]
async fn a_flipped_byte_is_found_and_no_store_is_made_of_it() {
    let data = Data::new();
    let file = backup(&data).await;
    let sound = fs::read(&file).unwrap();
    // SQLite may leave an old copy of a row in the unused part of a page, where a flip changes nothing.
    let mut flipped = sound.clone();
    for at in (0..sound.len()).filter(|at| sound[*at..].starts_with(b"{\"n\":150,")) {
        flipped[at + 5] ^= 1;
    }
    assert!(flipped != sound);
    fs::write(&file, flipped).unwrap();
    let damaged = ["damaged", "row 151 with 1 events"];
    run(NOWHERE, &["verify", text(&file)]).await.fails(FAILED, &damaged);
    let restored = data.directory().join("restored.db");
    run(NOWHERE, &["restore", text(&file), "--data", text(&restored)]).await.fails(FAILED, &damaged);
    let mut names = fs::read_dir(data.directory()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.all(|name| !name.to_str().unwrap().starts_with("restored")));
    fs::write(&file, &sound[..sound.len() - 8_192]).unwrap();
    run(NOWHERE, &["verify", text(&file)]).await.fails(FAILED, &[]);
    fs::write(&file, "no store at all, but some text").unwrap();
    run(NOWHERE, &["verify", text(&file)]).await.fails(FAILED, &["no runlog database"]);
    fs::write(&file, sound).unwrap();
    run(NOWHERE, &["verify", text(&file)]).await.succeeds();
}

#[tokio::test]
async fn a_replay_finds_what_no_checksum_shows() {
    let data = Data::new();
    let file = backup(&data).await;
    // As an older version would have written it: without checksums.
    let other = "UPDATE runs SET created_at = '2001-01-01T00:00:00Z', checksum = NULL, end_checksum = NULL WHERE run_id = 'run-3'";
    change(&file, other).await;
    let checked = run(NOWHERE, &["check", "--data", text(&file), "--deep", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(checked.code, Some(0), "no check finds it: {checked:?}");
    run(NOWHERE, &["verify", text(&file)]).await.fails(FAILED, &["project default", "runs", "replayed"]);
}

#[tokio::test]
async fn a_store_is_restored_into_a_new_file_only_and_without_remains_of_another() {
    let data = Data::new();
    let file = backup(&data).await;
    let target = data.directory().join("target.db");
    for beside in ["target.db", "target.db-wal", "target.db-journal"] {
        let beside = data.directory().join(beside);
        fs::write(&beside, "mine").unwrap();
        run(NOWHERE, &["restore", text(&file), "--data", text(&target)]).await.fails(73, &["is there"]);
        assert_eq!(fs::read_to_string(&beside).unwrap(), "mine");
        fs::remove_file(&beside).unwrap();
    }
    let nowhere = data.directory().join("nowhere");
    run(NOWHERE, &["restore", text(&nowhere), "--data", text(&target)]).await.fails(66, &["no such store"]);
    assert!(!target.exists());
    change(&file, "DELETE FROM _sqlx_migrations WHERE version > 6").await;
    run(NOWHERE, &["restore", text(&file), "--data", text(&target)]).await.fails(FAILED, &["version 6", "migrate"]);
}

/// A server with keys of two projects, and its backup.
struct Original {
    data: Data,
    server: Server,
    admin: PathBuf,
    worker: PathBuf,
    other: PathBuf,
    backup: PathBuf,
}

const SCOPES: &str = "events.publish,events.read,events.read_sensitive";

impl Original {
    async fn new() -> Self {
        let data = Data::new();
        let at = |name: &str| data.directory().join(name);
        let key = |name: &str, created: &Value| {
            fs::write(at(name), created["key"].as_str().unwrap()).unwrap();
            at(name)
        };
        let offline = ["keys", "create", "--json", "--name", "k", "--scope"];
        let file = data.file();
        let create = async |more: &[&str]| {
            run(NOWHERE, &[&offline[..], more, &["--data", text(&file)]].concat()).await.json().remove(0)
        };
        let admin = key("admin.key", &create(&["admin"]).await);
        let worker = key("worker.key", &create(&[SCOPES]).await);
        let other = key("other.key", &create(&[SCOPES, "--project", "other"]).await);
        let server = Server::start(&data.file()).await;
        let original = Self { backup: at("backup"), data, server, admin, worker, other };
        for key in [&original.worker, &original.other] {
            for _ in 0..3 {
                original.publish(key).await;
            }
        }
        original
    }

    async fn publish(&self, key: &Path) {
        let event = ["publish", "--run", "r", "--type", "step", "--payload", "{}", "--key", text(key)];
        run(&self.server.url(), &event).await.succeeds();
    }

    /// Cursor of the end of the feed of this key.
    async fn feed_end(&self, key: &Path) -> String {
        let file = self.data.directory().join("end");
        let args = ["backup", text(&file), "--force", "--json", "--key", text(&self.admin)];
        let made = run(&self.server.url(), &args).await.json().remove(0);
        let project = usize::from(key == self.other);
        made["projects"][project]["cursor"].as_str().unwrap().to_owned()
    }

    async fn restored(&self, name: &str, more: &[&str]) -> Server {
        let file = self.data.directory().join(name);
        run(NOWHERE, &[&["restore", text(&self.backup), "--data", text(&file)], more].concat()).await.succeeds();
        Server::start(&file).await
    }
}

/// Lists with a key from a cursor.
async fn list(server: &Server, key: &Path, scope: &[&str], cursor: &str) -> crate::command::Ran {
    let args = [&["list", "--json", "--cursor", cursor, "--key", text(key)], scope].concat();
    run(&server.url(), &args).await
}

#[tokio::test]
async fn a_restored_store_goes_on_with_its_run_cursors_keys_and_projects_and_its_feed_as_it_was_chosen() {
    let original = Original::new().await;
    let url = original.server.url();
    let file = original.backup.clone();
    run(&url, &["backup", text(&file)]).await.fails(77, &["API_KEY_MISSING"]);
    run(&url, &["backup", text(&file), "--key", text(&original.worker)]).await.fails(77, &["SCOPE_MISSING", "admin"]);
    let made = run(&url, &["backup", text(&file), "--key", text(&original.admin), "--verify", "--json"]).await;
    let made = made.json().remove(0);
    let projects = made["projects"].as_array().unwrap();
    assert_eq!(projects.iter().map(|project| &project["position"]).collect::<Vec<_>>(), [3, 3]);
    let cursor = |at: usize| projects[at]["cursor"].as_str().unwrap().to_owned();
    let (ours, theirs) = (cursor(0), cursor(1));
    assert_eq!(original.feed_end(&original.worker).await, ours);
    for key in [&original.worker, &original.other] {
        original.publish(key).await;
    }
    let (ours_lost, theirs_lost) =
        (original.feed_end(&original.worker).await, original.feed_end(&original.other).await);

    let same = original.restored("same.db", &[]).await;
    let new = original.restored("new.db", &["--new-feed"]).await;
    for server in [&same, &new] {
        for key in [&original.worker, &original.other] {
            assert_eq!(list(server, key, &["--run", "r"], "1").await.json().len(), 2, "seqs 2 and 3");
        }
        let keys = run(&server.url(), &["keys", "list", "--json", "--key", text(&original.admin)]).await.json();
        assert_eq!(keys.len(), 3);
    }
    for (key, kept, lost) in [(&original.worker, &ours, &ours_lost), (&original.other, &theirs, &theirs_lost)] {
        assert_eq!(list(&same, key, &["--all"], kept).await.json().len(), 0);
        list(&same, key, &["--all"], lost).await.fails(65, &["HISTORY_LOST"]);
        for cursor in [kept, lost] {
            list(&new, key, &["--all"], cursor).await.fails(65, &["CURSOR_INVALID", "another store"]);
        }
    }
    for server in [same, new] {
        let publish = ["publish", "--run", "r", "--type", "step", "--payload", "{}", "--json", "--key"];
        let stored = run(&server.url(), &[&publish[..], &[text(&original.worker)]].concat()).await.json();
        assert_eq!(stored[0]["seq"], 4, "it goes on where the backup ends");
        stop(server).await;
    }
}

#[tokio::test]
async fn a_backup_holds_no_secret_that_the_server_signs_with() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    fill(&server, 3).await;
    let token = reqwest::Client::new().post(format!("{}/v1/runs/run-0/stream-token", server.url()));
    assert!(token.send().await.unwrap().status().is_success());
    let secrets = async |file: &Path| {
        let options = SqliteConnectOptions::new().filename(file).read_only(true);
        let mut reader = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query_scalar::<_, Vec<u8>>("SELECT value FROM secrets").fetch_all(&mut reader).await.unwrap()
    };
    let secret = secrets(&data.file()).await.remove(0);
    let (served, unserved) = (data.directory().join("served"), data.directory().join("unserved"));
    run(&server.url(), &["backup", text(&served)]).await.succeeds();
    run(NOWHERE, &["backup", text(&unserved), "--data", text(&data.file())]).await.succeeds();
    for file in [&served, &unserved] {
        assert_eq!(secrets(file).await.len(), 0);
        let bytes = fs::read(file).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret), "not even in a free page");
    }
}
