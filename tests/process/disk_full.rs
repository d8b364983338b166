//! A full disk under a running server: no acknowledged event is lost, reads work, and the same process accepts events
//! again after space is freed.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use runlog::pb;
use tempfile::TempDir;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::client::{self, event, json_of, publish};
use crate::harness::{Server, eventually};

/// A small mounted file system, unmounted when dropped.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None`, with a note past cargo's capture, without the right to mount, which only root has; CI must have the
    /// right.
    pub fn mount(mebibytes: u32) -> Option<Self> {
        let disk = Self(TempDir::new().unwrap());
        let size = format!("size={mebibytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "runlog-test"]).arg(disk.0.path()).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(disk);
        }
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must be able to mount a tmpfs: run as root");
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: a full disk: this process may not mount a tmpfs").unwrap();
        None
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// Fills the remaining space, to the last byte.
fn fill(path: &Path) {
    let mut ballast = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 4_096, 1] {
        let block = vec![0; size];
        while ballast.write_all(&block).is_ok() {}
    }
}

fn is_full(status: &Status) -> bool {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    let waits = details.retry_info().and_then(|retry| retry.retry_delay).is_some_and(|delay| !delay.is_zero());
    (status.code(), reason, waits) == (Code::ResourceExhausted, Some("STORE_FULL"), true)
}

fn request(n: usize) -> pb::PublishRequest {
    publish("r", vec![event(&format!("e{n}"), "step", &format!("{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(30_000)))])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_nothing_acknowledged_is_lost_and_space_brings_the_same_process_back() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let file = disk.path().join("runlog.db");
    let server = Server::start(&file).await;
    let mut events = server.events().await;
    let mut acked = 0;
    let mut follower = events.subscribe(pb::SubscribeRequest { wait_for_run: true, ..client::follow("r") }).await;
    let follower = follower.as_mut().unwrap().get_mut();
    for _ in 0..50 {
        events.publish(request(acked)).await.unwrap();
        acked += 1;
    }
    let ballast = disk.path().join("ballast");
    fill(&ballast);
    // Space that the files already own can still be used.
    let refused = loop {
        match events.publish(request(acked)).await {
            Ok(_) => acked += 1,
            Err(status) => break status,
        }
    };
    assert!(is_full(&refused), "{refused:?}");
    for _ in 0..3 {
        let refused = events.publish(request(acked)).await.unwrap_err();
        assert!(is_full(&refused), "{refused:?}");
    }

    // Reads work: list, the run's row, replay, and the open stream.
    assert_eq!(client::list(&mut events, "r").await.len(), acked);
    let row = server.runs().await.get_run(pb::GetRunRequest { run_id: "r".to_owned() }).await.unwrap().into_inner();
    assert_eq!(row.run.unwrap().last_seq, acked as u64);
    let mut replay = events.subscribe(client::follow("r")).await.unwrap().into_inner();
    assert_eq!(client::caught_up(&mut replay).await.len(), acked);
    let mut received = 0;
    while received < acked {
        if let Some(pb::subscribe_response::Frame::Events(batch)) = client::frame(follower).await.unwrap().frame {
            received += batch.events().unwrap().len();
        }
    }

    std::fs::remove_file(&ballast).unwrap();
    eventually("the first event after there is space", async || match events.publish(request(acked)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            assert_eq!((answer.events[0].seq, answer.events[0].duplicate), (acked as u64 + 1, false));
            true
        }
        Err(status) => {
            assert!(is_full(&status), "{status:?}");
            false
        }
    })
    .await;
    acked += 1;
    for _ in 0..20 {
        events.publish(request(acked)).await.unwrap();
        acked += 1;
    }
    let live = client::frame(&mut replay).await.unwrap();
    assert!(matches!(live.frame, Some(pb::subscribe_response::Frame::Events(_))), "{live:?}");

    server.kill().await;
    let server = Server::start(&file).await;
    let stored = client::list(&mut server.events().await, "r").await;
    assert_eq!(stored.len(), acked);
    for (n, event) in stored.iter().enumerate() {
        assert_eq!((event.seq, event.event_id.as_str()), (n as u64 + 1, format!("e{n}").as_str()));
        assert!(json_of(event).starts_with(&format!("{{\"n\":{n},")));
    }
}

/// Publishes small events until a flush has met the full disk. If a commit meets the full disk first, another round
/// starts at another offset of the write-ahead log.
async fn fill_until_a_flush_fails(server: &Server, ballast: &Path) -> (usize, usize) {
    let mut events = server.events().await;
    let mut acked = 0;
    for round in 1..=50 {
        fill(ballast);
        loop {
            if let Err(refused) = publish_numbered(&mut events, acked).await {
                assert!(is_full(&refused), "{refused:?}");
                break;
            }
            acked += 1;
            if server.metric(FLUSH_FAILURES).await > 0.0 {
                return (acked, round);
            }
        }
        std::fs::remove_file(ballast).unwrap();
        for _ in 0..30 + round {
            eventually("space", async || publish_numbered(&mut events, acked).await.is_ok()).await;
            acked += 1;
        }
    }
    panic!("no flush failed");
}

async fn publish_numbered(events: &mut client::Events, n: usize) -> Result<(), Status> {
    let numbered = vec![event(&format!("e{n}"), "step", &format!("{{\"n\":{n}}}"))];
    events.publish(publish("r", numbered)).await.map(drop)
}

/// Number of log lines about flushes with this text.
fn log_lines_of_flush(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text) && line.contains("\"flush\"")).count()
}

const FLUSH_FAILURES: &str = "runlog_sqlite_maintenance_failures_total{work=\"flush\"}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_met_a_full_disk_resumes_once_there_is_space_and_no_commit_rereads_the_log() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let (file, ballast) = (disk.path().join("runlog.db"), disk.path().join("ballast"));
    let server = Server::with(&file, &["--flush-entries", "1"]).await;
    let (mut acked, outages) = fill_until_a_flush_fails(&server, &ballast).await;
    std::fs::remove_file(&ballast).unwrap();
    let mut events = server.events().await;
    eventually("the end of the log is flushed again", async || {
        let is_stored = publish_numbered(&mut events, acked).await.is_ok();
        acked += usize::from(is_stored);
        is_stored && log_lines_of_flush(&server.log(), "maintenance of the store works again") > 0
    })
    .await;
    let failures = server.metric(FLUSH_FAILURES).await;
    for _ in 0..100 {
        publish_numbered(&mut events, acked).await.unwrap();
        acked += 1;
        assert!(server.metric("runlog_sqlite_unindexed_entries").await <= 2.0, "the unflushed end stays short");
    }
    assert_eq!(server.metric(FLUSH_FAILURES).await.to_bits(), failures.to_bits(), "no further flush fails");
    assert_eq!(server.metric("runlog_sqlite_log_rereads_total").await.to_bits(), 0f64.to_bits());
    let log = server.log();
    assert!(log_lines_of_flush(&log, "maintenance of the store failed") <= outages, "once for each outage: {log}");

    server.kill().await;
    let server = Server::start(&file).await;
    let stored = client::list(&mut server.events().await, "r").await;
    assert!(stored.iter().enumerate().all(|(n, event)| event.event_id == format!("e{n}")));
    assert_eq!(stored.len(), acked, "nothing acknowledged is lost, and nothing is there twice");
}

#[tokio::test]
async fn a_server_that_finds_a_full_disk_says_so_and_starts_once_there_is_space() {
    let Some(disk) = SmallDisk::mount(8) else { return };
    let (file, ballast) = (disk.path().join("runlog.db"), disk.path().join("ballast"));
    fill(&ballast);
    let (status, log) = crate::harness::Process::serve(&file, &[]).ended().await;
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains(file.to_str().unwrap()) && log.contains("no space left"), "{log}");
    std::fs::remove_file(&ballast).unwrap();
    Server::start(&file).await;
}
