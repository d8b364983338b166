//! One run of a client command.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::harness::{program, within};

/// The exit code and the output of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// Each line of stdout as JSON, for `--json`.
    pub fn json(self) -> Vec<Value> {
        json_lines(&self.succeeds())
    }

    /// Asserts the exit code, an empty stdout, and an error with these words.
    pub fn fails(self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        assert!(self.stderr.contains("error:"), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} in {self:?}");
        }
    }
}

pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?} is no JSON: {e}"))).collect()
}

fn command(server: &str, args: &[&str]) -> Command {
    let mut command = program();
    command.args(args).env("RUNLOG_SERVER", server);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts a command in the background; stdin, stdout and stderr are pipes.
pub fn begin(server: &str, args: &[&str]) -> Child {
    command(server, args).stdin(Stdio::piped()).spawn().unwrap()
}

pub async fn end(what: &str, child: Child) -> Ran {
    let output = within(what, child.wait_with_output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

pub async fn run(server: &str, args: &[&str]) -> Ran {
    end(args[0], command(server, args).spawn().unwrap()).await
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
