//! Pages, subscriptions and the recent events in memory.

use std::time::Duration;

use clap::Args;

use super::{GIB, KIB, MIB, ViewOption, millis, within};

/// Pages, subscriptions and the recent events in memory.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Reading and following")]
pub struct ReadOptions {
    /// Recent events kept in memory for each run that is followed, bytes (1 KiB to 1 GiB); subscribers further behind read the
    /// store.
    #[arg(long, env = "RUNLOG_HUB_WINDOW_BYTES", default_value = "4194304",
          value_parser = within(KIB..=GIB))]
    pub hub_window_bytes: usize,
    /// Recent events kept in memory for each run that is followed (1 to 1,000,000).
    #[arg(long, env = "RUNLOG_HUB_WINDOW_EVENTS", default_value = "4096",
          value_parser = within(1..=1_000_000))]
    pub hub_window_events: usize,
    /// Largest frame of a subscription, bytes (1 KiB to 64 MiB); a larger event has one of its own.
    #[arg(long, env = "RUNLOG_MAX_BATCH_BYTES", default_value = "524288",
          value_parser = within(KIB..=64 * MIB))]
    pub max_batch_bytes: usize,
    /// Events that replaying subscriptions may have read before they are sent, of all together, bytes (0 to 16 GiB): 4 MiB for
    /// each that finds room; the others read one frame at a time.
    #[arg(long, env = "RUNLOG_READ_AHEAD_BYTES", default_value = "67108864",
          value_parser = within(0..=16 * GIB))]
    pub read_ahead_bytes: usize,
    /// Most subscriptions at a time (1 to 1,000,000).
    #[arg(long, env = "RUNLOG_MAX_SUBSCRIPTIONS", default_value = "20000",
          value_parser = within(1..=1_000_000))]
    pub max_subscriptions: usize,
    /// How long a subscription may be silent before a heartbeat, if its request has no interval, milliseconds (1,000 to
    /// 300,000).
    #[arg(long = "heartbeat-ms", env = "RUNLOG_HEARTBEAT_MS", default_value = "10000",
          value_parser = millis(1_000..=300_000))]
    pub heartbeat: Duration,
    /// How long an event stream of the JSON gateway may be silent before it says `: hb`, milliseconds (1,000 to 300,000).
    #[arg(long = "sse-heartbeat-ms", env = "RUNLOG_SSE_HEARTBEAT_MS", default_value = "5000",
          value_parser = millis(1_000..=300_000))]
    pub sse_heartbeat: Duration,
    /// How much of each payload the JSON gateway shows for requests without `view`: `public` leaves client-supplied members
    /// out and shows tool input and output in short with secrets masked, `full` shows all.
    #[arg(long, env = "RUNLOG_DEFAULT_VIEW", value_enum, default_value = "public", hide_possible_values = true)]
    pub default_view: ViewOption,
    /// Connections to the SQLite file for readers (1 to 64).
    #[arg(long, env = "RUNLOG_READ_CONNECTIONS", default_value = "4",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub read_connections: u32,
    /// How fast the log is read over and over to find damage before a reader does, bytes a second (0 to 1 GiB); 0: not at all.
    #[arg(long, env = "RUNLOG_SCRUB_BYTES_PER_SECOND", default_value = "0",
          value_parser = within(0..=GIB))]
    pub scrub_bytes_per_second: usize,
}
