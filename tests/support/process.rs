//! A program as a child process: this build of runlog, another build, or a program beside it. Its output is collected; it
//! is ended by a signal, and killed when dropped.

#![allow(dead_code, unused_imports, reason = "each suite uses a part of it")]

#[path = "ran.rs"]
mod ran;
#[path = "served.rs"]
mod served;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use ran::{Ran, json_lines};
pub use served::{Data, Server};

/// Guard against a test that hangs; no other timing depends on the value.
pub const GUARD: Duration = Duration::from_secs(120);

/// The program, without the options in the environment of this process. `RUNLOG_TEST_PROGRAM` names another build.
pub fn program() -> Command {
    let other = std::env::var_os("RUNLOG_TEST_PROGRAM").map(PathBuf::from);
    program_at(other.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_runlog"))))
}

/// A build of the program, likewise.
pub fn program_at(path: &Path) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RUNLOG_")) {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").env("TZ", "UTC").kill_on_drop(true);
    command
}

/// Waits with the guard's timeout.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future).await.unwrap_or_else(|_| panic!("{what} does not come"))
}

/// Polls until the condition is true.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// A process that may serve or fail to start.
pub struct Process {
    child: Child,
    log: watch::Receiver<String>,
    output: watch::Receiver<String>,
    reader: JoinHandle<()>,
}

impl Process {
    /// `runlog serve` over this file, with more options.
    pub fn serve(data: &Path, options: &[&str]) -> Self {
        Self::serve_at("127.0.0.1:0", data, options)
    }

    /// `runlog serve` at this address.
    pub fn serve_at(listen: &str, data: &Path, options: &[&str]) -> Self {
        let data = data.to_str().unwrap();
        Self::spawn(&[&["serve", "--listen", listen, "--data", data, "--log-format", "json"], options].concat())
    }

    /// `runlog serve` over the store of an option, with more options and environment variables.
    pub fn over(store: [&str; 2], options: &[&str], environment: &[(&str, PathBuf)]) -> Self {
        let args = ["serve", "--listen", "127.0.0.1:0", store[0], store[1], "--log-format", "json"];
        Self::spawn_in(&[&args, options].concat(), environment)
    }

    pub fn spawn(args: &[&str]) -> Self {
        Self::spawn_in(args, &[])
    }

    /// Spawns the program with these environment variables.
    pub fn spawn_in(args: &[&str], environment: &[(&str, PathBuf)]) -> Self {
        let mut command = program();
        command.args(args).envs(environment.iter().map(|(name, value)| (name, value)));
        Self::of(command)
    }

    /// Spawns a command without input; collects stderr as its log.
    pub fn of(mut command: Command) -> Self {
        command.stdout(Stdio::null());
        Self::start(command)
    }

    /// Spawns a command without input; collects stdout, too.
    pub fn with_output(mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let (log, reader) = collect(child.stderr.take().unwrap(), true);
        let output = child.stdout.take().map_or_else(|| watch::channel(String::new()).1, |from| collect(from, false).0);
        Self { child, log, output, reader }
    }

    /// The exit status and the whole log.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let status = within("the end of the process", self.child.wait()).await.unwrap();
        within("the end of the log", self.reader).await.unwrap();
        let log = self.log.borrow().clone();
        (status, log)
    }

    /// Whether the process has closed its log, as at its end.
    pub fn has_ended(&self) -> bool {
        self.reader.is_finished()
    }

    /// Kills the process with SIGKILL; returns after its end.
    pub async fn kill(mut self) {
        within("the death of the process", self.child.kill()).await.unwrap();
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// Waits until the log contains this text.
    pub async fn says(&self, text: &str) -> String {
        self.log_with(&format!("{text:?}"), |log| log.contains(text)).await
    }

    async fn log_with(&self, what: &str, is_there: impl FnMut(&String) -> bool) -> String {
        let mut log = self.log.clone();
        let said = within(&format!("{what} in the log"), log.wait_for(is_there)).await;
        said.unwrap_or_else(|_| panic!("the process ended without {what}: {}", self.log())).clone()
    }

    /// The whole of stdout, at its end.
    pub async fn output_at_end(&self) -> String {
        let mut output = self.output.clone();
        // Fails once the stream has ended.
        let _ = within("the end of stdout", output.wait_for(|_| false)).await;
        self.output()
    }

    /// Stdout so far.
    pub fn output(&self) -> String {
        self.output.borrow().clone()
    }

    /// Waits until stdout has a line of this kind.
    pub async fn prints(&self, what: &str, is_line: impl Fn(&str) -> bool) {
        let mut output = self.output.clone();
        let printed = within(what, output.wait_for(|output| output.lines().any(&is_line))).await;
        assert!(printed.is_ok(), "the process ended without {what}: {}", self.log());
    }

    /// Waits until the server listens, whichever format its log has.
    pub async fn address(&self) -> SocketAddr {
        listening(&self.log_with("an address", |log| listening(log).is_some()).await).unwrap()
    }

    /// Waits until the server listens; false after an early end.
    pub async fn serves_or_ends(&self) -> bool {
        self.log.clone().wait_for(|log| listening(log).is_some()).await.is_ok()
    }

    /// Id of the running process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    pub async fn signal(&self, name: &str) {
        // The shell's built-in, since not every machine has the program.
        let sent = Command::new("sh").args(["-c".to_owned(), format!("kill -{name} {}", self.pid())]).status().await;
        assert!(sent.unwrap().success());
    }
}

/// Collects the lines of a stream to its end. Panics of the program are printed at once, and with `RUNLOG_TEST_LOG` the
/// whole log.
#[allow(clippy::print_stderr, reason = "for readers of the test's output")]
fn collect(from: impl AsyncRead + Unpin + Send + 'static, is_log: bool) -> (watch::Receiver<String>, JoinHandle<()>) {
    let (writer, collected) = watch::channel(String::new());
    let is_shown = is_log && std::env::var_os("RUNLOG_TEST_LOG").is_some();
    let mut lines = BufReader::new(from).lines();
    let reader = tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if is_shown || (is_log && line.contains("panicked")) {
                eprintln!("{line}");
            }
            writer.send_modify(|text| {
                text.push_str(&line);
                text.push('\n');
            });
        }
    });
    (collected, reader)
}

/// The address in the line that a server writes when it listens, in either format of the log.
fn listening(log: &str) -> Option<SocketAddr> {
    log.lines().filter(|line| line.contains("serving")).find_map(|line| {
        let (_, rest) = line.split_once("\"address\":\"").or_else(|| line.split_once("address="))?;
        rest.split(['"', ' ']).next()?.parse().ok()
    })
}
