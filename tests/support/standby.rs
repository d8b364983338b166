//! A copy of a cluster: a standby, which can be disconnected and promoted, or a base backup, which is recovered from the
//! archive of the cluster.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::{Cluster, Stop, guard};

impl Cluster {
    /// A standby of this cluster. With `synchronous_standby_names`, commits wait for the standby's confirmation.
    pub fn standby(&self) -> Self {
        let standby = self.base_backup(&["-R"]);
        standby.resume();
        standby
    }

    /// A copy of this cluster with a port of its own, which does not run yet.
    pub fn base_backup(&self, more: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("runlog-pg-").tempdir().unwrap().keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        if let Some((uid, gid)) = self.user {
            chown(&directory, Some(uid), Some(gid)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let guard = guard(&self.bin, &directory, self.user);
        let copy = Self { bin: self.bin.clone(), directory, port, user: self.user, _guard: guard };
        let (host, primary) = (self.directory.display().to_string(), self.port.to_string());
        let from = ["-h", &host, "-p", &primary, "-U", "postgres", "-D", "data", "-X", "stream", "-c", "fast", "-N"];
        copy.run("pg_basebackup", &[&from[..], more].concat());
        copy.configure(&format!("port = {port}\nunix_socket_directories = '{}'\n", copy.directory.display()));
        copy
    }

    /// Appends lines to `postgresql.conf`.
    fn configure(&self, lines: &str) {
        let mut file = fs::File::options().append(true).open(self.directory.join("data/postgresql.conf")).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    /// Changes a setting of the running server.
    pub async fn set(&self, setting: &str) {
        self.execute(&format!("ALTER SYSTEM SET {setting}")).await;
        self.execute("SELECT pg_reload_conf()").await;
    }

    /// Waits until the standby has all data of `primary`.
    pub async fn has_all_of(&self, primary: &Self) {
        let written: String = primary.value("SELECT pg_current_wal_lsn()::text").await;
        let is_here = format!("coalesce(pg_last_wal_replay_lsn() >= '{written}'::pg_lsn, false)");
        self.wait_until(&is_here, "the standby does not follow").await;
    }

    /// Disconnects the standby from its primary.
    pub async fn leave_behind(&self) {
        self.set("primary_conninfo = ''").await;
        self.wait_until("NOT EXISTS (SELECT FROM pg_stat_wal_receiver)", "the standby goes on following").await;
    }

    /// Promotes the standby to primary.
    pub fn promote(&self) {
        self.run("pg_ctl", &["promote", "-D", "data", "-w"]);
    }

    /// Restarts the cluster with an archive of its write-ahead log.
    pub fn archive(&self) {
        let archive = self.archived();
        fs::create_dir(&archive).unwrap();
        if let Some((uid, gid)) = self.user {
            chown(&archive, Some(uid), Some(gid)).unwrap();
        }
        let at = archive.display();
        self.configure(&format!("archive_mode = on\narchive_command = 'test ! -f {at}/%f && cp %p {at}/%f'\n"));
        self.stop(Stop::Fast);
        self.resume();
    }

    /// Ends the segment of the write-ahead log and waits until the archive has it.
    pub async fn has_archived(&self) {
        let segment: String = self.value("SELECT pg_walfile_name(pg_switch_wal())").await;
        let has = format!("(SELECT coalesce(last_archived_wal >= '{segment}', false) FROM pg_stat_archiver)");
        self.wait_until(&has, "the segment is not archived").await;
    }

    /// Starts this base backup with all that the archive of `lost` has.
    pub async fn recover_from(&self, lost: &Self) {
        let archive = lost.archived();
        self.configure(&format!("archive_mode = off\nrestore_command = 'cp {}/%f %p'\n", archive.display()));
        let signal = self.directory.join("data/recovery.signal");
        fs::write(&signal, "").unwrap();
        if let Some((uid, gid)) = self.user {
            chown(&signal, Some(uid), Some(gid)).unwrap();
        }
        self.resume();
        self.wait_until("NOT pg_is_in_recovery()", "the recovery does not end").await;
    }

    fn archived(&self) -> PathBuf {
        self.directory.join("archive")
    }

    async fn value<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await.unwrap()
    }

    async fn wait_until(&self, condition: &str, else_message: &str) {
        for _ in 0..3_000 {
            if self.value::<bool>(&format!("SELECT {condition}")).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{else_message}");
    }
}
