//! Connections, calls and the origins that may make them.

use std::time::Duration;

use clap::Args;

use super::{allowed_host, cors_origin, millis, within};

/// Connections, calls and the origins that may make them.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionOptions {
    /// How long a connection may be silent before it is pinged, milliseconds (1,000 to 3,600,000).
    #[arg(long = "keepalive-interval-ms", env = "RUNLOG_KEEPALIVE_INTERVAL_MS", default_value = "30000",
          value_parser = millis(1_000..=3_600_000))]
    pub keepalive_interval: Duration,
    /// How long a ping may stay unanswered before its connection is closed, milliseconds (100 to 600,000).
    #[arg(long = "keepalive-timeout-ms", env = "RUNLOG_KEEPALIVE_TIMEOUT_MS", default_value = "10000",
          value_parser = millis(100..=600_000))]
    pub keepalive_timeout: Duration,
    /// Most calls at a time on one connection, subscriptions included (1 to 1,000,000).
    #[arg(long, env = "RUNLOG_MAX_CONCURRENT_STREAMS", default_value = "1024",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_concurrent_streams: u32,
    /// HTTP/2 window of one call, bytes (64 KiB to 1 GiB): bytes that a client may send before the server reads them.
    #[arg(long, env = "RUNLOG_STREAM_WINDOW_BYTES", default_value = "1048576",
          value_parser = clap::value_parser!(u32).range(65_535..=1 << 30))]
    pub stream_window_bytes: u32,
    /// HTTP/2 window of one connection, bytes (64 KiB to 1 GiB); at least --stream-window-bytes.
    #[arg(long, env = "RUNLOG_CONNECTION_WINDOW_BYTES", default_value = "4194304",
          value_parser = clap::value_parser!(u32).range(65_535..=1 << 30))]
    pub connection_window_bytes: u32,
    /// Names by which the server may be called besides `localhost` and loopback addresses, such as `runlog.internal` or
    /// `runlog.internal:7800`, separated by commas; `*` for any. On an address that other machines reach any name is
    /// answered to unless some are listed.
    #[arg(long, env = "RUNLOG_ALLOWED_HOSTS", value_name = "HOSTS", value_delimiter = ',',
          value_parser = allowed_host)]
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may call REST and gRPC-web, such as `https://app.example.com`, separated by commas; `*` for any,
    /// none by default.
    #[arg(long, env = "RUNLOG_CORS_ORIGINS", value_name = "ORIGINS", value_delimiter = ',',
          value_parser = cors_origin)]
    pub cors_origins: Vec<String>,
    /// How long a call that is no stream may take, milliseconds (100 to 600,000); at least --publish-wait-ms.
    #[arg(long = "request-timeout-ms", env = "RUNLOG_REQUEST_TIMEOUT_MS", default_value = "30000",
          value_parser = millis(100..=600_000))]
    pub request_timeout: Duration,
    /// Longest time without progress, milliseconds (1,000 to 3,600,000): of a request while it is sent, and of a connection
    /// whose client reads nothing of its answers. A client that reads slowly is not cut.
    #[arg(long = "stall-timeout-ms", env = "RUNLOG_STALL_TIMEOUT_MS", default_value = "60000",
          value_parser = millis(1_000..=3_600_000))]
    pub stall_timeout: Duration,
    /// How long calls may go on after SIGTERM or SIGINT before they are cut, milliseconds (0 to 600,000).
    #[arg(long = "drain-timeout-ms", env = "RUNLOG_DRAIN_TIMEOUT_MS", default_value = "10000",
          value_parser = millis(0..=600_000))]
    pub drain_timeout: Duration,
    /// Most connections at a time (1 to 1,000,000); more wait to be accepted.
    #[arg(long, env = "RUNLOG_MAX_CONNECTIONS", default_value = "20000",
          value_parser = within(1..=1_000_000))]
    pub max_connections: usize,
    /// Most connections of one address at a time (1 to 1,000,000), for IPv6 of one network of 64 bits; more are closed. By
    /// default half of --max-connections. Behind a proxy, the address of all connections, give --max-connections.
    #[arg(long, env = "RUNLOG_MAX_CONNECTIONS_PER_ADDRESS", value_name = "CONNECTIONS",
          value_parser = within(1..=1_000_000))]
    pub max_connections_per_address: Option<usize>,
}
