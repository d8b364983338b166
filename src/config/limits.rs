//! Limits of one request.

use clap::Args;

use super::{KIB, MIB, within};

/// Limits of one request.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits of a request")]
pub struct LimitOptions {
    /// Largest payload of one event, bytes of JSON text (2 to 64 MiB).
    #[arg(long, env = "RUNLOG_MAX_PAYLOAD_BYTES", default_value = "1048576",
          value_parser = within(2..=64 * MIB))]
    pub max_payload_bytes: usize,
    /// Largest request message, bytes (1 KiB to 256 MiB); at least --max-payload-bytes.
    #[arg(long, env = "RUNLOG_MAX_REQUEST_BYTES", default_value = "4194304",
          value_parser = within(KIB..=256 * MIB))]
    pub max_request_bytes: usize,
    /// Most events in one publish (1 to 100,000).
    #[arg(long, env = "RUNLOG_MAX_REQUEST_EVENTS", default_value = "1000",
          value_parser = within(1..=100_000))]
    pub max_request_events: usize,
    /// Deepest nesting of a payload's objects and arrays (1 to 100).
    #[arg(long, env = "RUNLOG_MAX_JSON_DEPTH", default_value = "64",
          value_parser = within(1..=100))]
    pub max_json_depth: usize,
    /// Most events or runs in one page, and events in one frame (1 to 10,000); a request for more is refused.
    #[arg(long, env = "RUNLOG_MAX_PAGE_SIZE", default_value = "1000",
          value_parser = within(1..=10_000))]
    pub max_page_size: usize,
}
