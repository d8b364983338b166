//! The stores under test.

use std::path::PathBuf;

use crate::cluster::Database;
use crate::command::run;
use crate::harness::{Data, Process, Server};

/// A SQLite file or a PostgreSQL database, removed when dropped.
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

    /// `None` without PostgreSQL on the machine, after SKIPPED was printed.
    pub async fn database() -> Option<Self> {
        let database = Database::create().await?;
        let url = database.url();
        Some(Self::Database { _database: database, url })
    }

    /// The option for the store.
    pub fn option(&self) -> [&str; 2] {
        match self {
            Self::File { path, .. } => ["--data", path],
            Self::Database { url, .. } => ["--store", url],
        }
    }

    /// A server over the store. Flushes start after a few entries, in small slices; the unflushed end may hold all
    /// events of a test.
    pub async fn serve(&self, environment: &[(&str, PathBuf)]) -> Server {
        let options = ["--flush-entries", "12", "--flush-slice-entries", "2", "--heartbeat-ms", "1000"];
        Server::over(self.option(), &options, environment).await
    }

    /// Starts another command over the store.
    pub fn spawn(&self, command: &[&str], environment: &[(&str, PathBuf)]) -> Process {
        Process::spawn_in(&[command, &self.option()].concat(), environment)
    }

    /// Asserts that `runlog check` finds no fault.
    pub async fn is_sound(&self) {
        let command = ["check", "--deep", "--listen", "127.0.0.1:0", "--max-connections", "10"];
        run("http://127.0.0.1:1", &[&command, &self.option()[..]].concat()).await.succeeds();
    }
}
