//! Keys on the command line: made on a store without a server and through a server, sent by commands, and never shown.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::command::run;
use crate::harness::{Data, Server, eventually};

/// The reason of an exit without permission.
const DENIED: i32 = 77;

/// A server on a store with an admin key, the file with that key, and the directory.
async fn with_admin_key() -> (Server, PathBuf, Data) {
    let data = Data::new();
    let path = data.file();
    let file = path.to_str().unwrap();
    let args = ["keys", "create", "--name", "admin", "--scope", "admin", "--data", file, "--json"];
    let created = run("http://127.0.0.1:1", &args).await.json();
    let admin = key_file(&data, "admin.key", &created[0]);
    (Server::start(&path).await, admin, data)
}

/// Writes the key of an answer to a file.
fn key_file(data: &Data, name: &str, created: &Value) -> PathBuf {
    let file = data.directory().join(name);
    fs::write(&file, format!("{}\n", created["key"].as_str().unwrap())).unwrap();
    file
}

#[tokio::test]
async fn keys_are_made_sent_listed_rotated_and_revoked_by_commands() {
    let (server, admin, data) = with_admin_key().await;
    let url = server.url();
    let admin = admin.to_str().unwrap();
    let keys = async |args: &[&str]| run(&url, &[&["keys"], args, &["--key", admin, "--json"]].concat()).await.json();
    let publish = ["publish", "--run", "r", "--type", "step", "--payload", "{}"];
    run(&url, &publish).await.fails(DENIED, &["API_KEY_MISSING", "--key"]);
    run(&url, &[&publish[..], &["--key", admin]].concat()).await.fails(DENIED, &["SCOPE_MISSING", "events.publish"]);

    let scopes = "events.publish,events.read";
    let created = keys(&["create", "--name", "worker", "--scope", scopes, "--expires", "720h"]).await.remove(0);
    let worker = key_file(&data, "worker.key", &created);
    let worker = worker.to_str().unwrap();
    assert_eq!((created["project"].as_str(), created["name"].as_str()), (Some("default"), Some("worker")));
    assert_eq!(created["scopes"], serde_json::json!(["events.publish", "events.read"]));
    assert!(created["expires_at"].is_string());
    run(&url, &[&publish[..], &["--key", worker]].concat()).await.succeeds();
    for args in [vec!["list", "--run", "r"], vec!["runs", "r"], vec!["runs"], vec!["export"]] {
        run(&url, &[&args[..], &["--key", worker]].concat()).await;
    }
    run(&url, &["list", "--run", "r", "--key", worker]).await.succeeds();

    let key_id = created["key_id"].as_str().unwrap();
    let rotated = keys(&["rotate", key_id, "--overlap", "1h", "--expires", "720h"]).await.remove(0);
    let rotated_file = key_file(&data, "rotated.key", &rotated);
    run(&url, &[&publish[..], &["--key", rotated_file.to_str().unwrap()]].concat()).await.succeeds();
    run(&url, &[&publish[..], &["--key", worker]].concat()).await.succeeds();
    keys(&["revoke", key_id]).await;
    eventually("the end of the revoked key", async || {
        run(&url, &[&publish[..], &["--key", worker]].concat()).await.code == Some(DENIED)
    })
    .await;
    let listed = keys(&["list"]).await;
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|key| key["key"].is_null()), "a secret is shown once: {listed:?}");
    assert!(listed.iter().any(|key| key["key_id"] == key_id && key["revoked_at"].is_string()));
    let table = run(&url, &["keys", "list", "--key", admin]).await.succeeds();
    assert!(table.contains("revoked") && table.contains("until 2") && table.contains("valid"), "{table}");

    // The audit log has each action, with key and address, and no secret.
    let audit = |action: &str, outcome: &str| {
        let log = server.log();
        log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|line| {
            line["target"] == "runlog::audit"
                && line["action"] == action
                && line["outcome"] == outcome
                && line["address"] == "127.0.0.1"
        })
    };
    for (action, outcome) in [
        ("keys.create", "DONE"),
        ("keys.rotate", "DONE"),
        ("keys.revoke", "DONE"),
        ("access", "API_KEY_MISSING"),
        ("access", "SCOPE_MISSING"),
        ("access", "API_KEY_REVOKED"),
    ] {
        eventually(&format!("{action} {outcome}"), async || audit(action, outcome)).await;
    }
    for created in [&created, &rotated] {
        let secret = created["key"].as_str().unwrap().split_once(':').unwrap().1;
        assert!(secret.len() == 64 && !server.log().contains(secret));
    }
}

#[tokio::test]
async fn a_key_file_without_a_key_is_refused_by_its_option_before_any_call() {
    let data = Data::new();
    let file = data.directory().join("no.key");
    fs::write(&file, "secret words").unwrap();
    let ran = run("http://127.0.0.1:1", &["runs", "--key", file.to_str().unwrap()]).await;
    assert!(ran.stderr.contains("--key") && !ran.stderr.contains("secret words"), "{ran:?}");
    assert_eq!(ran.code, Some(64), "{ran:?}");
    let missing = run("http://127.0.0.1:1", &["runs", "--key", "/nowhere/key"]).await;
    assert_eq!(missing.code, Some(66), "{missing:?}");
    let served = data.file();
    let server = Server::start(&served).await;
    let offline = ["keys", "list", "--data", served.to_str().unwrap()];
    run(&server.url(), &offline).await.fails(78, &["another runlog process"]);
    run(&server.url(), &["keys", "list"]).await.fails(DENIED, &["API_KEY_MISSING"]);
    let nowhere = data.directory().join("no.db");
    run(&server.url(), &["keys", "list", "--data", nowhere.to_str().unwrap()]).await.fails(66, &["--data"]);
    assert!(!nowhere.exists(), "a list makes no store");
    let text = "key_a:0123456789abcdefghijklmnop";
    let given = run(&server.url(), &["runs", "--key", text]).await;
    assert!(given.code == Some(64) && !given.stderr.contains("0123456789"), "{given:?}");
}

#[tokio::test]
async fn the_runs_of_a_project_are_exported_and_imported_into_the_project_that_is_named() {
    let (server, admin, data) = with_admin_key().await;
    let url = server.url();
    let create = ["keys", "create", "--name", "w", "--scope", "events.publish,events.read,events.read_sensitive"];
    let create = async |project: &[&str]| {
        let args = [&create[..], project, &["--key", admin.to_str().unwrap(), "--json"]].concat();
        run(&url, &args).await.json().remove(0)
    };
    let ours = key_file(&data, "ours.key", &create(&[]).await);
    let theirs = key_file(&data, "theirs.key", &create(&["--project", "checkout"]).await);
    for (key, text) in [(&ours, "ours"), (&theirs, "theirs")] {
        let payload = format!("{{\"text\":\"{text}\"}}");
        let publish = ["publish", "--run", "same", "--type", "step", "--payload", &payload, "--key"];
        run(&url, &[&publish[..], &[key.to_str().unwrap()]].concat()).await.succeeds();
    }
    let (online, offline) = (data.directory().join("online"), data.directory().join("offline"));
    let export = ["export", "--key", theirs.to_str().unwrap(), "--file", online.to_str().unwrap()];
    run(&url, &export).await.succeeds();
    run(&url, &["export", "--project", "checkout"]).await.fails(64, &["--data"]);
    server.terminate().await;
    assert_eq!(server.ended().await.0.code(), Some(0));

    let file = data.file();
    let file = file.to_str().unwrap();
    let export = ["export", "--data", file, "--project", "checkout", "--file", offline.to_str().unwrap()];
    run(&url, &export).await.succeeds();
    run(&url, &["export", "--data", file, "--project", "nothing"]).await.fails(78, &["there is no project nothing"]);
    let (online, offline) = (fs::read_to_string(&online).unwrap(), fs::read_to_string(&offline).unwrap());
    assert_eq!(online, offline, "a server exports what the store has of the project of the key");
    assert!(online.lines().next().unwrap().contains("\"project\":\"checkout\""), "{online}");
    assert!(online.contains("theirs") && !online.contains("\"ours\""), "{online}");

    let copy = data.directory().join("copy.db");
    let copy = copy.to_str().unwrap();
    let of_file = data.directory().join("online");
    let import = ["import", of_file.to_str().unwrap(), "--data", copy];
    run(&url, &import).await.fails(64, &["the export is of the project checkout", "--project"]);
    run(&url, &[&import[..], &["--project", "again"]].concat()).await.succeeds();
    for (project, count) in [("again", 1), ("default", 0)] {
        let args = ["export", "--data", copy, "--project", project];
        let exported = run(&url, &args).await.succeeds();
        assert_eq!(exported.matches("theirs").count(), count, "{project}: {exported}");
    }
}
