//! Checks a file, or migrates the file's schema, without serving the file.

use std::fs::File;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use sqlx::{Connection, SqliteConnection};

use crate::codec::record;
use crate::domain::{Error, Event};
use crate::store::inspect::{self, CheckOptions, CheckResult, Schema};
use crate::store::project::position_of;

use super::connect::connect_options;
use super::lock::FileLock;
use super::maintenance::{checkpointer, scrub};
use super::projects;
use super::recovery::RecoveredState;
use super::schema::{self, OpenError, describe};

/// Migrates the file to the current schema and returns the schema before the migration. Creates the file if missing.
///
/// # Errors
/// As at a start; [`OpenError::InUse`] while a server owns the file, which the server migrated at its start.
pub async fn migrate(path: &Path) -> Result<Schema, OpenError> {
    let _lock = FileLock::acquire(path)?;
    let mut writer = SqliteConnection::connect_with(&connect_options(path)).await.map_err(|e| describe(path, e))?;
    let before = schema::schema(path, &mut writer).await?;
    schema::use_wal(path, &mut writer).await?;
    schema::migrate(path, &mut writer).await?;
    writer.close().await.map_err(|e| describe(path, e))?;
    Ok(before)
}

/// Schema of the file. Changes nothing and creates no file.
pub async fn schema(path: &Path) -> Result<Schema, OpenError> {
    if !exists(path)? {
        return Ok(schema::missing());
    }
    let mut reader = reader(path, !checkpointer::path_of(path).exists()).await?;
    let schema = schema::schema(path, &mut reader).await?;
    if schema.found == 0 && FileLock::is_held(path)? {
        // The owner has created the schema: it lies in the write-ahead log beside another name of the file.
        return Err(OpenError::InUse { path: path.to_owned() });
    }
    Ok(schema)
}

/// Runs the checks of a start. Changes nothing, and does not disturb a server that owns the file.
pub async fn look(path: &Path, look: CheckOptions) -> Vec<CheckResult> {
    // After a clean close SQLite can read the file without creating files beside the database.
    let is_closed = || !checkpointer::path_of(path).exists();
    let as_closed = is_closed();
    let findings = look_once(path, look, as_closed).await;
    // A server that started to write meanwhile may have mixed old and new pages into the result.
    if as_closed && !is_closed() { look_once(path, look, false).await } else { findings }
}

async fn look_once(path: &Path, look: CheckOptions, as_closed: bool) -> Vec<CheckResult> {
    let mut findings = Vec::new();
    if let Err(failed) = look_into(path, look, as_closed, &mut findings).await {
        findings.push(failed);
    }
    findings
}

async fn look_into(
    path: &Path,
    look: CheckOptions,
    as_closed: bool,
    findings: &mut Vec<CheckResult>,
) -> Result<(), CheckResult> {
    const STORE: &str = "store";
    let failed = |name: &'static str| move |error: OpenError| CheckResult::failed(name, error);
    let shown = path.display();
    let is_there = exists(path).map_err(failed(STORE))?;
    if !is_there {
        let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let metadata =
            directory.metadata().map_err(|e| CheckResult::failed(STORE, format!("{}: {e}", directory.display())))?;
        if !metadata.is_dir() {
            return Err(CheckResult::failed(STORE, format!("{}: is no directory", directory.display())));
        }
        findings.push(CheckResult::ok(STORE, format!("{shown} is not there yet; the server makes it")));
        if metadata.permissions().readonly() {
            return Err(CheckResult::failed("rights", format!("{}: nobody may write there", directory.display())));
        }
        findings.push(schema::missing().finding());
        findings.push(inspect::clock(Timestamp::now(), None, look.max_clock_skew));
        return Ok(());
    }
    findings.push(match FileLock::is_held(path).map_err(failed(STORE))? {
        true => CheckResult::warning(STORE, format!("{shown}: a server serves it now; a second one would be refused")),
        false => CheckResult::ok(STORE, format!("{shown}, free to be served")),
    });
    // Opens the file for writing without writing a byte.
    File::options().write(true).open(path).map_err(|e| CheckResult::failed("rights", format!("{shown}: {e}")))?;
    findings.push(CheckResult::ok("rights", "the file can be written"));

    let mut reader = reader(path, as_closed).await.map_err(failed("schema"))?;
    let schema = schema::schema(path, &mut reader).await.map_err(failed("schema"))?;
    findings.push(schema.finding());
    if !schema.pending.is_empty() {
        return Ok(());
    }
    let damaged = |e: Error| CheckResult::failed("integrity", format!("{shown}: {e}"));
    if look.deep {
        findings.push(checksums(&mut reader).await.map_err(|e| CheckResult::failed("checksums", e))?);
    }
    let memory = RecoveredState::load(&mut reader).await.map_err(damaged)?;
    if look.deep {
        deep(&mut reader).await.map_err(|problem| CheckResult::failed("integrity", format!("{shown}: {problem}")))?;
    }
    let newest = newest(&mut reader).await.map_err(damaged)?;
    let extent = if look.deep { "all of it was read" } else { "its end was read; --deep reads all" };
    let events: u64 = memory.last_positions.values().map(|pos| position_of(*pos)).sum();
    findings.push(CheckResult::ok("integrity", format!("{events} events; {extent}")));
    findings.push(inspect::clock(Timestamp::now(), newest.as_ref(), look.max_clock_skew));
    Ok(())
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    match path.metadata() {
        // SQLite treats an empty file as a new database, and so does the server.
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(OpenError::Other { path: path.to_owned(), cause: e.to_string() }),
    }
}

pub(super) async fn reader(path: &Path, as_closed: bool) -> Result<SqliteConnection, OpenError> {
    let connect = connect_options(path).create_if_missing(false).read_only(true).immutable(as_closed);
    SqliteConnection::connect_with(&connect).await.map_err(|e| describe(path, e))
}

/// The event that was recorded last, of all projects.
async fn newest(reader: &mut SqliteConnection) -> Result<Option<Event>, Error> {
    const LAST: &str = "SELECT data FROM log WHERE pos > ? AND pos <= ? ORDER BY pos DESC LIMIT 1";
    let mut newest: Option<Event> = None;
    for project in projects::all(reader).await? {
        let (first, last) = (project.number.pos(0).cast_signed(), project.number.pos(u64::MAX).cast_signed());
        let row = sqlx::query_scalar::<_, Vec<u8>>(LAST).bind(first).bind(last).fetch_optional(&mut *reader).await;
        let mut rest = bytes::Bytes::from(row.map_err(super::error::from_sqlx)?.unwrap_or_default());
        let mut last = None;
        while !rest.is_empty() {
            last = Some(record::split_entry(&mut rest)?);
        }
        let last = last.map(record::decode).transpose()?;
        newest = newest.into_iter().chain(last).max_by_key(|event| event.recorded_at);
    }
    Ok(newest)
}

/// Compares the log, rows of runs, documents and id segments with their checksums.
pub(super) async fn checksums(reader: &mut SqliteConnection) -> Result<CheckResult, Error> {
    let mut read = scrub::part(reader, 0).await?;
    while let Some(next) = read.next {
        read.add(scrub::part(reader, next).await?);
    }
    read.damaged.extend(scrub::others(reader).await?);
    Ok(read.finding())
}

/// Counts of the log and its index, as read by one query.
#[derive(sqlx::FromRow)]
struct Extent {
    /// Rows of the log that belong to no project.
    unknown: i64,
    /// Rows of the feeds that do not follow the row before them.
    gaps: i64,
    /// Events of the flushed part of the log.
    flushed_events: i64,
    /// Events in the index over that part.
    indexed_events: i64,
}

/// Checks the whole file: all pages, feeds without gaps from their first position on, and a complete index over the flushed
/// part of the log.
pub(super) async fn deep(reader: &mut SqliteConnection) -> Result<(), String> {
    let said: String =
        sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut *reader).await.map_err(|e| e.to_string())?;
    if said != "ok" {
        return Err(said);
    }
    // The project of a position is in its bits from 2^40 on.
    const EXTENT: &str = "WITH flushed (project, last_pos) AS \
        (SELECT 0, sealed_pos FROM store UNION ALL SELECT project, sealed_pos FROM projects), \
        feed (project, first_pos) AS (SELECT f.project, coalesce(b.first_pos, (f.project << 40) + 1) \
            FROM flushed f LEFT JOIN feed_floors b ON b.project = f.project) \
        SELECT (SELECT count(*) FROM log WHERE pos >> 40 NOT IN (SELECT project FROM flushed)) AS unknown, \
        (SELECT count(*) FROM (SELECT pos, lag(pos + count, 1, first_pos) \
            OVER (PARTITION BY project ORDER BY pos) AS next \
            FROM log JOIN feed ON project = pos >> 40 AND pos >= first_pos) WHERE pos <> next) AS gaps, \
        (SELECT coalesce(sum(count), 0) FROM log l JOIN flushed f ON f.project = l.pos >> 40 WHERE l.pos <= f.last_pos) \
            AS flushed_events, \
        (SELECT coalesce(sum(count), 0) FROM run_index i JOIN flushed f ON f.project = i.pos >> 40 \
            WHERE i.pos <= f.last_pos) AS indexed_events";
    let extent: Extent = sqlx::query_as(EXTENT).fetch_one(reader).await.map_err(|e| e.to_string())?;
    let Extent { unknown, gaps, flushed_events: flushed, indexed_events: indexed } = extent;
    if unknown > 0 {
        return Err(format!("{unknown} rows of the log are of a project that is not in the table `projects`"));
    }
    match (gaps, flushed == indexed) {
        (0, true) => Ok(()),
        (0, false) => Err(format!("the index covers {indexed} events of {flushed}")),
        _ => Err(format!("the log has {gaps} gaps")),
    }
}
