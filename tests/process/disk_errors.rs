//! A disk that fails in the middle of a commit: written but unconfirmed data may reappear after a kill, so the answer
//! is `OUTCOME_UNKNOWN`. Promises 1, 3 and 8.

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tonic::Code;

use crate::client::{event, list, publish, refusal};
use crate::command::{begin, end, run};
use crate::harness::{Data, Server, eventually};
use crate::preload::Library;

/// Fails the sync of the write-ahead log while a file `FAILING_SYNCS` exists.
const SHIM: &str = r#"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(int file) {
    char link[64], name[4096];
    const char *flag = getenv("FAILING_SYNCS");
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, sizeof name);
    return flag && access(flag, F_OK) == 0 && length > 4 && memcmp(name + length - 4, "-wal", 4) == 0;
}

int fsync(int file) {
    if (fails(file)) { errno = EIO; return -1; }
    return syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    if (fails(file)) { errno = EIO; return -1; }
    return syscall(SYS_fdatasync, file);
}
"#;

/// The preloaded library, and the path of the file that makes syncs fail.
struct Disk {
    library: Library,
    directory: TempDir,
}

impl Disk {
    fn new() -> Self {
        Self { library: Library::new(SHIM), directory: TempDir::new().unwrap() }
    }

    fn flag(&self) -> PathBuf {
        self.directory.path().join("failing")
    }

    fn fail(&self) {
        std::fs::write(self.flag(), "").unwrap();
    }

    fn recover(&self) {
        std::fs::remove_file(self.flag()).unwrap();
    }

    async fn server(&self, data: &Data) -> Server {
        let environment = [("LD_PRELOAD", self.library.path()), ("FAILING_SYNCS", self.flag())];
        Server::over(["--data", data.file().to_str().unwrap()], &[], &environment).await
    }
}

/// Publishes one event; returns its seq and the duplicate flag, or the error.
async fn send(server: &Server, id: &str) -> Result<(u64, bool), (Code, String)> {
    let request = publish("r", vec![event(id, "step", "{}")]);
    match server.events().await.publish(request).await {
        Ok(answer) => Ok(answer.into_inner().events.first().map(|event| (event.seq, event.duplicate)).unwrap()),
        Err(status) => Err(refusal(&status)),
    }
}

async fn ids(server: &Server) -> Vec<String> {
    list(&mut server.events().await, "r").await.into_iter().map(|event| event.event_id).collect()
}

#[tokio::test]
async fn a_commit_that_the_disk_did_not_confirm_is_unknown_and_may_be_there_after_a_kill() {
    let (data, disk) = (Data::new(), Disk::new());
    let unknown = Err((Code::Unavailable, "OUTCOME_UNKNOWN".to_owned()));
    let server = disk.server(&data).await;
    assert_eq!(send(&server, "first").await, Ok((1, false)));
    disk.fail();
    assert_eq!(send(&server, "second").await, unknown);
    assert_eq!(ids(&server).await, ["first"], "nobody sees what may go");
    server.kill().await;
    disk.recover();
    // The whole commit was in the log, so the event is found there.
    let server = disk.server(&data).await;
    assert_eq!(ids(&server).await, ["first", "second"]);
    assert_eq!(send(&server, "second").await, Ok((2, true)));
    // Without a kill, the next commit overwrites the failed commit.
    disk.fail();
    assert_eq!(send(&server, "third").await, unknown);
    assert_eq!(send(&server, "fourth").await, unknown);
    disk.recover();
    assert_eq!(send(&server, "fifth").await, Ok((3, false)));
    assert_eq!(send(&server, "third").await, Ok((4, false)));
    server.kill().await;
    let server = disk.server(&data).await;
    assert_eq!(ids(&server).await, ["first", "second", "fifth", "third"]);
    assert_eq!(send(&server, "fourth").await, Ok((5, false)));
}

#[tokio::test]
async fn the_command_line_says_that_the_outcome_is_unknown_and_how_to_find_out() {
    let (data, disk) = (Data::new(), Disk::new());
    let server = disk.server(&data).await;
    let url = server.url();
    disk.fail();
    let one = ["publish", "--run", "r", "--type", "step"];
    let ran = run(&url, &one).await;
    let said = ran.stderr.clone();
    ran.fails(69, &["OUTCOME_UNKNOWN", "is not known", "repeat it with --event-id"]);
    let id = said.split("--event-id ").nth(1).unwrap().split(':').next().unwrap().to_owned();
    run(&url, &[&one[..], &["--event-id", "mine"]].concat())
        .await
        .fails(69, &["OUTCOME_UNKNOWN", "send it again with the same --event-id"]);
    // `publish --stdin` retries by itself, each line with the same id.
    let mut many = begin(&url, &["publish", "--stdin", "--json"]);
    let mut stdin = many.stdin.take().unwrap();
    let line = |n: usize| format!("{{\"run_id\":\"many\",\"type\":\"step\",\"payload\":{n}}}\n");
    stdin.write_all((0..20).map(line).collect::<String>().as_bytes()).await.unwrap();
    drop(stdin);
    let mut printed = BufReader::new(many.stderr.take().unwrap()).lines();
    while !printed.next_line().await.unwrap().unwrap().contains("is not known") {}
    disk.recover();
    let rest = tokio::spawn(async move { while let Ok(Some(_)) = printed.next_line().await {} });
    let answers = end("publish --stdin", many).await.json();
    rest.await.unwrap();
    let seqs: Vec<_> = answers.iter().map(|answer| answer["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
    assert_eq!(list(&mut server.events().await, "many").await.len(), 20);
    let printed = run(&url, &[&one[..], &["--event-id", &id, "--json"]].concat()).await.json();
    assert_eq!((&printed[0]["seq"], &printed[0]["duplicate"]), (&1.into(), &false.into()));
    eventually("the run", async || ids(&server).await == [id.as_str()]).await;
}
