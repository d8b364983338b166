//! A standby of a cluster, which can be disconnected and promoted.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::{Cluster, guard};

impl Cluster {
    /// A standby of this cluster. With `synchronous_standby_names`, commits wait for the standby's confirmation.
    pub fn standby(&self) -> Self {
        let directory = tempfile::Builder::new().prefix("runlog-pg-").tempdir().unwrap().keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        if let Some((uid, gid)) = self.user {
            chown(&directory, Some(uid), Some(gid)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let guard = guard(&self.bin, &directory, self.user);
        let standby = Self { bin: self.bin.clone(), directory, port, user: self.user, _guard: guard };
        let (host, primary) = (self.directory.display().to_string(), self.port.to_string());
        let from = ["-h", &host, "-p", &primary, "-U", "postgres"];
        standby.run("pg_basebackup", &[&from[..], &["-D", "data", "-R", "-X", "stream", "-c", "fast", "-N"]].concat());
        let settings = format!("port = {port}\nunix_socket_directories = '{}'\n", standby.directory.display());
        let file = standby.directory.join("data/postgresql.conf");
        fs::write(&file, fs::read_to_string(&file).unwrap() + &settings).unwrap();
        standby.resume();
        standby
    }

    /// Waits until the standby has all data of `primary`.
    pub async fn has_all_of(&self, primary: &Self) {
        const WRITTEN: &str = "SELECT pg_current_wal_lsn()::text";
        let mut there = PgConnection::connect(&primary.url("postgres")).await.unwrap();
        let written: String = sqlx::query_scalar(WRITTEN).fetch_one(&mut there).await.unwrap();
        let mut here = PgConnection::connect(&self.url("postgres")).await.unwrap();
        const IS_HERE: &str = "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false)";
        for _ in 0..1_000 {
            let is_here: bool = sqlx::query_scalar(IS_HERE).bind(&written).fetch_one(&mut here).await.unwrap();
            if is_here {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the standby does not follow");
    }

    /// Disconnects the standby from its primary.
    pub async fn leave_behind(&self) {
        self.execute("ALTER SYSTEM SET primary_conninfo = ''").await;
        self.execute("SELECT pg_reload_conf()").await;
        for _ in 0..1_000 {
            let mut here = PgConnection::connect(&self.url("postgres")).await.unwrap();
            const RECEIVERS: &str = "SELECT count(*) FROM pg_stat_wal_receiver";
            let receivers: i64 = sqlx::query_scalar(RECEIVERS).fetch_one(&mut here).await.unwrap();
            if receivers == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the standby goes on following");
    }

    /// Promotes the standby to primary.
    pub fn promote(&self) {
        self.run("pg_ctl", &["promote", "-D", "data", "-w"]);
    }
}
