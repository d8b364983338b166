//! Opening: the server is one that we can use, the schema is ours and current, and the tasks of the replica run.

use std::str::FromStr;
use std::sync::Arc;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::domain::FeedId;
use crate::store::CommitListener;
use crate::store::queue::Queue;

use super::committer::Committer;
use super::error::{self, Fault};
use super::follower::Follower;
use super::readers::Readers;
use super::session::{Names, Session};
use super::{PostgresOptions, PostgresStore, read, signals};

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations/postgres");

/// The oldest PostgreSQL that is supported, as `server_version_num`.
const OLDEST_SERVER: i64 = 140_000;

/// The advisory lock that a replica holds while it migrates.
const MIGRATION_LOCK: i64 = 0x0072_756e_6c6f_6721;

/// What a URL may hold behind its question mark.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Why a store does not open, and what to do. `target` is host, port and database without the password, `cause` what the
/// server or the system said.
#[allow(missing_docs, reason = "the fields are named in the sentence above")]
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No URL of PostgreSQL.
    #[error("--store: not a PostgreSQL URL ({cause}); write postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…")]
    Url { cause: String },
    /// Nobody there.
    #[error("{target}: cannot be reached: {cause}; check host, port and that PostgreSQL runs")]
    Unreachable { target: String, cause: String },
    /// The encryption failed.
    #[error("{target}: no TLS connection: {cause}; check sslmode and sslrootcert in the URL")]
    Tls { target: String, cause: String },
    /// The server does not let us in.
    #[error("{target}: user {user:?} is not let in: {cause}; check user, password and pg_hba.conf")]
    Authentication { target: String, user: String, cause: String },
    /// No such database.
    #[error("{target}: there is no such database; create it with `createdb`")]
    NoDatabase { target: String },
    /// Too old.
    #[error("{target}: PostgreSQL {found} is too old; version 14 or newer is needed")]
    OldServer { target: String, found: String },
    /// Another encoding.
    #[error("{target}: the database has encoding {found}; create one with encoding UTF8")]
    Encoding { target: String, found: String },
    /// A standby.
    #[error(
        "{target}: the server only reads (a standby, or default_transaction_read_only); give the primary's address"
    )]
    ReadOnly { target: String },
    /// Rights are missing.
    #[error(
        "{target}: user {user:?} lacks rights: {cause}; grant USAGE and CREATE on the schema, or make it the owner"
    )]
    Rights { target: String, user: String, cause: String },
    /// Somebody else's tables.
    #[error("{target}: the schema holds tables of another program; nothing was changed; use a database of its own")]
    Foreign { target: String },
    /// A newer program made it.
    #[error(
        "{target}: the schema (version {found}) is newer than this program's (version {known}); use a newer runlog"
    )]
    NewerSchema { target: String, found: i64, known: i64 },
    /// Anything else.
    #[error("{target}: cannot be opened: {cause}")]
    Other { target: String, cause: String },
}

impl PostgresStore {
    /// Opens the store, making its tables if they are missing, and starts the tasks of the replica. `listener` hears of
    /// every commit of every replica.
    pub async fn open(options: PostgresOptions, listener: Arc<dyn CommitListener>) -> Result<Self, OpenError> {
        let connect = connect_options(&options)?;
        let target = Target::of(&connect);
        let mut first = reach(&connect, &options, &target).await?;
        target.check_server(&mut first).await?;
        let limit = options.patience();
        let migrated = timeout(limit, target.migrate(&mut first)).await;
        migrated.map_err(|_| target.other("another replica has been migrating the schema for too long"))??;
        let feed: Result<(i64, i64), _> =
            sqlx::query_as("SELECT feed_id, last_pos FROM feed").fetch_one(&mut first).await;
        let (feed_id, position) = feed.map_err(|e| target.describe(e))?;
        let feed_id = FeedId(u32::try_from(feed_id).unwrap_or_default());
        let session = Arc::new(Session::new(options.statement_timeout, names(&options, feed_id)));
        session.prepare(&mut first).await.map_err(|e| target.describe(e))?;

        let stop = CancellationToken::new();
        let following = Arc::new(readers(&options, &connect, &session, 1));
        let (follower, teller, heard) =
            Follower::new((following, listener), options.poll, stop.clone().drop_guard(), position.unsigned_abs());
        if let Some(names) = &session.notify {
            tokio::spawn(signals::listen(connect.clone(), names.clone(), options.connect_timeout, heard, stop));
        }
        let (queue, waiting) = Queue::new(options.queue.clone());
        let readers = readers(&options, &connect, &session, options.pool_size);
        let (session, failing_since) = (Arc::clone(&session), None);
        let committer = Committer { options, connect, session, connection: Some(first), teller, failing_since };
        let follower = tokio::spawn(follower.run());
        let tasks = tokio::spawn(async move {
            committer.run(waiting).await;
            if let Err(cause) = follower.await {
                tracing::error!(%cause, "the follower did not end cleanly");
            }
        });
        Ok(Self { queue, readers, feed_id, tasks: tokio::sync::Mutex::new(Some(tasks)) })
    }
}

fn connect_options(options: &PostgresOptions) -> Result<PgConnectOptions, OpenError> {
    let refused = |cause: String| OpenError::Url { cause };
    let query = options.url.split_once('?').map_or("", |(_, query)| query);
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        // sqlx would ignore it and log its value, which may be a password under a misspelt name.
        if !PARAMETERS.contains(&&*name) && !name.starts_with("options[") {
            return Err(refused(format!("unknown parameter {name:?}")));
        }
    }
    let parsed = PgConnectOptions::from_str(&options.url).map_err(|error| {
        let cause = error.to_string();
        // What quotes a value may quote the wrong one.
        refused(if cause.contains('"') { "a parameter has a value that it cannot have".to_owned() } else { cause })
    })?;
    Ok(parsed.application_name("runlog").disable_statement_logging())
}

fn names(options: &PostgresOptions, feed: FeedId) -> Option<Names> {
    let teller = || uuid::Uuid::new_v4().simple().to_string();
    options.notify.then(|| Names { channel: format!("runlog_{:08x}", feed.0), teller: teller() })
}

fn readers(options: &PostgresOptions, connect: &PgConnectOptions, session: &Arc<Session>, size: u32) -> Readers {
    let session = Arc::clone(session);
    let pool = PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(options.connect_timeout)
        // A dead one is found out by its use, and the read is done again: no round trip before each.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let session = Arc::clone(&session);
            Box::pin(async move { session.prepare(connection).await })
        })
        .connect_lazy_with(connect.clone());
    Readers { pool, retry: options.retry, patience: options.patience() }
}

/// Connects; a server that just starts gets the time that a connection may take.
async fn reach(
    connect: &PgConnectOptions,
    options: &PostgresOptions,
    target: &Target,
) -> Result<PgConnection, OpenError> {
    let until = Instant::now() + options.connect_timeout;
    loop {
        let error = match timeout(options.connect_timeout, PgConnection::connect_with(connect)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()),
        };
        let is_starting = error::code(&error).as_deref() == Some(error::CANNOT_CONNECT_NOW);
        if !is_starting || Instant::now() >= until {
            return Err(target.describe(error));
        }
        sleep(options.connect_timeout / 50).await;
    }
}

/// Whom we talk to, for messages.
struct Target {
    text: String,
    user: String,
}

impl Target {
    fn of(connect: &PgConnectOptions) -> Self {
        let place = match connect.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", connect.get_host(), connect.get_port()),
        };
        let user = connect.get_username().to_owned();
        let database = connect.get_database().unwrap_or(&user);
        Self { text: format!("PostgreSQL at {place}, database {database:?}"), user }
    }

    fn other(&self, cause: impl ToString) -> OpenError {
        OpenError::Other { target: self.text.clone(), cause: cause.to_string() }
    }

    fn describe(&self, error: sqlx::Error) -> OpenError {
        let (target, user, cause) = (self.text.clone(), self.user.clone(), error.to_string());
        match (&error, error::code(&error).as_deref()) {
            (_, Some(code)) if code.starts_with("28") => OpenError::Authentication { target, user, cause },
            (_, Some(error::NO_SUCH_DATABASE)) => OpenError::NoDatabase { target },
            (_, Some(error::INSUFFICIENT_PRIVILEGE)) => OpenError::Rights { target, user, cause },
            (_, Some(error::READ_ONLY)) => OpenError::ReadOnly { target },
            (sqlx::Error::Tls(_), _) => OpenError::Tls { target, cause },
            (sqlx::Error::Io(_), _) => OpenError::Unreachable { target, cause },
            (_, Some(code)) if code.starts_with("08") || code.starts_with("57P") => {
                OpenError::Unreachable { target, cause }
            }
            _ => OpenError::Other { target, cause },
        }
    }

    async fn check_server(&self, connection: &mut PgConnection) -> Result<(), OpenError> {
        const SERVER: &str = "SELECT current_setting('server_version_num')::bigint, current_setting('server_version'), \
            current_setting('server_encoding'), pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean, \
            current_setting('fsync')::boolean";
        let server: Result<(i64, String, String, bool, bool), _> = sqlx::query_as(SERVER).fetch_one(connection).await;
        let (version, name, encoding, is_read_only, flushes) = server.map_err(|e| self.describe(e))?;
        let target = self.text.clone();
        if version < OLDEST_SERVER {
            return Err(OpenError::OldServer { target, found: name });
        }
        if encoding != "UTF8" {
            return Err(OpenError::Encoding { target, found: encoding });
        }
        if is_read_only {
            return Err(OpenError::ReadOnly { target });
        }
        if !flushes {
            tracing::warn!("PostgreSQL runs with fsync=off: a power loss loses acknowledged events");
        }
        Ok(())
    }

    /// In one transaction, under a lock that ends with it: this also holds behind a pooler.
    async fn migrate(&self, connection: &mut PgConnection) -> Result<(), OpenError> {
        let mut transaction = connection.begin().await.map_err(|e| self.describe(e))?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *transaction)
            .await
            .map_err(|e| self.describe(e))?;
        if self.needs_migration(&mut transaction).await? {
            let mut migrations = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
            migrations.set_locking(false);
            migrations.run_direct(None, &mut *transaction, false).await.map_err(|error| match error {
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => self.describe(error),
                other => self.other(other),
            })?;
        }
        self.check_rights(&mut transaction).await?;
        transaction.commit().await.map_err(|e| self.describe(e))
    }

    /// Looks at what is there, before anything is written.
    async fn needs_migration(&self, connection: &mut PgConnection) -> Result<bool, OpenError> {
        const OURS: [&str; 5] = ["_sqlx_migrations", "events", "feed", "run_documents", "runs"];
        let found: Result<Vec<String>, _> =
            sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()")
                .fetch_all(&mut *connection)
                .await;
        let found = found.map_err(|e| self.describe(e))?;
        let has = |name: &&str| found.iter().any(|table| table == *name);
        if !OURS.iter().any(has) {
            return Ok(true);
        }
        let target = self.text.clone();
        if !OURS.iter().all(has) {
            return Err(OpenError::Foreign { target });
        }
        let version: Result<Option<i64>, _> =
            sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(connection).await;
        let found = version.map_err(|e| self.describe(e))?.unwrap_or(0);
        let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        if found > known {
            return Err(OpenError::NewerSchema { target, found, known });
        }
        Ok(found < known)
    }

    async fn check_rights(&self, connection: &mut PgConnection) -> Result<(), OpenError> {
        const LACKING: &str = "SELECT w.needed || ' on ' || w.name FROM (VALUES ('feed', 'SELECT'), ('feed', 'UPDATE'), \
            ('runs', 'SELECT'), ('runs', 'INSERT'), ('runs', 'UPDATE'), ('run_documents', 'SELECT'), \
            ('run_documents', 'INSERT'), ('run_documents', 'UPDATE'), ('events', 'SELECT'), ('events', 'INSERT')) \
            AS w (name, needed) WHERE NOT has_table_privilege(w.name, w.needed) \
            UNION ALL SELECT 'USAGE on run_numbers' WHERE NOT has_sequence_privilege('run_numbers', 'USAGE')";
        let lacking: Result<Vec<String>, _> = sqlx::query_scalar(LACKING).fetch_all(connection).await;
        let lacking = lacking.map_err(|e| self.describe(e))?;
        if lacking.is_empty() {
            return Ok(());
        }
        let (target, user) = (self.text.clone(), self.user.clone());
        Err(OpenError::Rights { target, user, cause: format!("it needs {}", lacking.join(", ")) })
    }
}

/// Whether the feed can be read, for health.
pub async fn answers(readers: &Readers) -> Result<(), Fault> {
    let mut connection = readers.acquire().await?;
    let asked = timeout(readers.patience, read::feed_tip(&mut connection)).await.unwrap_or(Err(Fault::Silence));
    if asked.is_err() {
        connection.close_on_drop();
    }
    asked.map(drop)
}
