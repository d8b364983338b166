//! `backup`: a copy of a served store holds what was acknowledged before it, and nothing is left of one that broke off.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use runlog::pb;
use runlog::pb::admin_service_client::AdminServiceClient;
use runlog::pb::backup_response::Part;
use serde_json::Value;
use tokio::process::Child;
use tonic::Code;

use crate::client::{self, event, publish};
use crate::cluster::Database;
use crate::command::{begin, end, run};
use crate::disk_full::SmallDisk;
use crate::harness::{Data, Server, eventually, within};
use crate::load::Load;
use crate::transfer::{NOWHERE, body};

/// Exit codes: a conflict, too much at the moment, and a check that failed.
const CONFLICT: i32 = 73;
const TRY_LATER: i32 = 75;

/// Makes the copy wait before its first rows, this often.
fn waiting(times: &str) -> [(&'static str, PathBuf); 1] {
    [("FAILPOINTS", format!("sqlite-backup-copying={times}").into())]
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Where the server has a copy while it makes it.
fn in_progress(data: &Data) -> PathBuf {
    data.directory().join("runlog.db-backup-in-progress")
}

/// Rows of the log, one for each event.
pub async fn fill(server: &Server, events: usize) {
    let mut calls = server.events().await;
    for n in 0..events {
        let payload = format!("{{\"n\":{n},\"needle\":\"{}\"}}", "y".repeat(40));
        let request = publish(&format!("run-{}", n % 7), vec![event(&format!("e{n}"), "step", &payload)]);
        calls.publish(request).await.unwrap();
    }
}

/// A server on a filled store, in the middle of a backup into the returned file whose copy waits this often.
async fn copying(data: &Data, times: &str) -> (Server, Child, PathBuf) {
    let (path, file) = (data.file(), data.directory().join("backup"));
    let served = Server::start(&path).await;
    fill(&served, 300).await;
    served.kill().await;
    let server = Server::over(["--data", text(&path)], &[], &waiting(times)).await;
    let backup = begin(&server.url(), &["backup", text(&file)]);
    eventually("a copy in progress", async || in_progress(data).exists()).await;
    (server, backup, file)
}

/// The events of a file in the order of their commits, without the trailer.
async fn events_of(file: &Path, export: &Path) -> String {
    run(NOWHERE, &["export", "--data", text(file), "--file", text(export)]).await.succeeds();
    let mut lines = body(export);
    lines.truncate(lines.trim_end().rfind('\n').unwrap() + 1);
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_holds_what_was_acknowledged_before_it_and_is_the_beginning_of_the_log() {
    let data = Data::new();
    let at = |name: &str| data.directory().join(name);
    let server = Server::start(&data.file()).await;
    let mut reports = Vec::new();
    Load::new()
        .publish(server, async |server, mut acked| {
            for (name, moment) in [("one", 2_000), ("two", 6_000)] {
                within("acknowledgements", acked.wait_for(|acked| *acked >= moment)).await.unwrap();
                client::publish_one(&mut server.events().await, "marker", "step", &format!("{{\"{name}\":1}}")).await;
                let before = *acked.borrow();
                let made = run(&server.url(), &["backup", text(&at(name)), "--json"]).await.json().remove(0);
                assert!(made["events"].as_u64().unwrap() > before, "{before} were acknowledged before: {made}");
                let now = *acked.borrow();
                within("publishes go on", acked.wait_for(|acked| *acked > now)).await.unwrap();
                reports.push((name, made));
            }
            server.terminate().await;
            assert_eq!(server.ended().await.0.code(), Some(0));
        })
        .await;
    let whole = events_of(&data.file(), &at("whole.ndjson")).await;
    for (name, made) in reports {
        let restored = at(&format!("{name}.db"));
        run(NOWHERE, &["restore", text(&at(name)), "--data", text(&restored)]).await.succeeds();
        let part = events_of(&restored, &at(&format!("{name}.ndjson"))).await;
        assert!(whole.starts_with(&part), "{name} is no beginning of the log");
        assert_eq!(part.lines().count() as u64, made["events"].as_u64().unwrap());
        assert!(part.contains(&format!("\"{name}\":1")), "the event before the backup");
        assert_eq!(made["projects"][0]["position"], made["events"]);
        let verified = run(NOWHERE, &["verify", text(&at(name)), "--json"]).await.json().remove(0);
        assert_eq!((&verified["sha256"], &verified["replayed"]), (&made["sha256"], &Value::Bool(true)));
    }
}

#[tokio::test]
async fn a_server_killed_in_the_middle_of_a_copy_leaves_no_backup_and_the_next_start_removes_the_rest() {
    let data = Data::new();
    let (server, backup, _) = copying(&data, "sleep(3600000)").await;
    let other = data.directory().join("other");
    let rights = in_progress(&data).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(rights, 0o600, "it holds what all projects hold");

    run(&server.url(), &["backup", text(&other)]).await.fails(TRY_LATER, &["BACKUP_IN_PROGRESS"]);
    let second = AdminServiceClient::new(server.channel().await).backup(pb::BackupRequest {}).await;
    let refused = second.unwrap().into_inner().message().await.unwrap_err();
    assert_eq!(client::refusal(&refused), (Code::ResourceExhausted, "BACKUP_IN_PROGRESS".to_owned()));
    let wait = tonic_types::StatusExt::get_details_retry_info(&refused).unwrap().retry_delay.unwrap();
    assert!(!wait.is_zero());
    let seq = client::publish_one(&mut server.events().await, "meanwhile", "step", "{}").await;
    assert_eq!(seq, 1, "publishing goes on");

    server.kill().await;
    let broken = end("the backup", backup).await;
    assert!(broken.code != Some(0) && broken.stdout.is_empty(), "{broken:?}");
    let names = || fs::read_dir(data.directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert!(names().iter().all(|name| !name.to_str().unwrap().starts_with("backup")), "{:?}", names());
    assert!(!other.exists() && in_progress(&data).exists());
    let server = Server::start(&data.file()).await;
    assert!(!in_progress(&data).exists());
    assert_eq!(client::list(&mut server.events().await, "meanwhile").await.len(), 1);
}

#[tokio::test]
async fn the_write_ahead_log_grows_while_a_copy_is_made_and_no_commit_tries_to_restart_it() {
    let data = Data::new();
    let (server, _backup, _) = copying(&data, "sleep(3600000)").await;
    let mut events = server.events().await;
    let large = format!("\"{}\"", "x".repeat(1_000_000));
    // More than the log has in general.
    for n in 0..90 {
        events.publish(publish("large", vec![event(&n.to_string(), "step", &large)])).await.unwrap();
    }
    assert!(data.directory().join("runlog.db-wal").metadata().unwrap().len() > 90_000_000);
    let failures = server.metric("runlog_sqlite_maintenance_failures_total{work=\"checkpoint\"}").await;
    assert_eq!(failures.to_bits(), 0f64.to_bits(), "{}", server.log());
    server.kill().await;
}

#[tokio::test]
async fn a_client_killed_in_the_middle_leaves_no_backup_and_the_next_one_of_that_name_takes_over() {
    let data = Data::new();
    let (server, mut backup, file) = copying(&data, "2*sleep(1000)").await;
    backup.kill().await.unwrap();
    eventually("the end of the copy", async || !in_progress(&data).exists()).await;
    let partial = data.directory().join("backup.partial");
    assert!(!file.exists() && partial.exists());
    eventually("room for the next", async || run(&server.url(), &["backup", text(&file)]).await.code == Some(0)).await;
    assert!(file.exists() && !partial.exists());
    let log = server.log();
    for outcome in ["OUTCOME_UNKNOWN", "DONE"] {
        let is_audited = |line: &str| line.contains("store.backup") && line.contains(outcome);
        assert!(log.lines().any(is_audited), "{outcome}: {log}");
    }
    for series in ["backups_total{outcome=\"failed\"}", "backups_total{outcome=\"whole\"}", "last_backup_seconds"] {
        assert!(server.metric(&format!("runlog_{series}")).await > 0.0, "{series}");
    }
}

#[tokio::test]
async fn a_reader_that_stops_is_cut_and_its_copy_goes_with_it() {
    let data = Data::new();
    let server = Server::with(&data.file(), &["--stall-timeout-ms", "1000"]).await;
    let mut events = server.events().await;
    let large = format!("\"{}\"", "x".repeat(1_000_000));
    for n in 0..30 {
        events.publish(publish("large", vec![event(&n.to_string(), "step", &large)])).await.unwrap();
    }
    let mut admin = AdminServiceClient::new(server.channel().await);
    let mut parts = admin.backup(pb::BackupRequest {}).await.unwrap().into_inner();
    let first = within("a header", parts.message()).await.unwrap().unwrap().part.unwrap();
    let Part::Header(header) = first else { panic!("{first:?}") };
    assert!(header.bytes > 30_000_000 && header.kind == "sqlite" && header.events == 30, "{header:?}");
    let file = data.directory().join("backup");
    let refused = run(&server.url(), &["backup", text(&file)]).await;
    refused.fails(TRY_LATER, &["BACKUP_IN_PROGRESS"]);
    eventually("the next backup", async || run(&server.url(), &["backup", text(&file)]).await.code == Some(0)).await;
    let status = loop {
        match within("the end of the cut stream", parts.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended as if it were whole"),
            Err(status) => break status,
        }
    };
    assert!(client::is_broken(&status), "{status:?}");
}

#[tokio::test]
async fn a_draining_server_ends_a_backup_by_name() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let mut events = server.events().await;
    let large = format!("\"{}\"", "x".repeat(1_000_000));
    for n in 0..30 {
        events.publish(publish("large", vec![event(&n.to_string(), "step", &large)])).await.unwrap();
    }
    let mut parts =
        AdminServiceClient::new(server.channel().await).backup(pb::BackupRequest {}).await.unwrap().into_inner();
    within("a header", parts.message()).await.unwrap();
    server.terminate().await;
    server.says("draining").await;
    let ended = loop {
        match within("the end of the stream", parts.message()).await {
            Ok(part) => assert!(!matches!(part.unwrap().part, Some(Part::Trailer(_))), "it was not whole"),
            Err(status) => break status,
        }
    };
    assert_eq!(client::refusal(&ended), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    assert_eq!(server.ended().await.0.code(), Some(0));
}

#[tokio::test]
async fn a_disk_without_room_for_a_copy_is_named_and_publishes_go_on() {
    let Some(disk) = SmallDisk::mount(100) else { return };
    let elsewhere = Data::new();
    let (store, file) = (disk.path().join("runlog.db"), elsewhere.directory().join("backup"));
    let server = Server::start(&store).await;
    let mut events = server.events().await;
    let large = format!("\"{}\"", "x".repeat(1_000_000));
    for n in 0..20 {
        events.publish(publish("large", vec![event(&n.to_string(), "step", &large)])).await.unwrap();
    }
    let refused = run(&server.url(), &["backup", text(&file)]).await;
    refused.fails(TRY_LATER, &["BACKUP_NO_SPACE", "beside the database", "--data"]);
    assert!(!file.exists() && !disk.path().join("runlog.db-backup-in-progress").exists());
    client::publish_one(&mut events, "large", "step", "{}").await;
    // Without the server, onto another disk; and onto one that has no room.
    run(NOWHERE, &["backup", text(&file), "--data", text(&store)]).await.succeeds();
    let Some(small) = SmallDisk::mount(4) else { return };
    let full = small.path().join("backup");
    let no_room = run(&server.url(), &["backup", text(&full), "--data", text(&store)]).await;
    no_room.fails(78, &["no space left"]);
    assert_eq!(fs::read_dir(small.path()).unwrap().count(), 0, "nothing is left there");
}

#[tokio::test]
async fn a_file_is_copied_without_its_server_whether_one_serves_it_or_not() {
    let data = Data::new();
    let at = |name: &str| data.directory().join(name);
    let server = Server::start(&data.file()).await;
    fill(&server, 50).await;
    let copy = async |name: &str| {
        let (file, source) = (at(name), data.file());
        let args = ["backup", text(&file), "--data", text(&source), "--verify", "--json"];
        run(NOWHERE, &args).await.json().remove(0)
    };
    let served = copy("served").await;
    assert_eq!((&served["events"], &served["replayed"]), (&50.into(), &Value::Bool(true)));
    server.terminate().await;
    server.ended().await;
    let before = fs::read(data.file()).unwrap();
    let closed = copy("closed").await;
    assert_eq!(closed["projects"], served["projects"]);
    assert!(fs::read(data.file()).unwrap() == before && !at("runlog.db-wal").exists(), "the source is as it was");
    let server = Server::start(&data.file()).await;
    server.kill().await;
    assert_eq!(copy("killed").await["events"], 50);
    run(NOWHERE, &["backup", text(&at("none")), "--data", text(&at("nowhere.db"))]).await.fails(66, &["no such store"]);
    assert!(!at("none").exists() && !at("nowhere.db").exists());
}

#[tokio::test]
async fn a_file_that_is_there_is_replaced_by_force_only_and_a_store_in_use_never() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    fill(&server, 10).await;
    let file = data.directory().join("backup");
    fs::write(&file, "mine").unwrap();
    let url = server.url();
    run(&url, &["backup", text(&file)]).await.fails(CONFLICT, &["is there already", "--force"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    run(&url, &["backup", text(&file), "--force"]).await.succeeds();
    run(NOWHERE, &["verify", text(&file)]).await.succeeds();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    run(&url, &["backup", text(&data.file()), "--force"]).await.fails(CONFLICT, &["runlog.db-wal", "in use"]);
    run(NOWHERE, &["verify", text(&data.file())]).await.fails(CONFLICT, &["write-ahead log", "no backup"]);
    let missing = data.directory().join("nowhere/backup");
    run(&url, &["backup", text(&missing)]).await.fails(66, &["nowhere"]);
}

#[tokio::test]
async fn postgresql_is_backed_up_by_its_own_means() {
    let Some(database) = Database::create().await else { return };
    let server = Server::on(&database.url()).await;
    let data = Data::new();
    let file = data.directory().join("backup");
    run(&server.url(), &["backup", text(&file)]).await.fails(CONFLICT, &["BACKUP_UNSUPPORTED", "pg_basebackup"]);
    assert!(!file.exists());
}
