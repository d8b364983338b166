//! Several servers on one PostgreSQL database.

use std::time::Duration;

use clap::Args;

use super::{NotifyOption, millis};

/// Several servers on one PostgreSQL database.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "PostgreSQL")]
pub struct PostgresOptions {
    /// Connections to PostgreSQL for readers (1 to 1,000); the server has three more to write, to follow and to listen.
    #[arg(long, env = "RUNLOG_PG_POOL_SIZE", default_value = "8",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub pg_pool_size: u32,
    /// Whether servers announce commits to each other with LISTEN and NOTIFY: `on`, or `off` behind a pooler that gives out
    /// connections by the transaction. Then the feed is only polled.
    #[arg(long, env = "RUNLOG_NOTIFY", value_enum, default_value = "on", hide_possible_values = true)]
    pub notify: NotifyOption,
    /// How often PostgreSQL is asked for commits of other servers, milliseconds (10 to 60,000). With --notify=on this is
    /// the fallback for lost notifications, with off the delay of other servers' events.
    #[arg(long = "poll-ms", env = "RUNLOG_POLL_MS", default_value = "1000",
          value_parser = millis(10..=60_000))]
    pub poll: Duration,
}
