//! A server in this process with a SQLite file in a directory of its own: started on a free port with changed options,
//! drained, stopped and restarted. The clients for it belong to each suite.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use runlog::config::ServeOptions;
use runlog::server::{Server, StartError};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The timeout of any operation, so that a test fails instead of hanging.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The name of the database file in the directory of a server.
pub const DATA: &str = "runlog.db";

/// Awaits with the timeout.
pub async fn in_time<T>(awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, awaited).await.expect("this takes too long: what the test waits for does not come")
}

/// A running server with its own store; dropping stops the server.
pub struct TestServer {
    options: ServeOptions,
    running: Option<Running>,
    directory: TempDir,
}

struct Running {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), StartError>>,
}

impl TestServer {
    /// Starts with the default options.
    pub async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// Starts with changed options.
    pub async fn start_with(change: impl FnOnce(&mut ServeOptions)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    /// Starts with changed options on the file [`DATA`] of this directory.
    pub async fn start_in(directory: TempDir, change: impl FnOnce(&mut ServeOptions)) -> Self {
        let mut options = ServeOptions::default();
        options.listen.set_port(0);
        options.store.data = directory.path().join(DATA);
        change(&mut options);
        let mut server = Self { options, running: None, directory };
        server.start_again().await;
        server
    }

    /// Starts a stopped server on the same store.
    pub async fn start_again(&mut self) {
        let server = Server::bind(&self.options).await.unwrap();
        let (address, admin, stop) = (server.local_addr(), server.admin_addr(), CancellationToken::new());
        let task = tokio::spawn(server.run(stop.clone()));
        self.running = Some(Running { address, admin, stop, task });
    }

    /// Drains and stops; returns after the store is closed.
    pub async fn stop(&mut self) {
        self.begin_to_drain();
        let running = self.running.take().unwrap();
        in_time(running.task).await.unwrap().unwrap();
    }

    /// Stops the server and starts a new server on the same store.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// Begins the drain without waiting for its end.
    pub fn begin_to_drain(&self) {
        self.running.as_ref().unwrap().stop.cancel();
    }

    /// The options of the server.
    pub fn options(&self) -> &ServeOptions {
        &self.options
    }

    /// The options of the next start.
    pub fn options_mut(&mut self) -> &mut ServeOptions {
        &mut self.options
    }

    /// The temporary directory, which the drop of the server removes.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The address for clients.
    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().address
    }

    /// The address for operators.
    pub fn admin_address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().admin.unwrap()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.stop.cancel();
        }
    }
}
