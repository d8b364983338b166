//! The documents are tested: their shell commands run unchanged, against a server started with the README's first
//! command. Only blocks marked `sh` run.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::harness::{Process, Ran, program};

/// The two commands that set everything up. The first runs here with the program under test; the second runs this test.
const FIRST: &str = "cargo run --release -- serve --demo";
const SECOND: &str = "bash tests/all.sh";

/// The documents in order: a later document reads events that the earlier documents have stored.
const DOCUMENTS: [&str; 5] =
    ["README.md", "deploy/KEEPING.md", "deploy/README.md", "tests/README.md", "tests/bench/README.md"];

/// A section with a test of its own, since its commands need a database.
pub const REPLICAS: &str = "## More than one machine\n";

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents without the section about replicas, and that section.
pub fn parts() -> (String, String) {
    let documents = DOCUMENTS.map(|path| fs::read_to_string(root().join(path)).unwrap()).join("\n");
    let (before, rest) = documents.split_once(REPLICAS).unwrap();
    let (section, after) = rest.split_once("\n## ").unwrap();
    (format!("{before}\n## {after}"), section.to_owned())
}

/// The contents of all blocks marked `sh`.
pub fn shell_blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match (&mut open, line) {
            (None, "```sh") => open = Some(String::new()),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), line) => {
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// Starts the first command on a free port; returns after the server listens.
async fn start_demo(directory: &Path) -> (Process, SocketAddr) {
    let mut command = program();
    command.args(["serve", "--demo", "--listen", "127.0.0.1:0", "--log-format", "json"]).current_dir(directory);
    let demo = Process::with_output(command);
    let address = demo.address().await;
    (demo, address)
}

pub fn path_with(directories: &[PathBuf]) -> std::ffi::OsString {
    let old = std::env::var_os("PATH").unwrap();
    std::env::join_paths(directories.iter().cloned().chain(std::env::split_paths(&old))).unwrap()
}

#[tokio::test]
async fn the_first_command_shows_runs_flowing() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert_eq!(shell_blocks(&readme)[0].trim(), FIRST);
    let directory = tempfile::tempdir().unwrap();
    let (demo, _) = start_demo(directory.path()).await;
    // An end of a run in any of the three vocabularies.
    let ends = ["run_end", "StructureRunCompleted", "run.worker.succeeded"];
    demo.prints("a run from its start to its end", |line| ends.iter().any(|end| line.contains(end))).await;
}

#[test]
fn the_second_command_is_what_ci_runs() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert_eq!(shell_blocks(&readme)[1].trim(), SECOND);
    assert!(fs::read_to_string(root().join(".ci/run")).unwrap().contains(&format!("exec {SECOND}")));
}

#[tokio::test]
async fn every_other_command_runs_as_it_stands() {
    let (documents, _) = parts();
    let directory = tempfile::tempdir().unwrap();
    let (_demo, address) = start_demo(directory.path()).await;
    let address = address.to_string();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_runlog")).parent().unwrap().to_owned();
    let path = path_with(&[program, root().join("target/tools/node_modules/.bin")]);
    for block in shell_blocks(&documents).into_iter().skip(2) {
        if block.contains("buf curl") && !has_buf(&path).await {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "buf is missing; run tests/all.sh");
            eprintln!("SKIPPED: {block}: buf is missing; tests/all.sh installs it");
            continue;
        }
        // The documents use the default address; the test uses a free port.
        let script = block.replace("127.0.0.1:7800", &address).replace("target/release/runlog", "runlog");
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &script]).current_dir(directory.path());
        shell.env("PATH", &path).env("RUNLOG_SERVER", format!("http://{address}"));
        let ran = Ran::of(shell).await;
        assert_eq!(ran.code, Some(0), "{block}\n{}\n{}", ran.stdout, ran.stderr);
    }
}

async fn has_buf(path: &std::ffi::OsStr) -> bool {
    Command::new("buf").arg("--version").env("PATH", path).output().await.is_ok_and(|output| output.status.success())
}
