//! The measured server: a running server, or a child process with a scratch file.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::Uri;

use super::super::client::{ClientArgs, Connection, KeyArgs, TlsArgs, server_url};
use super::args::BenchArgs;
use super::meter::Usage;
use crate::cli::outcome::{Exit, Failure};
use crate::pb::event_service_client::EventServiceClient;

/// `USER_HZ`, the unit of CPU time in `/proc`: 100 on Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Size of a memory page on x86-64 and most other platforms.
const PAGE_BYTES: f64 = 4096.0;

/// Connections to the server, and the child process if started here.
pub struct Target {
    servers: Vec<Uri>,
    channels: Vec<Connection>,
    /// Connections to `--subscribe-server`; empty without the option.
    subscribe: Vec<Connection>,
    access: Access,
    pid: Option<u32>,
    own: Option<OwnServer>,
}

/// How the servers are reached.
type Access = (TlsArgs, KeyArgs);

struct OwnServer {
    process: Child,
    directory: PathBuf,
}

impl Target {
    /// Connects to the named servers, or starts a server and connects.
    pub async fn open(args: &BenchArgs) -> Result<Self, Failure> {
        let (servers, pid, own) = match args.server.as_slice() {
            [] => {
                let (server, own) = OwnServer::start(args).await?;
                (vec![server], own.process.id(), Some(own))
            }
            servers => (servers.to_vec(), args.server_pid, None),
        };
        let access = (args.tls.clone(), args.key.clone());
        let channels = connect(&servers, args.connections, &access).await?;
        let subscribe = match &args.subscribe_server {
            Some(server) => connect(std::slice::from_ref(server), args.connections, &access).await?,
            None => Vec::new(),
        };
        Ok(Self { servers, channels, subscribe, access, pid, own })
    }

    /// Kills the child process with SIGKILL and starts a server on the same file. Returns the time from start to serving;
    /// `None` for a server that was not started here.
    pub async fn restart(&mut self, args: &BenchArgs) -> Result<Option<Duration>, Failure> {
        let Some(own) = &mut self.own else { return Ok(None) };
        own.process.kill().await.map_err(|error| cannot_start(&error.to_string()))?;
        let began = Instant::now();
        let (server, process) = serve(&own.directory).await?;
        let took = began.elapsed();
        self.servers = vec![server];
        self.channels = connect(&self.servers, args.connections, &self.access).await?;
        (self.pid, own.process) = (process.id(), process);
        Ok(Some(took))
    }

    /// Opens `count` further connections.
    pub async fn connect(&self, count: u32) -> Result<Vec<Connection>, Failure> {
        connect(&self.servers, count, &self.access).await
    }

    /// URL of the server; of several, the first.
    pub fn server(&self) -> &Uri {
        &self.servers[0]
    }

    /// Client of a worker; workers are spread over the connections.
    pub fn events(&self, worker: usize) -> EventServiceClient<Connection> {
        client(&self.channels, worker)
    }

    /// Client of a subscriber, for `--subscribe-server` if given.
    pub fn subscriber(&self, worker: usize) -> EventServiceClient<Connection> {
        client(if self.subscribe.is_empty() { &self.channels } else { &self.subscribe }, worker)
    }

    /// CPU time and memory of the server from `/proc`; `None` without a known process id.
    pub fn usage(&self) -> Option<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid?)).ok()?;
        // The process name in parentheses may contain spaces; the text behind the name begins with field 3.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let cpu_s = (field(14)? + field(15)?) / TICKS_PER_SECOND;
        Some(Usage { cpu_s, rss_mib: field(24)? * PAGE_BYTES / (1 << 20) as f64 })
    }

    /// Kills the child process and removes the scratch directory.
    pub async fn close(self) {
        if let Some(mut own) = self.own {
            // No drain, since the data is removed as well.
            let _ = own.process.kill().await;
            let _ = std::fs::remove_dir_all(&own.directory);
        }
    }
}

fn client(channels: &[Connection], worker: usize) -> EventServiceClient<Connection> {
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

/// Starts a server on the file in `directory`; returns once the log names the address.
async fn serve(directory: &Path) -> Result<(Uri, Child), Failure> {
    let program = std::env::current_exe().map_err(|error| cannot_start(&error.to_string()))?;
    let mut process = Command::new(program)
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--data"])
        .arg(directory.join("bench.db"))
        // The server that is measured has neither keys nor TLS, also where this machine has one with them.
        .env_remove("RUNLOG_AUTH")
        .env_remove("RUNLOG_ADMIN_KEY")
        .env_remove("RUNLOG_ADMIN_KEY_FILE")
        .env_remove("RUNLOG_TLS_CERT")
        .env_remove("RUNLOG_TLS_KEY")
        .env_remove("RUNLOG_TLS_CLIENT_CA")
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
            // Reads the rest of the log, since a full pipe would block the server.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok((server, process));
        }
        seen = line;
    }
    Err(cannot_start(&seen))
}

/// Opens `count` connections, round-robin over the servers.
async fn connect(servers: &[Uri], count: u32, access: &Access) -> Result<Vec<Connection>, Failure> {
    let mut channels = Vec::new();
    for (server, _) in servers.iter().cycle().zip(0..count) {
        let client = ClientArgs {
            server: server.clone(),
            timeout: Duration::from_secs(10),
            tls: access.0.clone(),
            key: access.1.clone(),
        };
        channels.push(client.connect().await?);
    }
    Ok(channels)
}

fn cannot_start(problem: &str) -> Failure {
    Failure::new(Exit::Other, format!("cannot start a server: {problem}"))
}
