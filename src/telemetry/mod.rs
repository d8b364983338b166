//! The metrics of this process: one constant for each metric, with its name, unit and help text, and the recorder behind
//! `/metrics`.

mod metric;

use std::sync::OnceLock;
use std::time::Duration;

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use metric::{Counter, Gauge, Histogram, Metric};

/// Interval at which raw histogram samples are moved into buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Histogram buckets for durations, seconds: from a read in memory to a stalled disk.
const SECONDS: [f64; 12] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0];

/// Histogram buckets for counts of events.
const COUNTS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0];

/// The recorder of this process, installed at the first call.
pub fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(install).clone()
}

/// Moves raw histogram samples into buckets at an interval, so that samples do not pile up on a server without scrapes of
/// `/metrics`. Never ends.
pub async fn upkeep() {
    let recorder = recorder();
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        recorder.run_upkeep();
    }
}

fn install() -> PrometheusHandle {
    let buckets = |builder: PrometheusBuilder, suffix: &str, values: &[f64]| {
        builder
            .set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), values)
            .unwrap_or_else(|_| unreachable!("the buckets are not empty"))
    };
    let builder = buckets(PrometheusBuilder::new(), "_seconds", &SECONDS);
    let recorder = buckets(builder, "_events", &COUNTS).build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another recorder of metrics is installed; /metrics stays empty");
    }
    describe();
    handle
}

fn describe() {
    for Counter(metric) in [
        HTTP_REQUESTS,
        GRPC_REQUESTS,
        REFUSED_REQUESTS,
        REFUSED_CONNECTIONS,
        CUT_CONNECTIONS,
        STORE_ERRORS,
        PUBLISHED_EVENTS,
        DAMAGED_READS,
        SCRUBBED_ROWS,
        SQLITE_MAINTENANCE_FAILURES,
        SQLITE_LOG_REREADS,
    ] {
        match metric.unit {
            Some(unit) => metrics::describe_counter!(metric.name, unit, metric.help),
            None => metrics::describe_counter!(metric.name, metric.help),
        }
    }
    for Gauge(metric) in [
        MEMORY_BYTES,
        MEMORY_LIMIT_BYTES,
        READY,
        SUBSCRIPTIONS,
        SCRUB_DAMAGED_ROWS,
        POSTGRES_UNANNOUNCED_EVENTS,
        SQLITE_FILE_BYTES,
        SQLITE_DISK_FREE_BYTES,
        SQLITE_UNINDEXED_ENTRIES,
    ] {
        match metric.unit {
            Some(unit) => metrics::describe_gauge!(metric.name, unit, metric.help),
            None => metrics::describe_gauge!(metric.name, metric.help),
        }
    }
    for Histogram(metric) in [HTTP_REQUEST_SECONDS, COMMIT_EVENTS, COMMIT_SECONDS] {
        match metric.unit {
            Some(unit) => metrics::describe_histogram!(metric.name, unit, metric.help),
            None => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

/// Requests to the JSON gateway, by route and status.
pub const HTTP_REQUESTS: Counter = Counter(Metric {
    name: "runlog_http_requests_total",
    unit: None,
    help: "Requests to the JSON gateway, by route and status",
});

/// Time to the head of the answer, by route.
pub const HTTP_REQUEST_SECONDS: Histogram = Histogram(Metric {
    name: "runlog_http_request_seconds",
    unit: Some(Unit::Seconds),
    help: "Time to the head of the answer, by route",
});

/// gRPC calls, by method and code of the head of the answer.
pub const GRPC_REQUESTS: Counter = Counter(Metric {
    name: "runlog_grpc_requests_total",
    unit: None,
    help: "gRPC calls, by method and code of the head of the answer",
});

/// Requests refused before any handler, for their Host, Origin or protocol or for lack of room in memory, by reason.
pub const REFUSED_REQUESTS: Counter = Counter(Metric {
    name: "runlog_refused_requests_total",
    unit: None,
    help: "Requests refused before any handler, for their Host, Origin or protocol or for lack of room in memory, by reason",
});

/// Connections that were closed since their address had --max-connections-per-address of them.
pub const REFUSED_CONNECTIONS: Counter = Counter(Metric {
    name: "runlog_refused_connections_total",
    unit: None,
    help: "Connections that were closed since their address had --max-connections-per-address of them",
});

/// What a part of --max-memory-bytes holds: queue, read_ahead, receive, send, windows, connections, calls.
pub const MEMORY_BYTES: Gauge = Gauge(Metric {
    name: "runlog_memory_bytes",
    unit: Some(Unit::Bytes),
    help: "What a part of --max-memory-bytes holds: queue, read_ahead, receive, send, windows, connections, calls",
});

/// What that part may hold.
pub const MEMORY_LIMIT_BYTES: Gauge =
    Gauge(Metric { name: "runlog_memory_limit_bytes", unit: Some(Unit::Bytes), help: "What that part may hold" });

/// Connections that were cut: no_progress (--stall-timeout-ms), memory (others need what it holds), flood (of control frames).
pub const CUT_CONNECTIONS: Counter = Counter(Metric {
    name: "runlog_cut_connections_total",
    unit: None,
    help: "Connections that were cut: no_progress (--stall-timeout-ms), memory (others need what it holds), flood (of control frames)",
});

/// 1 while the server is ready, as /health/ready says, else 0.
pub const READY: Gauge = Gauge(Metric {
    name: "runlog_ready",
    unit: None,
    help: "1 while the server is ready, as /health/ready says, else 0",
});

/// Errors of the store that callers were answered, by reason.
pub const STORE_ERRORS: Counter = Counter(Metric {
    name: "runlog_store_errors_total",
    unit: None,
    help: "Errors of the store that callers were answered, by reason",
});

/// Events that were stored.
pub const PUBLISHED_EVENTS: Counter =
    Counter(Metric { name: "runlog_published_events_total", unit: None, help: "Events that were stored" });

/// Open subscriptions.
pub const SUBSCRIPTIONS: Gauge = Gauge(Metric { name: "runlog_subscriptions", unit: None, help: "Open subscriptions" });

/// Events in one commit.
pub const COMMIT_EVENTS: Histogram =
    Histogram(Metric { name: "runlog_commit_events", unit: Some(Unit::Count), help: "Events in one commit" });

/// Time of one commit, to the disk.
pub const COMMIT_SECONDS: Histogram = Histogram(Metric {
    name: "runlog_commit_seconds",
    unit: Some(Unit::Seconds),
    help: "Time of one commit, to the disk",
});

/// Times that events were asked for which do not agree with their checksum.
pub const DAMAGED_READS: Counter = Counter(Metric {
    name: "runlog_damaged_reads_total",
    unit: None,
    help: "Times that events were asked for which do not agree with their checksum",
});

/// Rows of the log that the scrub has read.
pub const SCRUBBED_ROWS: Counter =
    Counter(Metric { name: "runlog_scrubbed_rows_total", unit: None, help: "Rows of the log that the scrub has read" });

/// Damaged rows that the scrub found since its pass began.
pub const SCRUB_DAMAGED_ROWS: Gauge = Gauge(Metric {
    name: "runlog_scrub_damaged_rows",
    unit: None,
    help: "Damaged rows that the scrub found since its pass began",
});

/// Events of the feed that this replica has not announced to its subscribers yet, as of the last poll.
pub const POSTGRES_UNANNOUNCED_EVENTS: Gauge = Gauge(Metric {
    name: "runlog_postgres_unannounced_events",
    unit: None,
    help: "Events of the feed that this replica has not announced to its subscribers yet, as of the last poll",
});

/// Length of a file of the store: database or wal (its write-ahead log).
pub const SQLITE_FILE_BYTES: Gauge = Gauge(Metric {
    name: "runlog_sqlite_file_bytes",
    unit: Some(Unit::Bytes),
    help: "Length of a file of the store: database or wal (its write-ahead log)",
});

/// How much more the disk of the database takes.
pub const SQLITE_DISK_FREE_BYTES: Gauge = Gauge(Metric {
    name: "runlog_sqlite_disk_free_bytes",
    unit: Some(Unit::Bytes),
    help: "How much more the disk of the database takes",
});

/// Entries at the end of the log that no index covers yet, as of the last step of maintenance.
pub const SQLITE_UNINDEXED_ENTRIES: Gauge = Gauge(Metric {
    name: "runlog_sqlite_unindexed_entries",
    unit: None,
    help: "Entries at the end of the log that no index covers yet, as of the last step of maintenance",
});

/// Steps of maintenance that failed and are tried again, by work: flush, merge (and removal), checkpoint.
pub const SQLITE_MAINTENANCE_FAILURES: Counter = Counter(Metric {
    name: "runlog_sqlite_maintenance_failures_total",
    unit: None,
    help: "Steps of maintenance that failed and are tried again, by work: flush, merge (and removal), checkpoint",
});

/// Failed commits after which the end of the log had to be read from the file again.
pub const SQLITE_LOG_REREADS: Counter = Counter(Metric {
    name: "runlog_sqlite_log_rereads_total",
    unit: None,
    help: "Failed commits after which the end of the log had to be read from the file again",
});
