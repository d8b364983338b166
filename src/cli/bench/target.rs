//! The server that is measured: one that runs, or one of our own on a scratch file.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Uri};

use super::super::client::{ClientArgs, server_url};
use super::BenchArgs;
use super::meter::Usage;
use crate::cli::outcome::{Exit, Failure};
use crate::pb::event_service_client::EventServiceClient;

/// Kernel ticks in a second, the same on every Linux that runs Rust programs.
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes of a page of memory, likewise on x86-64 and most others.
const PAGE_BYTES: f64 = 4096.0;

/// Clients of the server, and the server itself where it is ours.
pub struct Target {
    servers: Vec<Uri>,
    channels: Vec<Channel>,
    /// Of the server to subscribe at, where it is another one.
    subscribe: Vec<Channel>,
    pid: Option<u32>,
    own: Option<OwnServer>,
}

struct OwnServer {
    process: Child,
    directory: PathBuf,
}

impl Target {
    /// Connects; starts a server first where none was named.
    pub async fn open(args: &BenchArgs) -> Result<Self, Failure> {
        let (servers, pid, own) = match args.server.as_slice() {
            [] => {
                let (server, own) = OwnServer::start(args).await?;
                (vec![server], own.process.id(), Some(own))
            }
            servers => (servers.to_vec(), args.server_pid, None),
        };
        let channels = connect(&servers, args.connections).await?;
        let subscribe = match &args.subscribe_server {
            Some(server) => connect(std::slice::from_ref(server), args.connections).await?,
            None => Vec::new(),
        };
        Ok(Self { servers, channels, subscribe, pid, own })
    }

    /// Kills our own server as a crash would, and starts it again on the same file. Returns how long it took until it
    /// served; `None` where the server is not ours.
    pub async fn restart(&mut self, args: &BenchArgs) -> Result<Option<Duration>, Failure> {
        let Some(own) = &mut self.own else { return Ok(None) };
        own.process.kill().await.map_err(|error| cannot_start(&error.to_string()))?;
        let began = Instant::now();
        let (server, process) = serve(&own.directory).await?;
        let took = began.elapsed();
        self.servers = vec![server];
        self.channels = connect(&self.servers, args.connections).await?;
        (self.pid, own.process) = (process.id(), process);
        Ok(Some(took))
    }

    /// Further connections.
    pub async fn connect(&self, count: u32) -> Result<Vec<Channel>, Failure> {
        connect(&self.servers, count).await
    }

    /// Where the server is; of several, the first.
    pub fn server(&self) -> &Uri {
        &self.servers[0]
    }

    /// A client, the workers spread over the connections.
    pub fn events(&self, worker: usize) -> EventServiceClient<Channel> {
        client(&self.channels, worker)
    }

    /// The same for subscribers.
    pub fn subscriber(&self, worker: usize) -> EventServiceClient<Channel> {
        client(if self.subscribe.is_empty() { &self.channels } else { &self.subscribe }, worker)
    }

    /// What the server has used so far; `None` where its process is not known.
    pub fn usage(&self) -> Option<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid?)).ok()?;
        // The name in parentheses may hold anything; fields are counted behind it, from field 3 on.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let cpu_s = (field(14)? + field(15)?) / TICKS_PER_SECOND;
        Some(Usage { cpu_s, rss_mib: field(24)? * PAGE_BYTES / (1 << 20) as f64 })
    }

    /// Stops our own server and removes its file.
    pub async fn close(self) {
        if let Some(mut own) = self.own {
            // Its data goes away with it, so there is nothing to drain.
            let _ = own.process.kill().await;
            let _ = std::fs::remove_dir_all(&own.directory);
        }
    }
}

fn client(channels: &[Channel], worker: usize) -> EventServiceClient<Channel> {
    EventServiceClient::new(channels[worker % channels.len()].clone()).max_decoding_message_size(64 << 20)
}

impl OwnServer {
    async fn start(args: &BenchArgs) -> Result<(Uri, Self), Failure> {
        let directory = args.scratch.join(format!("runlog-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory)
            .map_err(|error| cannot_start(&format!("{}: {error}", directory.display())))?;
        match serve(&directory).await {
            Ok((server, process)) => Ok((server, Self { process, directory })),
            Err(failure) => {
                let _ = std::fs::remove_dir_all(&directory);
                Err(failure)
            }
        }
    }
}

/// Starts a server on the file in this directory; returns once it serves.
async fn serve(directory: &Path) -> Result<(Uri, Child), Failure> {
    let program = std::env::current_exe().map_err(|error| cannot_start(&error.to_string()))?;
    let mut process = Command::new(program)
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--data"])
        .arg(directory.join("bench.db"))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| cannot_start(&error.to_string()))?;
    let log = process.stderr.take().ok_or_else(|| cannot_start("no log"))?;
    let mut lines = BufReader::new(log).lines();
    let mut seen = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        let address = serde_json::from_str::<serde_json::Value>(&line).ok();
        if let Some(address) = address.as_ref().and_then(|line| line["address"].as_str()) {
            let server = server_url(address).map_err(|problem| cannot_start(&problem))?;
            // The log goes on; somebody has to read it, or the server would wait.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok((server, process));
        }
        seen = line;
    }
    Err(cannot_start(&seen))
}

/// So many connections, the servers in turn.
async fn connect(servers: &[Uri], count: u32) -> Result<Vec<Channel>, Failure> {
    let mut channels = Vec::new();
    for (server, _) in servers.iter().cycle().zip(0..count) {
        let client = ClientArgs { server: server.clone(), timeout: Duration::from_secs(10) };
        channels.push(client.connect().await?);
    }
    Ok(channels)
}

fn cannot_start(problem: &str) -> Failure {
    Failure::new(Exit::Other, format!("cannot start a server: {problem}"))
}
