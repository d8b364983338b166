//! Limits of one key, and of one address before its key is known.

use clap::Args;

use super::{GIB, within};

/// Limits of one key, and of one address before its key is known.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits of a key and of an address")]
pub struct RateOptions {
    /// Most requests of one key a second (0 to 1,000,000), a stream counted as one; 0: no limit. A key over a limit is answered
    /// RESOURCE_EXHAUSTED, HTTP 429, with the time of a retry.
    #[arg(long, env = "RUNLOG_KEY_REQUESTS_PER_SECOND", default_value = "0",
          value_parser = within(0..=1_000_000))]
    pub key_requests_per_second: usize,
    /// Most events that one key publishes a second (0 to 1,000,000,000); 0: no limit. A request of --max-request-events passes
    /// all the same, and the next one waits the longer.
    #[arg(long, env = "RUNLOG_KEY_EVENTS_PER_SECOND", default_value = "0",
          value_parser = within(0..=1_000_000_000))]
    pub key_events_per_second: usize,
    /// Most bytes of payload that one key publishes a second (0 to 16 GiB); 0: no limit. A request of --max-request-bytes passes
    /// all the same, and the next one waits the longer.
    #[arg(long, env = "RUNLOG_KEY_BYTES_PER_SECOND", default_value = "0",
          value_parser = within(0..=16 * GIB))]
    pub key_bytes_per_second: usize,
    /// Most open streams of one key, subscriptions and streams of publishes (0 to 1,000,000); 0: no limit. By default half of
    /// --max-subscriptions.
    #[arg(long, env = "RUNLOG_KEY_STREAMS", value_name = "STREAMS", value_parser = within(0..=1_000_000))]
    pub key_streams: Option<usize>,
    /// Most TLS handshakes of one address a second (0 to 1,000,000), for IPv6 of one network of 64 bits; 0: no limit. More
    /// connections are closed at once. Behind a proxy, the address of all connections, give more.
    #[arg(long, env = "RUNLOG_ADDRESS_HANDSHAKES_PER_SECOND", default_value = "500",
          value_parser = within(0..=1_000_000))]
    pub address_handshakes_per_second: usize,
    /// Most keys of one address a minute that are not valid (0 to 1,000,000); 0: no limit. Then keys that the server has not seen
    /// within the last minute are refused without a look into the store. Behind a proxy, the address of all clients, give more.
    #[arg(long, env = "RUNLOG_ADDRESS_FAILED_KEYS_PER_MINUTE", default_value = "600",
          value_parser = within(0..=1_000_000))]
    pub address_failed_keys_per_minute: usize,
}
