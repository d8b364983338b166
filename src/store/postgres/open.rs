//! Opening of the store: checks the server, migrates the schema and starts the tasks of the replica.

use std::str::FromStr;
use std::sync::Arc;

use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::domain::FeedId;
use crate::store::commit::queue::Queue;
use crate::store::inspect::Schema;
use crate::store::tasks::{RunningCommitter, Tasks};
use crate::store::{CommitListener, ProjectNumber};

use super::check::{DOES_NOT_FLUSH, OpenError, Target};
use super::connect::executor::PgExecutor;
use super::connect::readers::Readers;
use super::connect::replication::Replication;
use super::connect::session::{NotifyIdentity, Session};
use super::epochs::Epochs;
use super::error;
use super::feed::follower::Follower;
use super::feed::replica::Replica;
use super::feed::signals;
use super::keys::PostgresKeys;
use super::options::PostgresOptions;
use super::read::{self, FeedEnds};
use super::removal::Removals;
use super::write::committer::Committer;
use super::write::writer::Writer;
use super::{PostgresStore, Shared};

/// A server that was promoted keeps the standbys that its primary waited for.
const NO_EPOCH: &str = "the first commit was not confirmed in time; if synchronous_standby_names names standbys, attach one, or \
    empty it and reload";

/// Accepted query parameters of a database URL.
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

impl PostgresStore {
    /// Opens the store: creates or migrates the tables and starts the tasks of the replica. `listener` receives every
    /// commit of this replica, and the commits of other replicas according to [`CommitListener::interest`].
    pub async fn open(options: PostgresOptions, listener: Arc<dyn CommitListener>) -> Result<Self, OpenError> {
        let connect = connect_options(&options)?;
        let target = Target::of(&connect);
        let mut first = reach(&connect, &options, &target).await?;
        if !target.check_server(&mut first).await?.flushes {
            tracing::warn!("{DOES_NOT_FLUSH}");
        }
        Replication::read(&mut first).await.map_err(|e| target.describe(e))?.log();
        migrate(&options, &target, &mut first).await?;
        let replica = Arc::new(Replica::new());
        let found = Found::read(&mut first, &replica.name).await.map_err(|e| target.describe(e))?;
        let names = names(&options, found.feed);
        let session = Arc::new(Session::new(options.statement_timeout, &found.synchronous_commit, names));
        session.prepare(&mut first).await.map_err(|e| target.describe(e))?;
        let epochs = Arc::new(open_epochs(&options, &target, &mut first, Arc::clone(&listener)).await?);

        replica.enter(&mut first, &found.feed_ends).await.map_err(|e| target.describe(e))?;

        let stop = CancellationToken::new();
        let following = Arc::new(readers(&options, &connect, &session, &epochs, 1));
        let (of_follower, of_replica) = (Arc::clone(&listener), (Arc::clone(&replica), found.feed_ends));
        let (follower, announcer, signal) =
            Follower::new(following, of_follower, options.poll, stop.clone().drop_guard(), of_replica);
        if let Some(names) = &session.notify {
            tokio::spawn(signals::listen(
                connect.clone(),
                names.clone(),
                options.connect_timeout,
                signal.clone(),
                stop,
            ));
        }
        let (queue, waiting) = Queue::new(options.queue.clone());
        let readers = Arc::new(readers(&options, &connect, &session, &epochs, options.pool_size));
        let keys = PostgresKeys { readers: Arc::clone(&readers) };
        let removals = Removals {
            readers: Arc::clone(&readers),
            connect: connect.clone(),
            listener,
            signal,
            cleared: Mutex::default(),
        };
        let retry = options.retry;
        let writer = Writer::new(options, connect, session, Arc::clone(&epochs), first);
        let committer = Committer { writer, announcer, retry, failing_since: None, is_away: false };
        let vital = Tasks::default();
        let follower = vital.spawn(follower.run());
        let committer = vital.spawn(async move {
            committer.run(waiting).await;
            if let Err(cause) = follower.await {
                tracing::error!(%cause, "the follower did not end cleanly");
            }
        });
        let committer = RunningCommitter::new(committer);
        let shared = Arc::new(Shared { queue, readers, keys, removals, replica, epochs, vital, committer });
        Ok(Self { shared, project: ProjectNumber::DEFAULT })
    }
}

/// State of the database at the start of a replica.
struct Found {
    /// Feed of the project `default`.
    feed: FeedId,
    feed_ends: FeedEnds,
    /// The `synchronous_commit` setting of the server.
    synchronous_commit: String,
}

impl Found {
    async fn read(connection: &mut PgConnection, replica: &str) -> Result<Self, sqlx::Error> {
        const DEFAULT: &str = "SELECT feed_id, current_setting('synchronous_commit') FROM feed WHERE id = 1";
        let mut transaction = connection.begin().await?;
        let mut executor = PgExecutor::pooled(&mut transaction);
        let (feed_id, synchronous_commit): (i64, String) = sqlx::query_as(DEFAULT).fetch_one(&mut executor).await?;
        let feed_ends = read::feed_ends(&mut executor, replica).await?;
        transaction.rollback().await?;
        Ok(Self { feed: FeedId(u32::try_from(feed_id).unwrap_or_default()), feed_ends, synchronous_commit })
    }
}

/// Migrates the schema, with a deadline that covers a migration running in another replica. Returns the schema before
/// the migration.
pub async fn migrate(
    options: &PostgresOptions,
    target: &Target,
    connection: &mut PgConnection,
) -> Result<Schema, OpenError> {
    let migrated = timeout(options.statement_deadline(), target.migrate(connection)).await;
    migrated.map_err(|_| target.other("another replica has been migrating the schema for too long"))?
}

/// Reads the epochs, and begins new ones on a server with another lineage: the first commit that standbys have to confirm.
async fn open_epochs(
    options: &PostgresOptions,
    target: &Target,
    connection: &mut PgConnection,
    listener: Arc<dyn CommitListener>,
) -> Result<Epochs, OpenError> {
    let opened = timeout(options.statement_deadline(), Epochs::open(connection, listener)).await;
    let Ok(opened) = opened else { return Err(target.other(NO_EPOCH)) };
    opened.map_err(|error| match error::code(&error).as_deref() {
        // A replica whose commit of the epochs waits for the confirmation holds the locks.
        Some(error::LOCK_TIMEOUT | error::STATEMENT_TIMEOUT) => target.other(NO_EPOCH),
        _ => target.describe(error),
    })
}

/// Parses the database URL into connection options.
pub fn connect_options(options: &PostgresOptions) -> Result<PgConnectOptions, OpenError> {
    let refused = |cause: String| OpenError::Url { cause };
    let query = options.url.split_once('?').map_or("", |(_, query)| query);
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        // sqlx ignores an unknown parameter but logs the value, which may be a password under a misspelt name.
        if !PARAMETERS.contains(&&*name) && !name.starts_with("options[") {
            return Err(refused(format!("unknown parameter {name:?}")));
        }
    }
    let parsed = PgConnectOptions::from_str(&options.url).map_err(|error| {
        let cause = error.to_string();
        // An error text with a quoted value may reveal a secret.
        refused(if cause.contains('"') { "a parameter has a value that it cannot have".to_owned() } else { cause })
    })?;
    // PgBouncer rejects `extra_float_digits` unless configured to ignore the parameter. The schema's only float column
    // is exchanged in binary.
    Ok(parsed.application_name("runlog").extra_float_digits(None).disable_statement_logging())
}

fn names(options: &PostgresOptions, feed: FeedId) -> Option<NotifyIdentity> {
    options.notify.then(|| NotifyIdentity {
        channel: format!("runlog_{:08x}", feed.0),
        of_projects: format!("runlog_{:08x}_projects", feed.0),
        announcer: uuid::Uuid::new_v4().simple().to_string(),
    })
}

fn readers(
    options: &PostgresOptions,
    connect: &PgConnectOptions,
    session: &Arc<Session>,
    epochs: &Arc<Epochs>,
    size: u32,
) -> Readers {
    let of_new = (Arc::clone(session), Arc::clone(epochs));
    let of_old = Arc::clone(epochs);
    let pool = PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(options.connect_timeout)
        // A dead connection fails in use and the read is retried; a test would cost a round trip before every read.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let (session, epochs) = of_new.clone();
            Box::pin(async move {
                session.prepare(connection).await?;
                epochs.check(connection).await
            })
        })
        // A connection opened before a change of the history may lead to the server of a lost history.
        .before_acquire(move |_, metadata| {
            let opened = std::time::Instant::now().checked_sub(metadata.age);
            let is_current = opened.is_none_or(|opened| of_old.is_current(opened));
            Box::pin(std::future::ready(Ok(is_current)))
        })
        .connect_lazy_with(connect.clone());
    let (session, epochs) = (Arc::clone(session), Arc::clone(epochs));
    Readers { pool, session, epochs, retry: options.retry, statement_deadline: options.statement_deadline() }
}

/// Connects to the server; while the server is starting, retries until the connect timeout.
pub async fn reach(
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
