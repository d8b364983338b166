//! The servers: a process for each on loopback, with the data on the same disk.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::grpc::Connections;
use crate::nats::Nats;
use crate::redis_streams::Redis;
use crate::runlog::Runlog;
use crate::system::{Name, System};
use crate::umadb::UmaDb;
use crate::{Args, Systems};

/// Longest wait for a server to listen.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);
/// Interval of the polls for a listening server.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The server processes and the data directory. Dropping kills the processes and removes the data.
pub struct Servers {
    running: Vec<(Name, String, Child)>,
    versions: Vec<String>,
    directory: TempDir,
}

impl Servers {
    /// Starts the servers that the options name.
    pub async fn start(args: &Args) -> Result<Self> {
        std::fs::create_dir_all(&args.scratch)?;
        let directory = TempDir::new_in(&args.scratch)?;
        let this = std::env::current_exe()?;
        let mut servers = Self { running: Vec::new(), versions: Vec::new(), directory };
        for name in Name::ALL {
            let program = match name {
                Name::Runlog => Some(args.runlog.as_path()),
                Name::Empty => Some(this.as_path()),
                Name::UmaDb => args.umadb.as_deref(),
                Name::Nats => args.nats.as_deref(),
                Name::Redis => args.redis.as_deref(),
            };
            let Some(program) = program else { continue };
            servers.start_one(name, program).await.with_context(|| format!("{} does not start", name.as_str()))?;
        }
        Ok(servers)
    }

    async fn start_one(&mut self, name: Name, program: &Path) -> Result<()> {
        // A free port; no other process starts servers here at the same time.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let data = self.directory.path().join(name.as_str());
        std::fs::create_dir(&data)?;
        let (data, port) = (data.to_string_lossy().into_owned(), address.port().to_string());
        let address = address.to_string();
        let args: Vec<&str> = match name {
            Name::Runlog => vec!["serve", "--listen", &address, "--data", "log.db"],
            Name::Empty => vec!["empty", &address],
            Name::UmaDb => vec!["--listen", &address, "--db-path", "uma.db"],
            Name::Nats => vec!["-a", "127.0.0.1", "-p", &port, "-js", "-sd", &data],
            Name::Redis => {
                vec![
                    "--bind",
                    "127.0.0.1",
                    "--port",
                    &port,
                    "--save",
                    "",
                    "--appendonly",
                    "yes",
                    "--appendfsync",
                    "always",
                ]
            }
        };
        let log = std::fs::File::create(self.directory.path().join(format!("{}.log", name.as_str())))?;
        let mut process = Command::new(program)
            .args(args)
            .current_dir(&data)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        listens(&address, &mut process).await?;
        self.versions.push(version(name, program).await);
        self.running.push((name, address, process));
        Ok(())
    }

    /// Connects to all servers.
    pub async fn systems(&self) -> Result<Systems> {
        let mut systems = Systems::new();
        for (name, address, _) in &self.running {
            let system: Arc<dyn System> = match name {
                Name::Runlog | Name::Empty => Arc::new(Runlog(Connections::open(address).await?)),
                Name::UmaDb => Arc::new(UmaDb(Connections::open(address).await?)),
                Name::Nats => Arc::new(Nats::open(address).await?),
                Name::Redis => Arc::new(Redis::open(address).await?),
            };
            systems.push((*name, system));
        }
        Ok(systems)
    }

    /// The versions that the servers report.
    pub fn versions(&self) -> &[String] {
        &self.versions
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

async fn listens(address: &str, process: &mut Child) -> Result<()> {
    let connected = async {
        loop {
            if let Some(status) = process.try_wait()? {
                bail!("it ended: {status}");
            }
            if TcpStream::connect(address).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(LISTENS_WITHIN, connected).await.context("it does not listen")?
}

async fn version(name: Name, program: &Path) -> String {
    if name == Name::Empty {
        return "an empty service of tonic".to_owned();
    }
    let output = Command::new(program).arg("--version").output().await;
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    format!("{}: {}", name.as_str(), words.join(" "))
}
