//! The limit of open files, of which every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::ServeOptions;
use crate::store::inspect::CheckResult;

/// Approximate number of open files of a server besides connections.
const OTHER_FILES: u64 = 100;

fn needed(options: &ServeOptions) -> u64 {
    options.connections.max_connections as u64 + OTHER_FILES
}

/// Raises the limit of this process to what `--max-connections` needs, as far as the system lets it.
pub fn raise_open_files(options: &ServeOptions) {
    let limit = getrlimit(Resource::Nofile);
    let (Some(current), needed) = (limit.current, needed(options)) else { return };
    let raised = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    if raised <= current {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }) {
        tracing::warn!(%error, current, raised, "the limit of open files cannot be raised");
    }
}

/// Compares the limit that the system lets this process have with `--max-connections`.
pub(super) fn check(options: &ServeOptions) -> CheckResult {
    const NAME: &str = "open-files";
    let most = options.connections.max_connections;
    match getrlimit(Resource::Nofile).maximum {
        None => CheckResult::ok(NAME, "without limit"),
        Some(limit) if limit >= needed(options) => {
            CheckResult::ok(NAME, format!("at most {limit}, enough for {most} connections"))
        }
        // Nobody asked for that many connections; more of them wait to be accepted.
        Some(limit) if most == ServeOptions::default().connections.max_connections => CheckResult::ok(
            NAME,
            format!("at most {limit}, which is enough for {} connections", limit.saturating_sub(OTHER_FILES)),
        ),
        Some(limit) => CheckResult::warning(
            NAME,
            format!(
                "at most {limit}, and {most} connections are allowed; raise it (ulimit -Hn {}) or lower --max-connections",
                needed(options)
            ),
        ),
    }
}
