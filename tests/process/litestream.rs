//! Litestream beside a server copies its SQLite file: the copy that it restores is sound, a part of the history without a
//! gap, and has all that was acknowledged before the last copying.
//!
//! `RUNLOG_TEST_LITESTREAM` names the program. Without it the test prints SKIPPED, and fails under `CI=true`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::client::publish_one;
use crate::command::run;
use crate::harness::{Data, Process, Ran, Server, eventually, within};
use crate::history::{feed, is_lost, texts};
use crate::load::Load;
use crate::transfer::NOWHERE;

/// Acknowledged events before a copying, and after it.
const BEFORE: u64 = 3_000;
const AFTER: u64 = 500;

const ROUNDS: u64 = 2;

fn program() -> Option<PathBuf> {
    let program = std::env::var_os("RUNLOG_TEST_LITESTREAM").map(PathBuf::from);
    if program.is_none() {
        // Directly to stderr, since the test harness captures the output of a passing test.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: Litestream: RUNLOG_TEST_LITESTREAM is not set; tests/all.sh sets it").unwrap();
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI copies with Litestream");
    }
    program
}

/// Litestream with the copy of one file, in a directory of its own.
struct Litestream {
    program: PathBuf,
    directory: Data,
}

impl Litestream {
    fn new(program: PathBuf, database: &Path) -> Self {
        let directory = Data::new();
        let at = directory.directory().display();
        let configuration = format!(
            "socket:\n  enabled: true\n  path: {at}/socket\ndbs:\n- path: {}\n  replica:\n    type: file\n    path: {at}/copy\n",
            database.display()
        );
        fs::write(directory.directory().join("litestream.yml"), configuration).unwrap();
        Self { program, directory }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args);
        command
    }

    fn file(&self, name: &str) -> String {
        self.directory.directory().join(name).display().to_string()
    }

    fn start(&self) -> Process {
        Process::of(self.command(&["replicate", "-config", &self.file("litestream.yml")]))
    }

    /// Waits until the copy has all that the file has now.
    async fn copy_all(&self, database: &Path) {
        let socket = self.file("socket");
        let sync = ["sync", "-wait", "-socket", &socket, database.to_str().unwrap()];
        eventually("a copy", async || Ran::of(self.command(&sync)).await.code == Some(0)).await;
    }

    async fn restore(&self, to: &Path) {
        let from = format!("file://{}", self.file("copy"));
        Ran::of(self.command(&["restore", "-o", to.to_str().unwrap(), &from])).await.succeeds();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_litestream_restores_has_all_that_was_copied_and_refuses_cursors_of_the_rest() {
    let Some(program) = program() else { return };
    let (data, restored) = (Data::new(), Data::new());
    let litestream = Litestream::new(program, &data.file());
    let mut load = Load::new();
    let mut lost = Default::default();
    // Both are killed, and go on with what they find.
    for _ in 0..ROUNDS {
        let server = Server::with(&data.file(), &["--sqlite-checkpoints", "off", "--flush-entries", "256"]).await;
        load.verify(&server, true).await;
        let copying = litestream.start();
        load.publish(server, async |server, mut acked| {
            let mut events = server.events().await;
            within("acknowledgements", acked.wait_for(|acked| *acked >= BEFORE)).await.unwrap();
            publish_one(&mut events, "copied", "step", "{}").await;
            litestream.copy_all(&data.file()).await;
            copying.kill().await;
            let copied = *acked.borrow();
            within("acknowledgements", acked.wait_for(|acked| *acked >= copied + AFTER)).await.unwrap();
            publish_one(&mut events, "lost", "step", "{}").await;
            lost = feed(&mut events).await.1;
            server.kill().await;
        })
        .await;
    }
    let server = Server::start(&data.file()).await;
    load.verify(&server, true).await;
    let (stored, _) = feed(&mut server.events().await).await;

    let file = restored.file();
    litestream.restore(&file).await;
    let check = ["check", "--deep", "--listen", "127.0.0.1:0", "--data", file.to_str().unwrap()];
    run(NOWHERE, &check).await.succeeds();
    let server = Server::start(&file).await;
    let mut events = server.events().await;
    let (copied, (end, epoch)) = feed(&mut events).await;
    assert!(stored.starts_with(&copied), "{} of {} events were copied", copied.len(), stored.len());
    let last_of = |run: &str| copied.iter().filter(|event| event.run_id == run).map(|event| event.seq).max();
    assert_eq!((last_of("copied"), last_of("lost")), (Some(ROUNDS), Some(ROUNDS - 1)));
    let agreed = is_lost(&mut events, None, &lost).await;
    for cursor in [&agreed, &end] {
        assert_eq!(texts(&mut events, None, cursor, &epoch).await.len(), 0);
    }
    assert_eq!(publish_one(&mut events, "lost", "step", "{}").await, ROUNDS, "the seq that was lost is given again");
}
