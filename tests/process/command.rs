//! One run of a client command.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

pub use crate::harness::{Ran, json_lines};
use crate::harness::{program, within};

fn command(server: &str, args: &[&str]) -> Command {
    let mut command = program();
    command.args(args).env("RUNLOG_SERVER", server);
    command
}

/// Starts a command in the background; stdin, stdout and stderr are pipes.
pub fn begin(server: &str, args: &[&str]) -> Child {
    command(server, args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub async fn end(what: &str, child: Child) -> Ran {
    within(what, child.wait_with_output()).await.unwrap().into()
}

pub async fn run(server: &str, args: &[&str]) -> Ran {
    within(args[0], Ran::of(command(server, args))).await
}

/// Runs a command with this text on stdin.
pub async fn run_with(server: &str, args: &[&str], input: &str) -> Ran {
    let mut child = begin(server, args);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let feeding = tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
    let ran = end(args[0], child).await;
    // A command that stopped reading reports the reason by its exit code.
    let _ = feeding.await.unwrap();
    ran
}
