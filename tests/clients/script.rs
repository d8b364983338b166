//! A client that the test speaks with, line by line.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// Guard against a client that hangs; no other timing depends on the value.
const GUARD: Duration = Duration::from_secs(180);

/// A running script, killed when dropped.
pub struct Script {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    errors: ChildStderr,
}

impl Script {
    pub fn start(interpreter: &str, script: &str, arguments: &[&str], directory: &Path) -> Self {
        let mut command = Command::new(interpreter);
        command.arg(script).args(arguments).current_dir(directory).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let errors = child.stderr.take().unwrap();
        Self { child, input, output, errors }
    }

    /// The next line of the output; a script that ends before fails the test.
    pub async fn line(&mut self) -> String {
        match tokio::time::timeout(GUARD, self.output.next_line()).await.unwrap().unwrap() {
            Some(line) => line,
            None => panic!("the script has ended: {}", self.complaints().await),
        }
    }

    /// Sends a line.
    pub async fn send(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Waits for the end of the script, which must succeed.
    pub async fn succeeds(mut self) {
        let status = tokio::time::timeout(GUARD, self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{}", self.complaints().await);
    }

    async fn complaints(&mut self) -> String {
        let mut text = String::new();
        self.errors.read_to_string(&mut text).await.unwrap();
        text
    }
}
