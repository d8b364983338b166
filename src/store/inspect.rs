//! Results of `check`: inspection of a store without changes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::Event;

/// Result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// Name of the check, for example `schema` or `clock`.
    pub name: &'static str,
    /// Verdict of the check.
    pub verdict: Verdict,
    /// Finding in words, with the action to take if the verdict is not `Ok`.
    pub detail: String,
}

/// Verdict of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No action is needed.
    Ok,
    /// The server starts, but an operator should act.
    Warning,
    /// The server does not start, or must not be started.
    Failed,
}

impl CheckResult {
    /// A check without findings.
    pub fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, detail: detail.into() }
    }

    /// A check with a finding that does not prevent a start.
    pub fn warning(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, detail: detail.into() }
    }

    /// A check with a finding that prevents a start, or should.
    pub fn failed(name: &'static str, detail: impl ToString) -> Self {
        Self { name, verdict: Verdict::Failed, detail: detail.to_string() }
    }
}

/// Options of `check`.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// Read the whole log and compare checksums; the duration is not limited.
    pub deep: bool,
    /// Maximum tolerated clock skew.
    pub max_clock_skew: Duration,
}

/// Schema version of a store compared with the migrations of this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Version of the store; 0: no schema yet.
    pub found: i64,
    /// Version that this program needs.
    pub known: i64,
    /// Migrations that are still to be applied, as version and name.
    pub pending: Vec<(i64, String)>,
}

impl Schema {
    /// Compares a store of version `found` with the given migrations. A newer version has no pending migrations.
    pub(super) fn of(found: i64, migrations: &sqlx::migrate::Migrator) -> Self {
        let all = || migrations.iter().filter(|migration| migration.migration_type.is_up_migration());
        let pending = all().filter(|migration| migration.version > found);
        Self {
            found,
            known: all().map(|migration| migration.version).max().unwrap_or(0),
            pending: pending.map(|migration| (migration.version, migration.description.to_string())).collect(),
        }
    }

    /// Result of the check `schema`.
    pub(super) fn finding(&self) -> CheckResult {
        const NAME: &str = "schema";
        match (self.found, self.pending.len()) {
            (0, _) => CheckResult::ok(NAME, "none yet; `runlog migrate` or the first server makes it"),
            (found, 0) => CheckResult::ok(NAME, format!("version {found}, up to date")),
            (found, _) => CheckResult::warning(
                NAME,
                format!("version {found}, this program's is {}; run `runlog migrate`, or start the server", self.known),
            ),
        }
    }
}

/// Compares the local clock with the time of the newest event. Times in the log never decrease, so a clock that lags
/// would give all new events the time of the last event.
pub(super) fn clock(now: Timestamp, newest: Option<&Event>, max_skew: Duration) -> CheckResult {
    const NAME: &str = "clock";
    let Some(newest) = newest.map(|event| event.recorded_at) else {
        return CheckResult::ok(NAME, format!("{now:.0}; there is no event to compare it with"));
    };
    let ahead = newest.duration_since(now);
    if ahead > SignedDuration::try_from(max_skew).unwrap_or(SignedDuration::MAX) {
        let problem = format!("is {} behind the newest event ({newest:.0}); set it", rounded(ahead));
        return CheckResult::failed(NAME, format!("{now:.0} {problem}"));
    }
    CheckResult::ok(NAME, format!("{now:.0}; the newest event is of {newest:.0}"))
}

/// Formats a duration with the precision that an operator needs.
pub(super) fn rounded(duration: SignedDuration) -> String {
    let seconds = duration.abs().as_secs_f64();
    if seconds < 10.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.0} s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventId, EventType, Origin, Payload, RunId};

    #[test]
    fn a_clock_behind_the_newest_event_fails_beyond_the_limit() {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let newest = Event {
            run_id: RunId::parse("r").unwrap(),
            seq: 1,
            event_id: EventId::parse("e").unwrap(),
            event_type: EventType::parse("t").unwrap(),
            origin: Origin::User,
            occurred_at: at,
            sent_seconds: None,
            recorded_at: at,
            agent_name: None,
            payload: Payload::from_stored("{}"),
            removal: None,
            joined_from: None,
        };
        let behind = |seconds| {
            let now = at - SignedDuration::from_secs(seconds);
            clock(now, Some(&newest), Duration::from_secs(5)).verdict
        };
        assert_eq!([behind(-1_000), behind(0), behind(5), behind(6)], {
            [Verdict::Ok, Verdict::Ok, Verdict::Ok, Verdict::Failed]
        });
        assert_eq!(clock(at, None, Duration::ZERO).verdict, Verdict::Ok);
    }
}
