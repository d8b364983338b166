//! Checks of the server, the schema and the privileges, with errors that name the remedy, and the migration of the
//! schema. A start runs all checks; `check` and `migrate` run a part.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use crate::store::inspect::Schema;

use super::connect::executor::PgExecutor;
use super::error;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/postgres/migrations");

/// The oldest supported PostgreSQL, as `server_version_num`.
const OLDEST_SERVER: i64 = 140_000;

/// Key of the advisory lock held during a migration.
const MIGRATION_LOCK: i64 = 0x0072_756e_6c6f_6721;

/// Error of opening a store, with the remedy. `target` is host, port and database without the password; `cause` is the
/// error text of the server or the system.
#[allow(missing_docs, reason = "the fields are named in the sentence above")]
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL does not parse.
    #[error("--store: not a PostgreSQL URL ({cause}); write postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…")]
    Url { cause: String },
    /// The server does not accept connections.
    #[error("{target}: cannot be reached: {cause}; check host, port and that PostgreSQL runs")]
    Unreachable { target: String, cause: String },
    /// The TLS handshake failed.
    #[error("{target}: no TLS connection: {cause}; check sslmode and sslrootcert in the URL")]
    Tls { target: String, cause: String },
    /// The server rejected user or password.
    #[error("{target}: user {user:?} is not let in: {cause}; check user, password and pg_hba.conf")]
    Authentication { target: String, user: String, cause: String },
    /// The database does not exist.
    #[error("{target}: there is no such database; create it with `createdb`")]
    NoDatabase { target: String },
    /// The server is older than PostgreSQL 14.
    #[error("{target}: PostgreSQL {found} is too old; version 14 or newer is needed")]
    OldServer { target: String, found: String },
    /// The encoding of the database is not UTF8.
    #[error("{target}: the database has encoding {found}; create one with encoding UTF8")]
    Encoding { target: String, found: String },
    /// The server is a standby, or read-only by default.
    #[error(
        "{target}: the server only reads (a standby, or default_transaction_read_only); give the primary's address"
    )]
    ReadOnly { target: String },
    /// The user lacks privileges on the schema or its tables.
    #[error(
        "{target}: user {user:?} lacks rights: {cause}; grant USAGE and CREATE on the schema, or make it the owner"
    )]
    Rights { target: String, user: String, cause: String },
    /// The schema contains tables of a different program.
    #[error("{target}: the schema holds tables of another program; nothing was changed; use a database of its own")]
    Foreign { target: String },
    /// A newer version of the program has migrated the schema.
    #[error(
        "{target}: the schema (version {found}) is newer than this program's (version {known}); use a newer runlog"
    )]
    NewerSchema { target: String, found: i64, known: i64 },
    /// An applied migration has a different checksum than the migration of this program.
    #[error(
        "{target}: migration {version} of the schema is another one than this program's; nothing was changed; use the runlog \
         that applied it, or a database of its own"
    )]
    ChangedMigration { target: String, version: i64 },
    /// Any other error.
    #[error("{target}: cannot be opened: {cause}")]
    Other { target: String, cause: String },
}

/// Properties of the database server.
pub struct Server {
    pub version: String,
    /// The setting `fsync`: whether committed data is flushed to disk.
    pub flushes: bool,
    pub max_connections: i64,
}

/// Properties of the server as read by one query.
#[derive(sqlx::FromRow)]
struct ServerRow {
    version_number: i64,
    version: String,
    encoding: String,
    is_read_only: bool,
    flushes: bool,
    max_connections: i64,
}

/// Warning for a server without `fsync`.
pub const DOES_NOT_FLUSH: &str = "PostgreSQL runs with fsync=off: a power loss loses acknowledged events";

/// Address, database and user of the server, for error messages.
pub struct Target {
    text: String,
    user: String,
}

impl Target {
    pub fn of(connect: &PgConnectOptions) -> Self {
        let address = match connect.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", connect.get_host(), connect.get_port()),
        };
        let user = connect.get_username().to_owned();
        let database = connect.get_database().unwrap_or(&user);
        Self { text: format!("PostgreSQL at {address}, database {database:?}"), user }
    }

    /// Address and database, without the password.
    pub fn name(&self) -> &str {
        &self.text
    }

    /// An error without a variant of its own.
    pub fn other(&self, cause: impl ToString) -> OpenError {
        OpenError::Other { target: self.text.clone(), cause: cause.to_string() }
    }

    /// Converts an error during opening.
    pub fn describe(&self, error: sqlx::Error) -> OpenError {
        let (target, user, cause) = (self.text.clone(), self.user.clone(), error.to_string());
        match (&error, error::code(&error).as_deref()) {
            (_, Some(code)) if code.starts_with("28") => OpenError::Authentication { target, user, cause },
            (_, Some(error::NO_SUCH_DATABASE)) => OpenError::NoDatabase { target },
            (_, Some(error::INSUFFICIENT_PRIVILEGE)) => OpenError::Rights { target, user, cause },
            (_, Some(error::READ_ONLY)) => OpenError::ReadOnly { target },
            (sqlx::Error::Tls(_), _) => OpenError::Tls { target, cause },
            // A failed TLS handshake, for example an untrusted certificate.
            (sqlx::Error::Io(io), _) if io.kind() == std::io::ErrorKind::InvalidData => {
                OpenError::Tls { target, cause }
            }
            (sqlx::Error::Io(_), _) => OpenError::Unreachable { target, cause },
            (_, Some(code)) if code.starts_with("08") || code.starts_with("57P") => {
                OpenError::Unreachable { target, cause }
            }
            _ => OpenError::Other { target, cause },
        }
    }

    /// Checks version, encoding and write access of the server.
    pub async fn check_server(&self, connection: &mut PgConnection) -> Result<Server, OpenError> {
        const SERVER: &str = "SELECT current_setting('server_version_num')::bigint AS version_number, \
            current_setting('server_version') AS version, current_setting('server_encoding') AS encoding, \
            pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS is_read_only, \
            current_setting('fsync')::boolean AS flushes, current_setting('max_connections')::bigint AS max_connections";
        let server: Result<ServerRow, _> = async {
            let mut transaction = connection.begin().await?;
            let server = sqlx::query_as(SERVER).fetch_one(&mut PgExecutor::pooled(&mut transaction)).await?;
            transaction.rollback().await?;
            Ok(server)
        }
        .await;
        let server = server.map_err(|e| self.describe(e))?;
        let target = self.text.clone();
        if server.version_number < OLDEST_SERVER {
            return Err(OpenError::OldServer { target, found: server.version });
        }
        if server.encoding != "UTF8" {
            return Err(OpenError::Encoding { target, found: server.encoding });
        }
        if server.is_read_only {
            return Err(OpenError::ReadOnly { target });
        }
        let ServerRow { version, flushes, max_connections, .. } = server;
        Ok(Server { version, flushes, max_connections })
    }

    /// Migrates the schema in one transaction, under an advisory lock of the transaction, so the lock also works
    /// through a pooler. Returns the schema before the migration.
    pub async fn migrate(&self, connection: &mut PgConnection) -> Result<Schema, OpenError> {
        failpoint!("postgres-migration-before", |e| self.describe(e));
        let mut transaction = connection.begin().await.map_err(|e| self.describe(e))?;
        let mut executor = PgExecutor::pooled(&mut transaction);
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut executor)
            .await
            .map_err(|e| self.describe(e))?;
        let before = self.schema(&mut executor).await?;
        if !before.pending.is_empty() {
            let mut migrations = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
            migrations.set_locking(false);
            let migrated = migrations.run_direct(None, &mut *transaction, false).await;
            // The migrator uses named prepared statements. Behind a pooler the next migrator on this server session
            // would prepare the same names.
            transaction.clear_cached_statements().await.map_err(|e| self.describe(e))?;
            migrated.map_err(|error| match error {
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => self.describe(error),
                other => self.other(other),
            })?;
        }
        self.check_rights(&mut PgExecutor::pooled(&mut transaction)).await?;
        failpoint!("postgres-migration-inside", |e| self.describe(e));
        transaction.commit().await.map_err(|e| self.describe(e))?;
        failpoint!("postgres-migration-after", |e| self.describe(e));
        Ok(before)
    }

    /// Reads the state of the schema and verifies that its tables and migrations belong to this program.
    pub async fn schema(&self, executor: &mut PgExecutor<'_>) -> Result<Schema, OpenError> {
        const OURS: [&str; 5] = ["_sqlx_migrations", "events", "feed", "run_documents", "runs"];
        let found: Result<Vec<String>, _> =
            sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()")
                .fetch_all(&mut *executor)
                .await;
        let found = found.map_err(|e| self.describe(e))?;
        let has = |name: &&str| found.iter().any(|table| table == *name);
        if !OURS.iter().any(has) {
            return Ok(Schema::of(0, &MIGRATIONS));
        }
        let target = self.text.clone();
        if !OURS.iter().all(has) {
            return Err(OpenError::Foreign { target });
        }
        const APPLIED: &str = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";
        let applied: Result<Vec<(i64, Vec<u8>)>, _> = sqlx::query_as(APPLIED).fetch_all(executor).await;
        let applied = applied.map_err(|e| self.describe(e))?;
        let schema = Schema::of(applied.last().map_or(0, |(version, _)| *version), &MIGRATIONS);
        let (found, known) = (schema.found, schema.known);
        if found > known {
            return Err(OpenError::NewerSchema { target, found, known });
        }
        let is_ours = |(version, checksum): &&(i64, Vec<u8>)| {
            MIGRATIONS.iter().any(|known| known.version == *version && known.checksum[..] == checksum[..])
        };
        match applied.iter().find(|applied| !is_ours(applied)) {
            Some((version, _)) => Err(OpenError::ChangedMigration { target, version: *version }),
            None => Ok(schema),
        }
    }

    /// Checks the table privileges that a replica needs.
    pub async fn check_rights(&self, executor: &mut PgExecutor<'_>) -> Result<(), OpenError> {
        const LACKING: &str = "SELECT w.needed || ' on ' || w.name FROM (VALUES ('feed', 'SELECT'), ('feed', 'UPDATE'), ('feed', 'INSERT'), \
            ('runs', 'SELECT'), ('runs', 'INSERT'), ('runs', 'UPDATE'), ('run_documents', 'SELECT'), \
            ('run_documents', 'INSERT'), ('run_documents', 'UPDATE'), ('run_documents', 'DELETE'), \
            ('events', 'SELECT'), ('events', 'INSERT'), ('events', 'UPDATE'), ('events', 'DELETE'), \
            ('run_retention', 'SELECT'), ('run_retention', 'INSERT'), ('run_retention', 'UPDATE'), \
            ('feed_retention', 'SELECT'), ('feed_retention', 'INSERT'), ('feed_retention', 'UPDATE'), \
            ('replicas', 'SELECT'), ('replicas', 'INSERT'), ('replicas', 'UPDATE'), ('replicas', 'DELETE'), \
            ('epochs', 'SELECT'), ('epochs', 'INSERT'), \
            ('epochs', 'UPDATE'), ('project_epochs', 'SELECT'), ('project_epochs', 'INSERT'), \
            ('project_epochs', 'UPDATE'), ('keys', 'SELECT'), ('keys', 'INSERT'), ('keys', 'UPDATE'), \
            ('secrets', 'SELECT'), ('secrets', 'INSERT')) AS w (name, needed) \
            WHERE NOT has_table_privilege(w.name, w.needed) \
            UNION ALL SELECT 'USAGE on run_numbers' WHERE NOT has_sequence_privilege('run_numbers', 'USAGE')";
        // Separate, since it reads a table. The rights on the numbers of one project say nothing about the others.
        const NUMBERS: &str = "SELECT 'USAGE on run_numbers_' || (id - 1) FROM feed WHERE id > 1 AND NOT \
            coalesce(has_sequence_privilege(to_regclass('run_numbers_' || (id - 1)), 'USAGE'), false) ORDER BY id LIMIT 10";
        let lacking: Vec<String> =
            sqlx::query_scalar(LACKING).fetch_all(&mut *executor).await.map_err(|e| self.describe(e))?;
        if lacking.is_empty() {
            let lacking: Vec<String> =
                sqlx::query_scalar(NUMBERS).fetch_all(executor).await.map_err(|e| self.describe(e))?;
            if !lacking.is_empty() {
                tracing::warn!(lacking = lacking.join(", "), "no run of these projects can be created");
            }
            return Ok(());
        }
        let (target, user) = (self.text.clone(), self.user.clone());
        Err(OpenError::Rights { target, user, cause: format!("it needs {}", lacking.join(", ")) })
    }
}
