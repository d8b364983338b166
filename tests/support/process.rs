//! The real program as a child process: started on a free port, observed through its log, ended by signals, killed when
//! dropped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::run_service_client::RunServiceClient;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

/// Guard against a test that hangs; no other timing depends on the value.
const GUARD: Duration = Duration::from_secs(120);

/// The program, without the options in the environment of this process. `RUNLOG_TEST_PROGRAM` names another build, for figures.
pub fn program() -> Command {
    let program = std::env::var("RUNLOG_TEST_PROGRAM");
    let mut command = Command::new(program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_runlog")));
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

/// A directory for a database file.
pub struct Data(TempDir);

impl Data {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self) -> PathBuf {
        self.0.path().join("runlog.db")
    }
}

/// A running server.
pub struct Server {
    process: Process,
    pub address: SocketAddr,
}

/// A process that may serve or fail to start.
pub struct Process {
    child: Child,
    log: watch::Receiver<String>,
    reader: JoinHandle<()>,
}

impl Process {
    /// `runlog serve` over this file, with more options.
    pub fn serve(data: &Path, options: &[&str]) -> Self {
        Self::serve_at("127.0.0.1:0", data, options)
    }

    fn serve_at(listen: &str, data: &Path, options: &[&str]) -> Self {
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
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (writer, log) = watch::channel(String::new());
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                writer.send_modify(|log| {
                    log.push_str(&line);
                    log.push('\n');
                });
            }
        });
        Self { child, log, reader }
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

    /// Waits until the log contains this text.
    pub async fn says(&self, text: &str) -> String {
        let mut log = self.log.clone();
        let said = within(&format!("{text:?} in the log"), log.wait_for(|log| log.contains(text))).await;
        said.unwrap_or_else(|_| panic!("the process ended without {text:?}: {}", self.log.borrow().as_str())).clone()
    }

    /// Waits until the server listens; false after an early end.
    pub async fn serves_or_ends(&self) -> bool {
        self.log.clone().wait_for(|log| log.contains("\"message\":\"serving")).await.is_ok()
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    pub async fn signal(&self, name: &str) {
        // The shell's built-in, since not every machine has the program.
        let sent = Command::new("sh").args(["-c".to_owned(), format!("kill -{name} {}", self.pid())]).status().await;
        assert!(sent.unwrap().success());
    }
}

impl Server {
    pub async fn start(data: &Path) -> Self {
        Self::with(data, &[]).await
    }

    pub async fn with(data: &Path, options: &[&str]) -> Self {
        Self::of(Process::serve(data, options)).await
    }

    /// A server at this address.
    pub async fn at(listen: &str, data: &Path, options: &[&str]) -> Self {
        Self::of(Process::serve_at(listen, data, options)).await
    }

    /// A server at the address of a previous server, for clients that reconnect there.
    pub async fn again_at(address: SocketAddr, data: &Path) -> Self {
        Self::at(&address.to_string(), data, &[]).await
    }

    /// `runlog serve` over a PostgreSQL database.
    pub async fn on(url: &str) -> Self {
        Self::over(["--store", url], &[], &[]).await
    }

    /// See [`Process::over`].
    pub async fn over(store: [&str; 2], options: &[&str], environment: &[(&str, PathBuf)]) -> Self {
        Self::of(Process::over(store, options, environment)).await
    }

    async fn of(process: Process) -> Self {
        let log = process.says("\"message\":\"serving").await;
        let line = log.lines().find(|line| line.contains("\"message\":\"serving")).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of the log is JSON");
        Self { address: line["address"].as_str().unwrap().parse().unwrap(), process }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url()).unwrap().connect().await.expect("a connection")
    }

    pub async fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel().await).max_decoding_message_size(64 << 20)
    }

    pub async fn runs(&self) -> RunServiceClient<Channel> {
        RunServiceClient::new(self.channel().await)
    }

    /// Kills the process with SIGKILL; returns after its end.
    pub async fn kill(self) {
        self.process.kill().await;
    }

    pub async fn terminate(&self) {
        self.signal("TERM").await;
    }

    pub async fn signal(&self, name: &str) {
        self.process.signal(name).await;
    }

    pub async fn says(&self, text: &str) -> String {
        self.process.says(text).await
    }

    pub async fn ended(self) -> (ExitStatus, String) {
        self.process.ended().await
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.process.log.borrow().clone()
    }

    /// The value of this series in `/metrics`; 0 for a missing series.
    pub async fn metric(&self, series: &str) -> f64 {
        let answer = within("the metrics", reqwest::get(format!("{}/metrics", self.url()))).await.unwrap();
        let text = answer.text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Resident memory, bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// Peak resident memory, bytes.
    #[allow(dead_code, reason = "the tests of hostile clients use it")]
    pub fn peak_memory_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.pid())).unwrap().count()
    }
}
