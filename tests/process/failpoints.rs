//! Each step of a store fails, or the process ends before, inside and after the step; then promises 1, 2, 3, 4 and 8
//! are checked.

mod import;
mod migration;
mod place;
mod postgres_removal;
mod publishing;
mod removal;
mod work;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use runlog::store::failpoints::POINTS;

use crate::rng::Rng;

/// A failpoint, and the expected effect of its failure.
struct Point {
    name: &'static str,
    /// Failpoints that must fail first, so that this failpoint is reached.
    way: &'static str,
    /// The expected reasons of errors at producers, each at least once and no other.
    reasons: &'static [&'static str],
    /// A step of maintenance, retried after later commits.
    is_maintenance: bool,
}

impl Point {
    /// A failure without an error at a producer.
    const fn unseen(name: &'static str) -> Self {
        Self { name, way: "", reasons: &[], is_maintenance: false }
    }

    const fn maintenance(name: &'static str) -> Self {
        Self { is_maintenance: true, ..Self::unseen(name) }
    }

    const fn seen(name: &'static str, reasons: &'static [&'static str]) -> Self {
        Self { reasons, ..Self::unseen(name) }
    }

    const fn behind(way: &'static str, point: Self) -> Self {
        Self { way, ..point }
    }
}

const UNKNOWN: &[&str] = &["OUTCOME_UNKNOWN"];

const SQLITE_COMMIT: &[Point] = &[
    Point::seen("sqlite-commit-before", UNKNOWN),
    Point::seen("sqlite-commit-inside", &["INTERNAL"]),
    Point::seen("sqlite-commit-after", UNKNOWN),
];

/// The steps after a failed commit.
const SQLITE_REFRESH: &[Point] = &[
    Point::behind(
        "sqlite-commit-before=1*return(error);",
        Point::seen("sqlite-refresh-before", &["OUTCOME_UNKNOWN", "STORE_UNAVAILABLE"]),
    ),
    Point::behind(
        "sqlite-commit-after=1*return(error);",
        Point::seen("sqlite-refresh-after", &["OUTCOME_UNKNOWN", "STORE_UNAVAILABLE"]),
    ),
];

const SQLITE_FLUSH: &[Point] = &[
    Point::maintenance("sqlite-flush-before"),
    Point::maintenance("sqlite-flush-inside"),
    Point::maintenance("sqlite-flush-end"),
    Point::maintenance("sqlite-flush-after"),
    Point::maintenance("sqlite-segment-inside"),
];

const SQLITE_MERGE: &[Point] = &[
    Point::maintenance("sqlite-merge-before"),
    Point::maintenance("sqlite-merge-inside"),
    Point::maintenance("sqlite-merge-after"),
    Point::maintenance("sqlite-removal-before"),
    Point::maintenance("sqlite-removal-inside"),
    Point::maintenance("sqlite-removal-after"),
];

const SQLITE_CHECKPOINT: &[Point] =
    &[Point::maintenance("sqlite-checkpoint-before"), Point::maintenance("sqlite-checkpoint-after")];

const SQLITE_MIGRATION: &[Point] = &[
    Point::unseen("sqlite-migration-before"),
    Point::unseen("sqlite-migration-inside"),
    Point::unseen("sqlite-segment-inside"),
    Point::unseen("sqlite-migration-ids-inside"),
    Point::unseen("sqlite-migration-after"),
];

const SQLITE_EXPIRE: &[Point] = &[
    Point::unseen("sqlite-expire-before"),
    Point::unseen("sqlite-expire-inside"),
    Point::unseen("sqlite-expire-after"),
];

const SQLITE_ERASE: &[Point] =
    &[Point::unseen("sqlite-erase-before"), Point::unseen("sqlite-erase-inside"), Point::unseen("sqlite-erase-after")];

const SQLITE_VACUUM: &[Point] = &[Point::unseen("sqlite-vacuum-inside")];

const POSTGRES_COMMIT: &[Point] = &[
    Point::unseen("postgres-append-before"),
    Point::unseen("postgres-append-after"),
    Point::unseen("postgres-transaction-inside"),
    Point::unseen("postgres-end-before"),
    Point::unseen("postgres-end-after"),
    Point::behind("postgres-end-after=1*return(error);", Point::unseen("postgres-doubt-before")),
    Point::behind("postgres-end-after=1*return(error);", Point::unseen("postgres-doubt-after")),
];

const POSTGRES_EXPIRE: &[Point] = &[
    Point::unseen("postgres-expire-before"),
    Point::unseen("postgres-expire-inside"),
    Point::unseen("postgres-expire-after"),
];

const POSTGRES_ERASE: &[Point] = &[
    Point::unseen("postgres-erase-before"),
    Point::unseen("postgres-erase-inside"),
    Point::unseen("postgres-erase-after"),
];

const POSTGRES_MIGRATION: &[Point] = &[
    Point::unseen("postgres-migration-before"),
    Point::unseen("postgres-migration-inside"),
    Point::unseen("postgres-migration-after"),
];

const ALL: [&[Point]; 13] = [
    SQLITE_COMMIT,
    SQLITE_REFRESH,
    SQLITE_FLUSH,
    SQLITE_MERGE,
    SQLITE_CHECKPOINT,
    SQLITE_EXPIRE,
    SQLITE_ERASE,
    SQLITE_VACUUM,
    SQLITE_MIGRATION,
    POSTGRES_COMMIT,
    POSTGRES_EXPIRE,
    POSTGRES_ERASE,
    POSTGRES_MIGRATION,
];

/// The action at a failpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Fail,
}

const ACTIONS: [Action; 2] = [Action::Kill, Action::Fail];

/// The environment for the action, after this number of passes through the failpoint.
fn environment(point: &Point, action: Action, passed: u64) -> [(&'static str, PathBuf); 1] {
    let Point { name, way, .. } = point;
    let passed = if passed == 0 { String::new() } else { format!("{passed}*off->") };
    let action = match action {
        Action::Kill => "return(kill)",
        Action::Fail => "2*return(error)->off",
    };
    println!("{name}: {way}{name}={passed}{action}");
    [("FAILPOINTS", format!("{way}{name}={passed}{action}").into())]
}

/// Passes through the failpoint before the action, for a step that is passed repeatedly.
fn passed(chance: &mut Rng, point: &Point) -> u64 {
    if point.way.is_empty() { chance.within(0..2) } else { 0 }
}

/// Whether the process ended at a failpoint, and for no other reason.
fn was_killed(status: ExitStatus) -> bool {
    const SIGABRT: i32 = 6;
    status.signal() == Some(SIGABRT)
}

fn sources(directory: &Path, into: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn the_list_of_points_is_that_of_the_sources_and_that_of_these_tests() {
    let mut source = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store"), &mut source);
    let named = |begin: &str| -> BTreeSet<String> {
        source.split(begin).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    let placed = &named("failpoint!(\"") | &named("const POINT: &str = \"");
    let listed: BTreeSet<String> = POINTS.iter().map(|point| (*point).to_owned()).collect();
    let tried: BTreeSet<String> = ALL.iter().copied().flatten().map(|point| point.name.to_owned()).collect();
    assert_eq!(placed, listed);
    assert_eq!(tried, listed);
}
