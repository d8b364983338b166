//! The options of each part of the server, out of those of `runlog serve`.

use crate::config::{
    AuthOption, CALL_BYTES, CONNECTIONS_AT_LEAST, CheckpointOption, FinishOption, MemoryShares, NotifyOption,
    OpenRouteOption, ServeOptions, StoreUrl, TlsOptions,
};
use crate::service::ServiceOptions;
use crate::service::access::{AccessLimits, AuthMode};
use crate::service::live::hub::WindowLimits;
use crate::store::QueueOptions;
use crate::store::postgres::PostgresOptions;
use crate::store::sqlite::SqliteOptions;
use crate::transport::authentication::OpenRoute;
use crate::transport::connections::MaxConnections;
use crate::transport::memory::MemoryOptions;
use crate::transport::rest::GatewayOptions;
use crate::transport::tls::TlsFiles;

/// Record bytes after which a page ends: below the 4 MiB that gRPC clients accept by default, typed payloads included.
pub const MAX_PAGE_BYTES: usize = 3 << 20;

/// Largest list of request headers, bytes.
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// The HTTP server, with limits for all that hyper leaves unbounded.
pub fn transport(options: &ServeOptions, shares: &MemoryShares) -> tonic::transport::Server {
    let window = shares.window_bytes();
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(options.connections.keepalive_interval))
        .http2_keepalive_timeout(Some(options.connections.keepalive_timeout))
        .max_concurrent_streams(options.streams_in(shares))
        .initial_stream_window_size(options.connections.stream_window_bytes.min(window))
        .initial_connection_window_size(options.connections.connection_window_bytes.min(window))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        // Clients of the JSON gateway use HTTP/1.1.
        .accept_http1(true)
}

pub fn sqlite_options(options: &ServeOptions) -> SqliteOptions {
    SqliteOptions {
        lifecycle: options.lifecycle(),
        queue: queue_options(options),
        read_connections: options.reading.read_connections,
        max_unflushed_entries: options.writing.flush_entries,
        slice_entries: options.writing.flush_slice_entries,
        checkpoints: options.writing.sqlite_checkpoints == CheckpointOption::On,
        ..SqliteOptions::new(&options.store.data)
    }
}

pub fn postgres_options(options: &ServeOptions, url: &StoreUrl) -> PostgresOptions {
    PostgresOptions {
        lifecycle: options.lifecycle(),
        queue: queue_options(options),
        pool_size: options.postgres.pg_pool_size,
        statement_timeout: options.store.pg_statement_timeout,
        connect_timeout: options.store.pg_connect_timeout,
        retry: options.store.pg_retry,
        notify: options.postgres.notify == NotifyOption::On,
        poll: options.postgres.poll,
        ..PostgresOptions::new(url.expose())
    }
}

pub fn window_limits(options: &ServeOptions, shares: &MemoryShares) -> WindowLimits {
    WindowLimits {
        events: options.reading.hub_window_events,
        bytes: options.reading.hub_window_bytes,
        all_bytes: shares.windows,
    }
}

pub fn memory_options(options: &ServeOptions, shares: &MemoryShares) -> MemoryOptions {
    MemoryOptions {
        receive_bytes: shares.receive,
        send_bytes: shares.send,
        calls_bytes: shares.calls,
        connections_at_least: CONNECTIONS_AT_LEAST,
        call_bytes: CALL_BYTES,
        connection_bytes: options.connection_bytes(),
        max_silence: options.connections.stall_timeout,
    }
}

pub fn max_connections(options: &ServeOptions, shares: &MemoryShares) -> MaxConnections {
    let of_all = options.connections_in(shares);
    MaxConnections {
        of_all,
        of_address: options.connections.max_connections_per_address.unwrap_or(of_all.div_ceil(2)),
        handshakes_per_second: options.rates.address_handshakes_per_second as u64,
    }
}

/// The files of TLS; `None` if the listeners speak cleartext.
pub fn tls_files(options: &TlsOptions) -> Option<TlsFiles> {
    let (cert, key) = (options.tls_cert.clone()?, options.tls_key.clone()?);
    Some(TlsFiles { cert, key, client_ca: options.tls_client_ca.clone() })
}

pub fn queue_options(options: &ServeOptions) -> QueueOptions {
    QueueOptions {
        max_commit_events: options.writing.max_commit_events,
        max_commit_bytes: options.writing.max_commit_bytes,
        queue_events: options.writing.publish_queue_events,
        queue_bytes: options.writing.publish_queue_bytes,
        queue_wait: options.writing.publish_wait,
        coalesce_deltas: options.writing.coalesce_deltas,
    }
}

pub fn gateway_options(options: &ServeOptions) -> GatewayOptions {
    GatewayOptions {
        cors_origins: options.connections.cors_origins.clone(),
        default_view: options.default_view(),
        request_timeout: options.connections.request_timeout,
        sse_heartbeat: options.reading.sse_heartbeat,
    }
}

pub fn service_options(options: &ServeOptions) -> ServiceOptions {
    ServiceOptions {
        limits: options.limits(),
        max_page_bytes: MAX_PAGE_BYTES,
        max_batch_bytes: options.reading.max_batch_bytes,
        read_ahead_bytes: options.reading.read_ahead_bytes,
        max_subscriptions: options.reading.max_subscriptions,
        heartbeat: options.reading.heartbeat,
        finish_ends_run: options.writing.finish_ends_run == FinishOption::On,
    }
}

pub fn auth_mode(options: &ServeOptions) -> AuthMode {
    match options.access.auth(options.is_loopback()) {
        AuthOption::Auto => AuthMode::Auto,
        AuthOption::Required => AuthMode::Required,
        AuthOption::Off => AuthMode::Off,
    }
}

/// Limits of each key, and of each address before its key is known.
pub fn access_limits(options: &ServeOptions) -> AccessLimits {
    let (rates, request) = (&options.rates, &options.limits);
    AccessLimits {
        requests: rates.key_requests_per_second as u64,
        events: rates.key_events_per_second as u64,
        bytes: rates.key_bytes_per_second as u64,
        streams: rates.key_streams.unwrap_or(options.reading.max_subscriptions.div_ceil(2)),
        request_events: request.max_request_events as u64,
        request_bytes: request.max_request_bytes as u64,
        failed_keys: rates.address_failed_keys_per_minute as u64,
    }
}

/// Routes that need no key.
pub fn open_routes(options: &ServeOptions) -> Vec<OpenRoute> {
    let route = |option: &OpenRouteOption| match option {
        OpenRouteOption::Metrics => OpenRoute::Metrics,
        OpenRouteOption::Openapi => OpenRoute::OpenApi,
        OpenRouteOption::Reflection => OpenRoute::Reflection,
    };
    options.access.open_routes.iter().map(route).collect()
}
