//! Where the store of a test lives.

use std::path::PathBuf;

use crate::cluster::Database;
use crate::command::run;
use crate::harness::{Data, Process, Server};

/// Removed when dropped.
pub enum Place {
    File { _data: Data, path: String },
    Database { _database: Database, url: String },
}

impl Place {
    pub fn file() -> Self {
        let data = Data::new();
        let path = data.file().to_str().unwrap().to_owned();
        Self::File { _data: data, path }
    }

    /// `None`: there is no PostgreSQL on this machine, and that has been said.
    pub async fn database() -> Option<Self> {
        let database = Database::create().await?;
        let url = database.url();
        Some(Self::Database { _database: database, url })
    }

    /// The option that names it.
    pub fn option(&self) -> [&str; 2] {
        match self {
            Self::File { path, .. } => ["--data", path],
            Self::Database { url, .. } => ["--store", url],
        }
    }

    /// A server over it. Its log's end is moved into the indexes after a few entries, and in small slices, but may grow to all
    /// that a test publishes.
    pub async fn serve(&self, environment: &[(&str, PathBuf)]) -> Server {
        let options = ["--flush-entries", "12", "--flush-slice-entries", "2", "--heartbeat-ms", "1000"];
        Server::over(self.option(), &options, environment).await
    }

    /// Another command over it.
    pub fn spawn(&self, command: &[&str], environment: &[(&str, PathBuf)]) -> Process {
        Process::spawn_in(&[command, &self.option()].concat(), environment)
    }

    /// `runlog check` finds nothing.
    pub async fn is_sound(&self) {
        let command = ["check", "--deep", "--listen", "127.0.0.1:0", "--max-connections", "10"];
        run("http://127.0.0.1:1", &[&command, &self.option()[..]].concat()).await.succeeds();
    }
}
