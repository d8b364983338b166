//! A server as a process: started until it listens, with its gRPC clients, its metrics, and what it takes of the machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::run_service_client::RunServiceClient;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use super::{Process, within};

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
        Self { address: process.address().await, process }
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
        self.process.log()
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
