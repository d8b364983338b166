//! A server process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use runlog::pb::event_service_client::EventServiceClient;
use tonic::transport::{Channel, Endpoint};

use crate::world::GUARD;

/// A replica with a fixed address; its process may end and restart.
pub struct Replica {
    program: PathBuf,
    store: String,
    more: Vec<String>,
    address: String,
    process: Mutex<Option<Child>>,
    channel: Channel,
}

impl Replica {
    /// Starts a process on this database.
    pub async fn start(store: &str, more: &[&str]) -> Self {
        Self::of(Path::new(env!("CARGO_BIN_EXE_runlog")), store, more).await
    }

    /// Starts a process of this program.
    pub async fn of(program: &Path, store: &str, more: &[&str]) -> Self {
        let more: Vec<String> = more.iter().map(|arg| (*arg).to_owned()).collect();
        let program = program.to_owned();
        let (process, address) = spawn(program.clone(), store.to_owned(), "127.0.0.1:0".to_owned(), more.clone()).await;
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.connect_timeout(GUARD / 20).connect_lazy();
        Self { program, store: store.to_owned(), more, address, process: Mutex::new(Some(process)), channel }
    }

    /// Kills the process with SIGKILL.
    pub fn kill(&self) {
        if let Some(mut process) = self.process.lock().unwrap().take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Asks the process to drain with SIGTERM; returns after its successful exit.
    pub async fn drain(&self) {
        let mut process = self.process.lock().unwrap().take().unwrap();
        let ended = tokio::task::spawn_blocking(move || {
            assert!(Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap().success());
            process.wait().unwrap()
        });
        assert!(ended.await.unwrap().success(), "the drain is an orderly end");
    }

    /// Starts a new process at the address of the ended process.
    pub async fn restart(&self) {
        let (process, _) =
            spawn(self.program.clone(), self.store.clone(), self.address.clone(), self.more.clone()).await;
        *self.process.lock().unwrap() = Some(process);
    }

    /// The channel to the replica.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The address of the replica.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A client of the replica.
    pub fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel.clone())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a server; returns the process and its address as soon as the server listens.
async fn spawn(program: PathBuf, store: String, listen: String, more: Vec<String>) -> (Child, String) {
    const ARGS: [&str; 8] = [
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
    let starting = move || {
        let mut process = Command::new(program)
            .args(ARGS)
            .args(["--listen", &listen])
            .args(more)
            .env("RUNLOG_STORE", store)
            // Command-line arguments of the test take precedence.
            .env("RUNLOG_POLL_MS", "500")
            .env("RUNLOG_PG_CONNECT_TIMEOUT_MS", "3000")
            .env("RUNLOG_PG_RETRY_MS", "4000")
            .env("RUNLOG_DRAIN_TIMEOUT_MS", "1000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the replica does not start: {said:#?}"));
            if let Some((_, rest)) = line.split_once("\"address\":\"") {
                break rest.split('"').next().unwrap().to_owned();
            }
            said.push(line);
        };
        // The log must be read, or the process blocks on a full pipe.
        std::thread::spawn(move || {
            for line in lines {
                if std::env::var_os("RUNLOG_TEST_LOG").is_some() || line.contains("panicked") {
                    eprintln!("{line}");
                }
            }
        });
        (process, address)
    };
    tokio::task::spawn_blocking(starting).await.unwrap()
}
