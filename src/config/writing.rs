//! The path of a publish to its commit.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{GIB, KIB, millis, within};

/// Whether a run ends with its structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FinishOption {
    /// `FinishStructureRunEvent` ends its run.
    On,
    /// A run ends by events of the platform, and by `run_end` and `error`.
    Off,
}

/// Whether the server checkpoints its SQLite file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckpointOption {
    /// The server does.
    On,
    /// Another program does.
    Off,
}

/// The path of a publish to its commit.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Writing")]
pub struct WriteOptions {
    /// Most events that wait for a commit (1 to 10,000,000); at least --max-request-events.
    #[arg(long, env = "RUNLOG_PUBLISH_QUEUE_EVENTS", default_value = "65536",
          value_parser = within(1..=10_000_000))]
    pub publish_queue_events: usize,
    /// Most bytes that wait for a commit (1 KiB to 16 GiB); at least --max-request-bytes. Publishes of 256 KiB and more, where
    /// each event counts 256 bytes beside its payload, take three quarters at most, and so do imports; smaller publishes of
    /// other runs overtake them.
    #[arg(long, env = "RUNLOG_PUBLISH_QUEUE_BYTES", default_value = "67108864",
          value_parser = within(KIB..=16 * GIB))]
    pub publish_queue_bytes: usize,
    /// How long a publish waits for room in a full queue before it is answered RESOURCE_EXHAUSTED, milliseconds (0 to
    /// 60,000).
    #[arg(long = "publish-wait-ms", env = "RUNLOG_PUBLISH_WAIT_MS", default_value = "5000",
          value_parser = millis(0..=60_000))]
    pub publish_wait: Duration,
    /// Most events in one transaction (1 to 1,000,000); a larger publish is not divided.
    #[arg(long, env = "RUNLOG_MAX_COMMIT_EVENTS", default_value = "4096",
          value_parser = within(1..=1_000_000))]
    pub max_commit_events: usize,
    /// Most bytes in one transaction (1 KiB to 1 GiB); a larger publish is not divided.
    #[arg(long, env = "RUNLOG_MAX_COMMIT_BYTES", default_value = "4194304",
          value_parser = within(KIB..=GIB))]
    pub max_commit_bytes: usize,
    /// How long publishes of deltas alone wait for further deltas, so that those that come meanwhile are one transaction and
    /// one frame of each reader, milliseconds (0 to 1,000, at most half of --request-timeout-ms); 0: not at all. Deltas are events of type `step.progress`, and of
    /// types of your own whose last word is `delta`. Any other publish ends their wait, and has none of its own. It pays
    /// with many publishers, or with publishes on a PublishStream: one that waits for each answer before it sends the next
    /// delta gets slower.
    #[arg(long = "coalesce-deltas-ms", env = "RUNLOG_COALESCE_DELTAS_MS", default_value = "0",
          value_parser = millis(0..=1_000))]
    pub coalesce_deltas: Duration,
    /// How much of the end of the log of a SQLite file waits to be moved into the indexes, entries of one run and one
    /// transaction (1 to 1,000,000): the part that a start has to read.
    #[arg(long, env = "RUNLOG_FLUSH_ENTRIES", default_value = "16384",
          value_parser = within(1..=1_000_000))]
    pub flush_entries: usize,
    /// Most of these entries that are moved between two transactions (1 to 4,000): less waits shorter, more moves faster.
    #[arg(long, env = "RUNLOG_FLUSH_SLICE_ENTRIES", default_value = "512",
          value_parser = within(1..=4_000))]
    pub flush_slice_entries: usize,
    /// Whether the write-ahead log of a SQLite file is moved into the database by this server: `off` leaves the checkpoints to
    /// another program that copies the log, such as Litestream; the log grows while that program is away.
    #[arg(long, env = "RUNLOG_SQLITE_CHECKPOINTS", value_enum, default_value = "on", hide_possible_values = true)]
    pub sqlite_checkpoints: CheckpointOption,
    /// Whether a USER event of type FinishStructureRunEvent ends its run: `on` stores StructureRunCompleted with it
    /// (SUCCEEDED, or FAILED without an output or with an ErrorArtifact), for Griptape pipelines that no platform runs; `off` leaves
    /// that to an event of origin SYSTEM. Structures inside the one with which the run began end nothing. With keys it ends runs for keys with the scope events.publish_system.
    #[arg(long, env = "RUNLOG_FINISH_ENDS_RUN", value_enum, default_value = "off", hide_possible_values = true)]
    pub finish_ends_run: FinishOption,
}
