//! PgBouncer in front of the shared cluster of this test program. Clients share three server connections per database,
//! each for one transaction at a time. Stopped and removed when the program ends or dies.
//!
//! `RUNLOG_TEST_PGBOUNCER` names the program; the default is Debian's path. Without the program the tests print
//! SKIPPED, and fail under `CI=true`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::cluster::{self, Cluster};

/// Server connections for one database.
pub const SHARED_CONNECTIONS: usize = 3;

/// Only part of the socket's name, since PgBouncer listens on a socket alone.
const PORT: u16 = 6432;

/// A running PgBouncer.
#[derive(Debug)]
pub struct Pooler {
    directory: PathBuf,
    /// Ends PgBouncer when its stdin closes, also after the death of the program.
    _guard: Child,
}

/// The pooler of the shared cluster; `None` without PgBouncer or PostgreSQL, after SKIPPED was printed.
pub fn shared() -> Option<&'static Pooler> {
    static SHARED: OnceLock<Option<Pooler>> = OnceLock::new();
    SHARED.get_or_init(|| Pooler::start(cluster::shared()?)).as_ref()
}

impl Pooler {
    fn start(cluster: &Cluster) -> Option<Self> {
        let named = std::env::var_os("RUNLOG_TEST_PGBOUNCER").map(PathBuf::from);
        let program = named.unwrap_or_else(|| PathBuf::from("/usr/sbin/pgbouncer"));
        if !program.exists() {
            // Directly to stderr, since the test harness captures the output of a passing test.
            let mut stderr = std::io::stderr();
            writeln!(stderr, "SKIPPED: PgBouncer: no {}; tests/all.sh installs it", program.display()).unwrap();
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI runs the tests behind a pooler");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("runlog-pooler-").tempdir().unwrap().keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        // Default settings, as an administrator unaware of runlog would leave them. All users are let in as the
        // cluster's own user.
        let settings = format!(
            "[databases]\n* = host={} port={} user=postgres\n[pgbouncer]\nlisten_addr =\nlisten_port = {PORT}\n\
             unix_socket_dir = {}\nlogfile = {}\nauth_type = any\npool_mode = transaction\n\
             default_pool_size = {SHARED_CONNECTIONS}\nmax_client_conn = 500\nserver_idle_timeout = 30\n",
            cluster.socket_directory().display(),
            cluster.port(),
            directory.display(),
            directory.join("log").display(),
        );
        fs::write(directory.join("pgbouncer.ini"), settings).unwrap();
        const RUN: &str = r#"trap '' INT TERM HUP; "$1" "$2/pgbouncer.ini" </dev/null >/dev/null &
            until grep -qs 'process up' "$2/log"; do kill -0 $! || break; sleep 0.01; done
            echo; read -r _; kill -9 $!; wait; rm -rf "$2""#;
        let mut command = Command::new("sh");
        command.args(["-c", RUN, "sh"]).arg(program).arg(&directory).current_dir("/").process_group(0);
        // PgBouncer refuses to run as root, too.
        if let Some((uid, gid)) = cluster::unprivileged() {
            chown(&directory, Some(uid), Some(gid)).unwrap();
            command.uid(uid).gid(gid);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guard = command.spawn().unwrap();
        BufReader::new(guard.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(log.contains("process up"), "{log}");
        Some(Self { directory, _guard: guard })
    }

    /// The URL of a database of the cluster, through the pooler.
    pub fn url(&self, database: &str) -> String {
        let socket = self.directory.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}:{PORT}/{database}")
    }
}
