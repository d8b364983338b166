//! A replica that keeps its address over restarts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;

use runlog::pb::event_service_client::EventServiceClient;
use tokio::process::Command;
use tonic::transport::{Channel, Endpoint};

use crate::harness::{Process, program, program_at};
use crate::world::GUARD;

/// Options of every replica; those of a test come after them.
const OPTIONS: [&str; 8] = [
    "serve",
    "--log-format=json",
    // The previous version has the line in the module `app`.
    "--log=warn,runlog::server=info,runlog::app=info",
    "--heartbeat-ms=1000",
    "--pg-pool-size=4",
    "--pg-statement-timeout-ms=3000",
    "--publish-wait-ms=3000",
    "--keepalive-interval-ms=2000",
];

/// Options that a test may give otherwise: the command line takes precedence over variables.
const VARIABLES: [(&str, &str); 4] = [
    ("RUNLOG_POLL_MS", "500"),
    ("RUNLOG_PG_CONNECT_TIMEOUT_MS", "3000"),
    ("RUNLOG_PG_RETRY_MS", "4000"),
    ("RUNLOG_DRAIN_TIMEOUT_MS", "1000"),
];

/// A replica with a fixed address; its process may end and restart.
pub struct Replica {
    /// A build other than this one.
    program: Option<PathBuf>,
    store: String,
    more: Vec<String>,
    address: SocketAddr,
    process: Mutex<Option<Process>>,
    channel: Channel,
}

impl Replica {
    /// Starts a process on this database.
    pub async fn start(store: &str, more: &[&str]) -> Self {
        Self::of(None, store, more).await
    }

    /// Starts a process of this program, or of this build.
    pub async fn of(program: Option<PathBuf>, store: &str, more: &[&str]) -> Self {
        let more: Vec<String> = more.iter().map(|arg| (*arg).to_owned()).collect();
        let process = spawn(program.as_ref(), store, "127.0.0.1:0", &more);
        let address = process.address().await;
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.connect_timeout(GUARD / 20).connect_lazy();
        Self { program, store: store.to_owned(), more, address, process: Mutex::new(Some(process)), channel }
    }

    /// Kills the process with SIGKILL; returns after its end.
    pub async fn kill(&self) {
        self.take().kill().await;
    }

    /// Asks the process to drain with SIGTERM; returns after its successful exit.
    pub async fn drain(&self) {
        let process = self.take();
        process.signal("TERM").await;
        let (status, log) = process.ended().await;
        assert!(status.success(), "the drain is an orderly end: {log}");
    }

    /// Starts a new process at the address of the ended process.
    pub async fn restart(&self) {
        let process = spawn(self.program.as_ref(), &self.store, &self.address.to_string(), &self.more);
        assert_eq!(process.address().await, self.address);
        *self.process.lock().unwrap() = Some(process);
    }

    fn take(&self) -> Process {
        self.process.lock().unwrap().take().expect("the process runs")
    }

    /// The channel to the replica.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The address of the replica.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client of the replica.
    pub fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel.clone())
    }
}

fn spawn(other: Option<&PathBuf>, store: &str, listen: &str, more: &[String]) -> Process {
    let mut command: Command = other.map_or_else(program, |other| program_at(other));
    command.args(OPTIONS).args(["--listen", listen]).args(more).env("RUNLOG_STORE", store).envs(VARIABLES);
    Process::of(command)
}
