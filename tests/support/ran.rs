//! A command run to its end, with its collected output.

#![allow(dead_code, reason = "each suite uses a part of it")]

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;

/// The exit code and the output of a command.
#[derive(Debug)]
pub struct Ran {
    /// `None` after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    /// Runs a command without input. The command is killed if the future is dropped.
    pub async fn of(mut command: Command) -> Self {
        command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap().into()
    }

    /// Asserts success; returns stdout.
    #[track_caller]
    pub fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Each line of stdout as JSON, for `--json`.
    #[track_caller]
    pub fn json(self) -> Vec<Value> {
        json_lines(&self.succeeds())
    }

    /// Asserts the exit code, an empty stdout, and an error with these words.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        assert!(self.stderr.contains("error:"), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} in {self:?}");
        }
    }
}

/// Each line as JSON.
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?} is no JSON: {e}"))).collect()
}
