//! What a look at a store tells, without changing it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::Event;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// In words; what to do, where something is to be done.
    pub detail: String,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// The server starts, but somebody should look at it.
    Warning,
    /// The server does not start, or should not.
    Failed,
}

impl CheckResult {
    /// As it should be.
    pub fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, detail: detail.into() }
    }

    /// Somebody should look at it.
    pub fn warning(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, detail: detail.into() }
    }

    /// It must not stay so.
    pub fn failed(name: &'static str, detail: impl ToString) -> Self {
        Self { name, verdict: Verdict::Failed, detail: detail.to_string() }
    }
}

/// How to look.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// Read all of it, however long that takes.
    pub deep: bool,
    /// How far a clock may be off.
    pub max_clock_skew: Duration,
}

/// Which migrations a store has, and which this program has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The version of the store; 0: there is none yet.
    pub found: i64,
    /// The version that this program needs.
    pub known: i64,
    /// What lies between, as version and name.
    pub pending: Vec<(i64, String)>,
}

impl Schema {
    /// Of a store of this version. A newer one than this program's is none of its business.
    pub(super) fn of(found: i64, migrations: &sqlx::migrate::Migrator) -> Self {
        let all = || migrations.iter().filter(|migration| migration.migration_type.is_up_migration());
        let pending = all().filter(|migration| migration.version > found);
        Self {
            found,
            known: all().map(|migration| migration.version).max().unwrap_or(0),
            pending: pending.map(|migration| (migration.version, migration.description.to_string())).collect(),
        }
    }

    /// What `check` says of it.
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

/// Compares this machine's clock with the last event. Times in the log never go back, so a clock that is behind would
/// stamp all new events with the time of the last one.
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

/// A duration without digits that nobody needs.
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
