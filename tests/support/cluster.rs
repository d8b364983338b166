//! A temporary PostgreSQL cluster for a test program: created at first use, on its own port and socket, run as an
//! unprivileged user also if the tests run as root, stopped and removed when the program ends or dies.
//!
//! `RUNLOG_TEST_PG_BIN` names the directory of the server's programs. Without PostgreSQL the tests print SKIPPED, and
//! fail under `CI=true`.

#![allow(dead_code, reason = "each test program uses a part of it")]

#[path = "standby.rs"]
mod standby;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Connection, PgConnection};

/// Local connections are trusted; user `locked` needs a password, for tests of a missing password.
const HBA: &str = "local all all trust\nlocal replication all trust\n\
    host all locked 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n";

/// The modes of stopping PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Fast shutdown: sessions are terminated.
    Fast,
    /// Immediate shutdown: recovery at the next start.
    Immediate,
    /// SIGKILL to the postmaster, without a signal to the sessions.
    Kill,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    directory: PathBuf,
    port: u16,
    /// User and group of the server, if the tests run as root.
    user: Option<(u32, u32)>,
    /// Removes the cluster when its stdin closes, also after the death of the program.
    _guard: Child,
}

/// A database or a schema of a test.
#[derive(Debug)]
pub struct Database {
    cluster: &'static Cluster,
    /// Name of the database or schema.
    pub name: String,
    schema: Option<String>,
}

/// The cluster shared by the tests of this program; `None` without PostgreSQL, after SKIPPED was printed.
pub fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    SHARED.get_or_init(Cluster::start).as_ref()
}

impl Cluster {
    /// Starts a separate cluster.
    pub fn start() -> Option<Self> {
        let Some(bin) = find_bin() else {
            // Directly to stderr, since the test harness captures the output of a passing test.
            let mut stderr = std::io::stderr();
            writeln!(stderr, "SKIPPED: PostgreSQL: no initdb in RUNLOG_TEST_PG_BIN, PATH or /usr/lib/postgresql")
                .unwrap();
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI runs the tests on PostgreSQL");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("runlog-pg-").tempdir().unwrap().keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            chown(&directory, Some(uid), Some(gid)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let guard = guard(&bin, &directory, user);
        let cluster = Self { bin, directory, port, user, _guard: guard };
        cluster
            .run("initdb", &["-D", "data", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-A", "trust"]);
        fs::write(cluster.directory.join("data/pg_hba.conf"), HBA).unwrap();
        let settings = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nmax_connections = 300\n\
             fsync = on\nlog_min_messages = warning\n",
            cluster.directory.display()
        );
        let file = cluster.directory.join("data/postgresql.conf");
        fs::write(&file, fs::read_to_string(&file).unwrap() + &settings).unwrap();
        cluster.resume();
        Some(cluster)
    }

    /// Requires TLS for TCP connections, with a certificate for 127.0.0.1 signed by a new authority. Returns the
    /// certificates of that authority and of another one.
    pub fn demand_tls(&self) -> (PathBuf, PathBuf) {
        const MAKE: &str = "set -e
            ca() { openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$1 -keyout $1.key -out $1.pem \
                -addext keyUsage=critical,keyCertSign; }
            ca ours; ca other
            openssl req -newkey rsa:2048 -nodes -subj /CN=database -keyout data/server.key -out server.csr
            echo subjectAltName=IP:127.0.0.1 >server.ext
            openssl x509 -req -in server.csr -CA ours.pem -CAkey ours.key -CAcreateserial -days 2 -extfile server.ext \
                -out data/server.crt
            chmod 600 data/server.key
            echo 'ssl = on' >>data/postgresql.conf
            printf 'local all all trust\\nhostssl all all 127.0.0.1/32 trust\\n' >data/pg_hba.conf";
        let mut command = Command::new("sh");
        command.args(["-c", MAKE]).current_dir(&self.directory);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        let made = command.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        self.stop(Stop::Fast);
        self.resume();
        (self.directory.join("ours.pem"), self.directory.join("other.pem"))
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the socket.
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    /// The path of a PostgreSQL program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Starts a stopped cluster.
    pub fn resume(&self) {
        // After a SIGKILL the old sessions may take a moment to end, and a start fails until then.
        for _ in 0..100 {
            if self.try_run("pg_ctl", &["start", "-D", "data", "-l", "log", "-w", "-t", "60"]) {
                return;
            }
        }
        panic!("{}", fs::read_to_string(self.directory.join("log")).unwrap_or_default());
    }

    /// Stops the cluster; returns after the shutdown.
    pub fn stop(&self, how: Stop) {
        match how {
            Stop::Fast => self.run("pg_ctl", &["stop", "-D", "data", "-m", "fast", "-w"]),
            Stop::Immediate => self.run("pg_ctl", &["stop", "-D", "data", "-m", "immediate", "-w"]),
            Stop::Kill => {
                let pid = fs::read_to_string(self.directory.join("data/postmaster.pid")).unwrap();
                let pid = pid.lines().next().unwrap().to_owned();
                assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
            }
        }
    }

    fn run(&self, program: &str, args: &[&str]) {
        assert!(self.try_run(program, args), "{program} {args:?}");
    }

    fn try_run(&self, program: &str, args: &[&str]) -> bool {
        let mut command = Command::new(self.bin.join(program));
        command.args(args).current_dir(&self.directory).env_remove("PGDATA").stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        // The server inherits the output file; a pipe would never close for a reader of the output.
        let output = fs::File::options().create(true).append(true).open(self.directory.join("tools.log")).unwrap();
        if let Some((uid, gid)) = self.user {
            chown(self.directory.join("tools.log"), Some(uid), Some(gid)).unwrap();
        }
        command.stdout(output.try_clone().unwrap()).stderr(output).process_group(0).status().unwrap().success()
    }

    /// The URL of a database of this cluster, over the socket.
    pub fn url(&self, database: &str) -> String {
        let socket = self.directory.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}:{}/{database}", self.port)
    }
}

impl Database {
    /// A new database in the shared cluster.
    pub async fn create() -> Option<Self> {
        shared()?.create_database().await
    }

    /// A new schema in a shared database: faster to create than a database.
    pub async fn create_schema() -> Option<Self> {
        static SHARED: tokio::sync::OnceCell<Option<String>> = tokio::sync::OnceCell::const_new();
        let name = SHARED.get_or_init(async || Some(Self::create().await?.name.clone())).await.clone()?;
        let cluster = shared()?;
        let schema = format!("s{}", number());
        execute(&cluster.url(&name), &format!("CREATE SCHEMA {schema}")).await;
        Some(Self { cluster, name, schema: Some(schema) })
    }

    /// The URL over the socket.
    pub fn url(&self) -> String {
        self.cluster.url(&self.name) + &self.parameters()
    }

    /// The URL for this user, on this port of 127.0.0.1.
    pub fn tcp_url(&self, user: &str, port: u16) -> String {
        format!("postgres://{user}@127.0.0.1:{port}/{}{}", self.name, self.parameters())
    }

    /// The cluster of the database.
    pub fn cluster(&self) -> &'static Cluster {
        self.cluster
    }

    fn parameters(&self) -> String {
        self.schema.as_ref().map(|schema| format!("?options=-csearch_path%3D{schema}")).unwrap_or_default()
    }

    /// Executes statements.
    pub async fn execute(&self, sql: &str) {
        execute(&self.url(), sql).await;
    }

    /// A new connection.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    /// Drops the schema; databases stay until the cluster is removed.
    pub async fn remove(&self) {
        if let Some(schema) = &self.schema {
            execute(&self.cluster.url(&self.name), &format!("DROP SCHEMA {schema} CASCADE")).await;
        }
    }
}

impl Cluster {
    /// Executes a statement outside of any test's database.
    pub async fn execute(&self, sql: &str) {
        execute(&self.url("postgres"), sql).await;
    }

    /// A new database; the cluster stays for the whole program.
    pub async fn create_database(&'static self) -> Option<Database> {
        let name = format!("t{}", number());
        self.execute(&format!("CREATE DATABASE {name}")).await;
        Some(Database { cluster: self, name, schema: None })
    }
}

fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

async fn execute(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A process that outlives this program and removes the cluster.
fn guard(bin: &Path, directory: &Path, user: Option<(u32, u32)>) -> Child {
    const CLEAN_UP: &str =
        r#"trap '' INT TERM HUP; read -r _; "$1/pg_ctl" stop -D "$2/data" -m immediate -w; rm -rf "$2""#;
    let mut command = Command::new("sh");
    command.args(["-c", CLEAN_UP, "sh"]).arg(bin).arg(directory).current_dir("/").process_group(0);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// User and group for the server if the tests run as root, since PostgreSQL refuses to run as root.
pub fn unprivileged() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    if fs::metadata("/proc/self").map(|me| me.uid()).unwrap_or(1) != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(|id| id.parse().ok());
        Some((fields.next()??, fields.next()??))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("a user postgres or nobody"))
}

fn find_bin() -> Option<PathBuf> {
    let has_initdb = |bin: &PathBuf| bin.join("initdb").exists();
    let named = std::env::var_os("RUNLOG_TEST_PG_BIN").map(PathBuf::from).filter(has_initdb);
    let in_path = || {
        let path = std::env::var_os("PATH")?;
        // A link in PATH leads to the directory with all of them.
        let link = std::env::split_paths(&path).find(has_initdb)?.join("initdb");
        Some(link.canonicalize().ok()?.parent()?.to_owned())
    };
    let of_debian = || {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
        let mut bins: Vec<_> = versions.filter_map(|version| Some(version.ok()?.path().join("bin"))).collect();
        bins.retain(has_initdb);
        bins.sort();
        bins.pop()
    };
    let reported = || {
        let output = Command::new("pg_config").arg("--bindir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim())).filter(has_initdb)
    };
    named.or_else(in_path).or_else(of_debian).or_else(reported)
}
