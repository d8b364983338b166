//! Export, import and backup of a store that has lost events: what is kept comes through, and nothing of the rest.

use serde_json::Value;

use crate::client;
use crate::command::{Ran, run};
use crate::harness::{Data, Server, eventually};
use crate::transfer::{NOWHERE, body, export, import};

/// A store with a run that begins with the event 4, of which the event 5 has lost its payload, and a held run below the feed.
async fn shortened() -> Data {
    let data = Data::new();
    let options = ["--retain-type", "old=20ms", "--retain-interval-ms", "100"];
    let server = Server::with(&data.file(), &options).await;
    let mut events = server.events().await;
    let of = |event_type: &str| client::event("", event_type, r#"{"text":"x"}"#);
    for (run_id, types) in [("r", &["old", "old", "old", "new", "old", "new"][..]), ("whole", &["new", "run_end"])] {
        events.publish(client::publish(run_id, types.iter().map(|name| of(name)).collect())).await.unwrap();
    }
    ends_once_run_r_begins_with(4, server).await;
    data
}

async fn ends_once_run_r_begins_with(seq: u64, server: Server) {
    let mut runs = server.runs().await;
    let mut first_seq = async || {
        let request = runlog::pb::GetRunRequest { run_id: "r".to_owned() };
        runs.get_run(request).await.unwrap().into_inner().run.unwrap().first_seq
    };
    eventually("the removal", async || first_seq().await == seq).await;
    server.terminate().await;
    assert!(server.ended().await.0.success());
}

/// A store with a step whose deltas are compacted.
async fn compacted() -> Data {
    let data = Data::new();
    let options = ["--compact-deltas-after", "1ms", "--retain-interval-ms", "100"];
    let server = Server::with(&data.file(), &options).await;
    let delta = r#"{"task_id":"t","kind":"content_delta","content_delta":"x"}"#;
    let done = r#"{"task_id":"t","content":"xxx"}"#;
    let events = [("step.progress", delta), ("step.progress", delta), ("step.progress", delta), ("step.done", done)];
    let events = events.map(|(event_type, payload)| client::event("", event_type, payload));
    server.events().await.publish(client::publish("r", events.into())).await.unwrap();
    let url = server.url();
    let is_compacted = async || run(&url, &["list", "r", "--json"]).await.json()[2]["joined_from"] == 1;
    eventually("the compaction", is_compacted).await;
    server.terminate().await;
    assert!(server.ended().await.0.success());
    data
}

async fn listed(data: &Data, run_id: &str) -> Vec<Value> {
    let server = Server::start(&data.file()).await;
    let events = run(&server.url(), &["list", run_id, "--json", "--full"]).await.json();
    server.terminate().await;
    assert!(server.ended().await.0.success());
    events
}

fn succeeded(ran: Ran) {
    ran.succeeds();
}

#[tokio::test]
async fn an_export_of_a_shortened_store_is_imported_as_it_is_and_again_without_a_change() {
    let (source, target) = (shortened().await, Data::new());
    let (from, into) = (source.file(), target.file());
    let (from, into) = (["--data", from.to_str().unwrap()], ["--data", into.to_str().unwrap()]);
    let (first, second) = (source.directory().join("first"), source.directory().join("second"));
    succeeded(export(&from, &first).await);
    for _ in 0..2 {
        succeeded(import(&first, &into).await);
    }
    succeeded(export(&into, &second).await);
    assert_eq!(body(&first).lines().count(), body(&second).lines().count());
    let of_run = source.directory().join("of_run");
    succeeded(export(&[&from[..], &["--run", "r"]].concat(), &of_run).await);
    assert!(body(&of_run).contains(r#""run_first_seq":4"#), "{}", body(&of_run));
    for run_id in ["r", "whole"] {
        // The feed still has places of events that their run has no more; the target has them as events without payload.
        let mut imported = listed(&target, run_id).await;
        imported.retain(|event| run_id == "whole" || event["seq"].as_u64() >= Some(4));
        assert_eq!(listed(&source, run_id).await, imported);
    }
    let seqs: Vec<_> = listed(&target, "r").await.iter().map(|event| event["seq"].clone()).collect();
    assert_eq!(seqs.last(), Some(&6.into()));
    let gone = listed(&target, "r").await.into_iter().find(|event| event["seq"] == 5).unwrap();
    assert_eq!((&gone["removal"], &gone["payload"]), (&"expired".into(), &serde_json::json!({})));
    // The source goes on from its file by itself.
    succeeded(run(NOWHERE, &[&["export", "--resume", "--file", first.to_str().unwrap()], &from[..]].concat()).await);
}

#[tokio::test]
async fn a_backup_of_a_shortened_store_is_verified_and_restored() {
    let (source, target) = (shortened().await, Data::new());
    let backup = source.directory().join("backup.db");
    let (from, backup) = (source.file(), backup.to_str().unwrap());
    succeeded(run(NOWHERE, &["backup", backup, "--data", from.to_str().unwrap(), "--verify"]).await);
    succeeded(run(NOWHERE, &["verify", backup]).await);
    succeeded(run(NOWHERE, &["restore", backup, "--data", target.file().to_str().unwrap()]).await);
    assert_eq!(listed(&source, "r").await, listed(&target, "r").await);
    succeeded(
        run(NOWHERE, &["check", "--deep", "--data", target.file().to_str().unwrap(), "--listen", "127.0.0.1:0"]).await,
    );
}

#[tokio::test]
async fn an_export_is_not_resumed_over_removed_events_and_stays_as_it_is() {
    let data = Data::new();
    let of = |event_type: &str| client::event("", event_type, r#"{"text":"x"}"#);
    let server = Server::start(&data.file()).await;
    let mut events = server.events().await;
    for run_id in ["ended", "r"] {
        events.publish(client::publish(run_id, vec![of("old"), of("old")])).await.unwrap();
    }
    server.terminate().await;
    assert!(server.ended().await.0.success());
    let path = data.file();
    let from = ["--data", path.to_str().unwrap()];
    let [feed, of_run, of_ended] = ["feed", "of_run", "of_ended"].map(|name| data.directory().join(name));
    succeeded(export(&from, &feed).await);
    succeeded(export(&[&from[..], &["--run", "r"]].concat(), &of_run).await);
    succeeded(export(&[&from[..], &["--run", "ended"]].concat(), &of_ended).await);
    let server = Server::start(&path).await;
    let mut events = server.events().await;
    for event_type in ["old", "old", "new"] {
        events.publish(client::publish("r", vec![of(event_type)])).await.unwrap();
    }
    server.terminate().await;
    assert!(server.ended().await.0.success());
    // Only now: the newest event keeps its place.
    let server = Server::with(&path, &["--retain-type", "old=20ms", "--retain-interval-ms", "100"]).await;
    ends_once_run_r_begins_with(5, server).await;
    let resume = async |file: &std::path::Path| export(&["--resume", from[0], from[1]], file).await;
    for (file, removed, written) in [(&feed, "the feed up to 6", 4), (&of_run, "run r up to 4", 2)] {
        let before = std::fs::read(file).unwrap();
        let said = format!("has removed the events of {removed}, and those of the file end with {written}");
        resume(file).await.fails(73, &[&said, "export into a new one"]);
        assert!(std::fs::read(file).unwrap() == before);
    }
    // Nothing is missing in it.
    let ran = resume(&of_ended).await;
    assert!(ran.code == Some(0) && ran.stderr.contains("nothing came since"), "{ran:?}");
}

#[tokio::test]
async fn exports_imports_and_backups_keep_from_which_seq_a_text_is_joined() {
    let (source, target, restored) = (compacted().await, Data::new(), Data::new());
    let (from, into, copy) = (source.file(), target.file(), restored.file());
    let (from, into) = (["--data", from.to_str().unwrap()], ["--data", into.to_str().unwrap()]);
    let file = source.directory().join("export");
    succeeded(export(&from, &file).await);
    assert_eq!(body(&file).matches(r#""joined_from":1"#).count(), 1, "{}", body(&file));
    for _ in 0..2 {
        succeeded(import(&file, &into).await);
    }
    let stored = listed(&source, "r").await;
    assert_eq!((&stored[2]["joined_from"], stored[2]["payload"]["content_delta"].as_str()), (&1.into(), Some("xxx")));
    assert_eq!(listed(&target, "r").await, stored);
    let backup = source.directory().join("backup.db");
    let backup = backup.to_str().unwrap();
    succeeded(run(NOWHERE, &["backup", backup, from[0], from[1], "--verify"]).await);
    succeeded(run(NOWHERE, &["restore", backup, "--data", copy.to_str().unwrap()]).await);
    assert_eq!(listed(&restored, "r").await, stored);
}
