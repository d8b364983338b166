//! Inspection (`check`) and migration (`migrate`) of a database without serving.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use sqlx::{Connection, PgConnection};

use crate::domain::{Event, ProjectId};
use crate::store::ProjectNumber;
use crate::store::inspect::{self, CheckOptions, CheckResult, Schema};
use crate::store::project::{position_of, shown_run_id};

use super::check::{DOES_NOT_FLUSH, OpenError, Server, Target};
use super::connect::executor::PgExecutor;
use super::connect::replication::Replication;
use super::error::Fault;
use super::event_row::{EventRow, event_columns};
use super::feed_row;
use super::open::{self, connect_options, reach};
use super::options::PostgresOptions;
use super::scrub;

/// Unique indexes that the guarantees of the store depend on.
const INDEXES: [&str; 11] = [
    "events_given_id",
    "events_pos",
    "events_run_seq",
    "feed_one_row",
    "feed_project",
    "feed_retention_id",
    "replicas_name",
    "run_documents_run_kind",
    "run_retention_run",
    "runs_run",
    "runs_run_id",
];

const NEWEST: &str = concat!(
    "SELECT ",
    event_columns!("e.payload::text"),
    " FROM events e JOIN runs r ON r.run = e.run WHERE e.pos = $1"
);

/// Migrates the schema under the same lock as a start. Returns the schema before the migration. Replicas may serve
/// meanwhile.
pub async fn migrate(options: &PostgresOptions) -> Result<Schema, OpenError> {
    let (target, mut connection) = connect(options).await?;
    target.check_server(&mut connection).await?;
    let before = open::migrate(options, &target, &mut connection).await?;
    connection.close().await.map_err(|e| target.describe(e))?;
    Ok(before)
}

/// Reads the schema version without changes.
pub async fn schema(options: &PostgresOptions) -> Result<Schema, OpenError> {
    let (target, mut connection) = connect(options).await?;
    target.check_server(&mut connection).await?;
    let mut transaction = connection.begin().await.map_err(|e| target.describe(e))?;
    let schema = target.schema(&mut PgExecutor::pooled(&mut transaction)).await?;
    transaction.rollback().await.map_err(|e| target.describe(e))?;
    Ok(schema)
}

async fn connect(options: &PostgresOptions) -> Result<(Target, PgConnection), OpenError> {
    let connect = connect_options(options)?;
    let target = Target::of(&connect);
    let connection = reach(&connect, options, &target).await?;
    Ok((target, connection))
}

/// Runs the checks of a start, without changes and without disturbing serving replicas.
pub async fn look(options: &PostgresOptions, look: CheckOptions) -> Vec<CheckResult> {
    let mut findings = Vec::new();
    if let Err(failed) = look_into(options, look, &mut findings).await {
        findings.push(failed);
    }
    findings
}

async fn look_into(
    options: &PostgresOptions,
    look: CheckOptions,
    findings: &mut Vec<CheckResult>,
) -> Result<(), CheckResult> {
    let failed = |name: &'static str| move |error: OpenError| CheckResult::failed(name, error);
    let (target, mut connection) = connect(options).await.map_err(failed("store"))?;
    let server = target.check_server(&mut connection).await.map_err(failed("store"))?;
    findings.push(of_server(&server, options, &target));
    // The read-only transaction makes the server reject changes from here on.
    let describe = |name: &'static str| {
        let target = &target;
        move |error| CheckResult::failed(name, target.describe(error))
    };
    let looking = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
    let mut transaction = looking.map_err(describe("store"))?;
    let mut connection = PgExecutor::pooled(&mut transaction);
    let replication = Replication::read_in(&mut connection).await.map_err(describe("standbys"))?;
    findings.push(replication.finding());
    findings.push(clock_of(&mut connection, look).await.map_err(describe("server-clock"))?);
    let schema = target.schema(&mut connection).await.map_err(failed("schema"))?;
    findings.push(schema.finding());
    if schema.found == 0 {
        findings.push(match may_create(&mut connection).await.map_err(describe("rights"))? {
            true => CheckResult::ok("rights", "tables can be made"),
            false => {
                CheckResult::failed("rights", "no CREATE on the schema; grant it, or make the tables with another user")
            }
        });
        findings.push(inspect::clock(Timestamp::now(), None, look.max_clock_skew));
        return Ok(());
    }
    if !schema.pending.is_empty() {
        return Ok(());
    }
    target.check_rights(&mut connection).await.map_err(failed("rights"))?;
    findings.push(match may_create(&mut connection).await.map_err(describe("rights"))? {
        true => CheckResult::ok("rights", "the tables can be read and written"),
        false => CheckResult::warning("rights", "no CREATE on the schema, so no project can be created; grant it"),
    });
    if look.deep {
        let checksums = checksums(&mut connection).await;
        findings.push(checksums.map_err(|fault| CheckResult::failed("checksums", fault.into_error()))?);
    }
    let newest = integrity(&mut connection, look, findings).await.map_err(describe("integrity"))?;
    findings.push(inspect::clock(Timestamp::now(), newest.as_ref(), look.max_clock_skew));
    transaction.rollback().await.map_err(describe("store"))
}

fn of_server(server: &Server, options: &PostgresOptions, target: &Target) -> CheckResult {
    let needed = i64::from(options.pool_size) + 3;
    if !server.flushes {
        return CheckResult::warning("store", DOES_NOT_FLUSH);
    }
    if needed > server.max_connections {
        let problem = format!("--pg-pool-size {} needs {needed} connections", options.pool_size);
        return CheckResult::warning("store", format!("{problem}, the server allows {}", server.max_connections));
    }
    CheckResult::ok("store", format!("{}, version {}", target.name(), server.version))
}

/// Whether the user may create tables and sequences.
async fn may_create(connection: &mut PgExecutor<'_>) -> Result<bool, sqlx::Error> {
    const MAY_CREATE: &str = "SELECT has_schema_privilege(current_schema(), 'CREATE')";
    sqlx::query_scalar(MAY_CREATE).fetch_one(connection).await
}

/// Compares the local clock with the clock of the database server.
async fn clock_of(connection: &mut PgExecutor<'_>, look: CheckOptions) -> Result<CheckResult, sqlx::Error> {
    const NAME: &str = "server-clock";
    let (before, asked) = (Timestamp::now(), Instant::now());
    let micros: i64 = sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        .fetch_one(connection)
        .await?;
    let way = asked.elapsed() / 2;
    let there = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MIN);
    let skew = there.duration_since(before).saturating_sub(SignedDuration::try_from(way).unwrap_or_default());
    let detail = format!("{} apart from the database server's", inspect::rounded(skew));
    let is_far = skew.unsigned_abs() > look.max_clock_skew + way;
    Ok(if is_far {
        CheckResult::failed(NAME, format!("{detail}; set one of them"))
    } else {
        CheckResult::ok(NAME, detail)
    })
}

/// Checks the unique indexes and the end of each feed, with `deep` also the counts of all events. Returns the newest
/// event.
async fn integrity(
    connection: &mut PgExecutor<'_>,
    look: CheckOptions,
    findings: &mut Vec<CheckResult>,
) -> Result<Option<Event>, sqlx::Error> {
    const NAME: &str = "integrity";
    let valid: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = current_schema() AND i.indisvalid AND i.indisunique AND c.relname = ANY($1)",
    )
    .bind(&INDEXES[..])
    .fetch_all(&mut *connection)
    .await?;
    let missing: Vec<&str> = INDEXES.into_iter().filter(|name| !valid.iter().any(|found| found == name)).collect();
    let ends: Vec<FeedEnd> = sqlx::query_as(FEED_ENDS).fetch_all(&mut *connection).await?;
    let (newest, unread) = newest(connection, &ends).await?;
    let problem = if !missing.is_empty() {
        Some(format!("unique indexes are missing or invalid: {}", missing.join(", ")))
    } else if !ends.iter().any(|end| end.id == feed_row::id_of(ProjectNumber::DEFAULT)) {
        Some("the row of the feed is missing".to_owned())
    } else if let Some(problem) = ends.iter().find_map(FeedEnd::problem) {
        Some(problem)
    } else if let Some(end) = unread {
        Some(format!("the last event of {} does not read", end.feed()))
    } else if look.deep {
        deep(connection).await?
    } else {
        None
    };
    let extent = if look.deep { "all of them were counted" } else { "the last was read; --deep counts all" };
    let events: u64 = ends.iter().map(FeedEnd::kept).sum();
    findings.push(match problem {
        Some(problem) => CheckResult::failed(NAME, problem),
        None => CheckResult::ok(NAME, format!("{events} events; {extent}")),
    });
    Ok(newest)
}

/// The end of a feed, and the stored position of the last event in the log.
#[derive(sqlx::FromRow)]
struct FeedEnd {
    id: i16,
    project: String,
    last_pos: i64,
    first_pos: Option<i64>,
    last_event: Option<i64>,
}

/// The project of a position is in its bits from 2^40 on.
const FEED_ENDS: &str = "SELECT id, coalesce(project, '') AS project, last_pos, \
    (SELECT first_pos FROM feed_retention k WHERE k.id = feed.id) AS first_pos, \
    (SELECT max(pos) FROM events WHERE pos > ((id - 1)::bigint << 40) AND pos < (id::bigint << 40)) AS last_event \
    FROM feed ORDER BY id";

impl FeedEnd {
    /// The feed, for an operator.
    fn feed(&self) -> String {
        match self.project.as_str() {
            ProjectId::DEFAULT => "the feed".to_owned(),
            project => format!("the feed of the project {project}"),
        }
    }

    /// Number of events of the feed that are kept.
    fn kept(&self) -> u64 {
        let first = self.first_pos.map_or(1, |pos| position_of(pos.unsigned_abs()));
        (position_of(self.last_pos.unsigned_abs()) + 1).saturating_sub(first)
    }

    fn problem(&self) -> Option<String> {
        let [end, last] = [self.last_pos, self.last_event.unwrap_or(0)].map(|pos| position_of(pos.unsigned_abs()));
        (end != last).then(|| format!("{} ends at {end}, its last event is {last}", self.feed()))
    }
}

/// The newest of the last events of all feeds, and a feed whose last event does not read.
async fn newest<'e>(
    connection: &mut PgExecutor<'_>,
    ends: &'e [FeedEnd],
) -> Result<(Option<Event>, Option<&'e FeedEnd>), sqlx::Error> {
    let mut newest: Option<Event> = None;
    for end in ends.iter().filter(|end| position_of(end.last_pos.unsigned_abs()) > 0) {
        let row: Option<EventRow> = sqlx::query_as(NEWEST).bind(end.last_pos).fetch_optional(&mut *connection).await?;
        let Some((event, _)) = row.and_then(|row| row.into_event().ok().flatten()) else {
            return Ok((newest, Some(end)));
        };
        newest = newest.into_iter().chain([event]).max_by_key(|event| event.recorded_at);
    }
    Ok((newest, None))
}

/// Compares all rows of the log with their checksums.
async fn checksums(connection: &mut PgExecutor<'_>) -> Result<CheckResult, Fault> {
    let mut read = scrub::part(connection, 0).await?;
    while let Some(next) = read.next {
        read.add(scrub::part(connection, next).await?);
    }
    Ok(read.finding())
}

/// Checks positions and seqs for gaps, from the first kept event of each feed and run on. May take long: this connection has no
/// statement timeout.
async fn deep(connection: &mut PgExecutor<'_>) -> Result<Option<String>, sqlx::Error> {
    const GAPS: &str = "SELECT coalesce(sum(feeds.last - coalesce(k.first_pos & ((1::bigint << 40) - 1), 1) + 1 - n), 0)::bigint \
        FROM (SELECT e.pos >> 40 AS project, max(e.pos) & ((1::bigint << 40) - 1) AS last, count(*) AS n FROM events e \
        LEFT JOIN feed_retention k ON k.id = (e.pos >> 40) + 1 WHERE e.pos >= coalesce(k.first_pos, 0) GROUP BY 1) feeds \
        LEFT JOIN feed_retention k ON k.id = feeds.project + 1";
    let gaps: i64 = sqlx::query_scalar(GAPS).fetch_one(&mut *connection).await?;
    if gaps != 0 {
        return Ok(Some(format!("{gaps} positions of the feed have no event")));
    }
    const WRONG: &str = "SELECT r.run_id FROM runs r LEFT JOIN run_retention k ON k.run = r.run \
        LEFT JOIN (SELECT e.run, count(*) AS n, max(e.seq) AS last FROM events e LEFT JOIN run_retention k ON k.run = e.run \
        WHERE e.seq >= coalesce(k.first_seq, 1) GROUP BY e.run) e ON e.run = r.run \
        WHERE coalesce(e.n, 0) <> r.last_seq - coalesce(k.first_seq, 1) + 1 OR e.last <> r.last_seq LIMIT 3";
    let wrong: Vec<String> = sqlx::query_scalar(WRONG).fetch_all(connection).await?;
    let wrong: Vec<&str> = wrong.iter().map(|run_id| shown_run_id(run_id)).collect();
    Ok((!wrong.is_empty()).then(|| format!("runs whose events have a gap: {}", wrong.join(", "))))
}
