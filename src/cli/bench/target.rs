//! The server that is measured: one that runs, or one of our own on a scratch file.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Uri};

use super::super::client::{ClientArgs, server_url};
use super::super::exit::{Exit, Failure};
use super::BenchArgs;
use super::meter::Usage;
use crate::pb::event_service_client::EventServiceClient;

/// Kernel ticks in a second, the same on every Linux that runs Rust programs.
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes of a page of memory, likewise on x86-64 and most others.
const PAGE_BYTES: f64 = 4096.0;

/// Clients of the server, and the server itself where it is ours.
pub struct Target {
    channels: Vec<Channel>,
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
        let (server, pid, own) = match &args.server {
            Some(server) => (server.clone(), args.server_pid, None),
            None => {
                let (server, own) = OwnServer::start(args).await?;
                (server, own.process.id(), Some(own))
            }
        };
        let client = ClientArgs { server, timeout: std::time::Duration::from_secs(10) };
        let mut channels = Vec::new();
        for _ in 0..args.connections {
            channels.push(client.connect().await?);
        }
        Ok(Self { channels, pid, own })
    }

    /// A client, the workers spread over the connections.
    pub fn events(&self, worker: usize) -> EventServiceClient<Channel> {
        let channel = self.channels[worker % self.channels.len()].clone();
        EventServiceClient::new(channel).max_decoding_message_size(64 << 20)
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

impl OwnServer {
    async fn start(args: &BenchArgs) -> Result<(Uri, Self), Failure> {
        let cannot = |problem: String| Failure::new(Exit::Other, format!("cannot start a server: {problem}"));
        let directory = args.scratch.join(format!("runlog-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory).map_err(|e| cannot(format!("{}: {e}", directory.display())))?;
        let program = std::env::current_exe().map_err(|e| cannot(e.to_string()))?;
        let mut process = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--data"])
            .arg(directory.join("bench.db"))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| cannot(e.to_string()))?;
        let log = process.stderr.take().ok_or_else(|| cannot("no log".to_owned()))?;
        let mut lines = BufReader::new(log).lines();
        let mut seen = String::new();
        while let Ok(Some(line)) = lines.next_line().await {
            let address = serde_json::from_str::<serde_json::Value>(&line).ok();
            if let Some(address) = address.as_ref().and_then(|line| line["address"].as_str()) {
                let server = server_url(address).map_err(cannot)?;
                // The log goes on; somebody has to read it, or the server would wait.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok((server, Self { process, directory }));
            }
            seen = line;
        }
        let _ = std::fs::remove_dir_all(&directory);
        Err(cannot(seen))
    }
}
