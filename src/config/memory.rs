//! How `--max-memory-bytes` is divided among queues, requests, responses, recent events, connections and calls.

use super::{InvalidOptions, ServeOptions};

const MIB: usize = 1 << 20;

/// Least memory that must be left beside the commit queue and the read-ahead, which have options of their own.
const MIN_REST_BYTES: usize = 64 * MIB;

/// Connections that can use the memory at the same time: each connection gets at most this fraction (1/8) of the shares for
/// calls, requests and responses.
pub const CONNECTIONS_AT_LEAST: usize = 8;

/// Initial flow-control window of HTTP/2 (RFC 9113).
const MIN_WINDOW_BYTES: u32 = 65_535;

/// Approximate memory of one connection without calls, bytes.
const CONNECTION_BYTES: usize = 24 << 10;

/// Approximate memory of the TLS of one connection, bytes: its keys, a record that is received and one that is sent.
const TLS_BYTES: usize = 40 << 10;

/// Approximate memory of one call without messages, bytes: headers, task and state in the service.
pub const CALL_BYTES: usize = 6 << 10;

/// The parts of the memory, bytes. The sum is `--max-memory-bytes`; the program and the page caches of the store take up to
/// 64 MiB more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShares {
    /// Publishes that wait for a commit: `--publish-queue-bytes`.
    pub queue: usize,
    /// Events that replaying subscriptions have read ahead: `--read-ahead-bytes`.
    pub read_ahead: usize,
    /// Requests, from the first byte to the response.
    pub receive: usize,
    /// Responses that are not sent yet.
    pub send: usize,
    /// Recent events in the hub, of all runs, with all encodings.
    pub windows: usize,
    /// Connections, at [`ServeOptions::connection_bytes`] each.
    pub connections: usize,
    /// Calls, at [`CALL_BYTES`] each.
    pub calls: usize,
}

impl MemoryShares {
    /// The parts by name, in display order. The names are the `part` labels of the memory metrics.
    #[must_use]
    pub fn named(&self) -> [(&'static str, usize); 7] {
        [
            ("queue", self.queue),
            ("read_ahead", self.read_ahead),
            ("receive", self.receive),
            ("send", self.send),
            ("windows", self.windows),
            ("connections", self.connections),
            ("calls", self.calls),
        ]
    }
}

impl MemoryShares {
    /// The largest HTTP/2 window, bytes. A client may send one window of data before memory is reserved, and that data is not
    /// counted, so the window is a small part of `receive`.
    #[must_use]
    pub fn window_bytes(&self) -> u32 {
        u32::try_from(self.receive / 512).unwrap_or(u32::MAX).max(MIN_WINDOW_BYTES)
    }
}

impl ServeOptions {
    /// Memory that the server may use, bytes: `--max-memory-bytes`, or the default for this machine.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.max_memory_bytes.unwrap_or_else(|| default_bytes(available_bytes()))
    }

    /// Divides the memory among the parts.
    ///
    /// # Errors
    /// Less than 64 MiB would be left beside the commit queue and the read-ahead.
    pub fn memory_shares(&self) -> Result<MemoryShares, InvalidOptions> {
        let (queue, read_ahead) = (self.writing.publish_queue_bytes, self.reading.read_ahead_bytes);
        let all = self.memory_bytes();
        let rest = all.saturating_sub(queue.saturating_add(read_ahead));
        if rest < MIN_REST_BYTES {
            return Err(InvalidOptions(format!(
                "--max-memory-bytes {all} must be at least {MIN_REST_BYTES} more than --publish-queue-bytes {queue} and \
                 --read-ahead-bytes {read_ahead} together; raise it or lower them"
            )));
        }
        let part = rest / 16;
        Ok(MemoryShares {
            queue,
            read_ahead,
            receive: 5 * part,
            send: 4 * part,
            windows: 3 * part,
            connections: 2 * part,
            calls: 2 * part,
        })
    }

    /// Concurrent calls of one connection: `--max-concurrent-streams`, or as many as fit into the memory of one connection. A
    /// proxy at this limit opens another connection. One eighth stays free: a client starts the next call at the end of a
    /// response, while the server may still release the finished call.
    #[must_use]
    pub fn streams_in(&self, shares: &MemoryShares) -> u32 {
        let room = shares.calls / CONNECTIONS_AT_LEAST / CALL_BYTES;
        self.connections.max_concurrent_streams.min(u32::try_from(room - room / 8).unwrap_or(u32::MAX))
    }

    /// Approximate memory of one connection without calls, bytes; more with TLS.
    #[must_use]
    pub fn connection_bytes(&self) -> usize {
        if self.tls.is_on() { CONNECTION_BYTES + TLS_BYTES } else { CONNECTION_BYTES }
    }

    /// Concurrent connections: `--max-connections`, or as many as fit into the memory.
    #[must_use]
    pub fn connections_in(&self, shares: &MemoryShares) -> usize {
        self.connections.max_connections.min(shares.connections / self.connection_bytes())
    }
}

/// Half of the available memory, and at least 256 MiB; 1 GiB if the available memory is unknown.
fn default_bytes(available: Option<usize>) -> usize {
    available.map_or(1_024 * MIB, |bytes| (bytes / 2).max(256 * MIB))
}

/// Memory that this process may use: the least of the machine's memory and the limits of the process's control groups.
fn available_bytes() -> Option<usize> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(|text| {
        let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?;
        kib.trim().parse::<usize>().ok()?.checked_mul(1_024)
    });
    machine.into_iter().chain(group_bytes()).min()
}

/// The least `memory.max` of the process's control group and all groups above.
fn group_bytes() -> Option<usize> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = std::path::Path::new("/sys/fs/cgroup");
    let limit = |path: &std::path::Path| std::fs::read_to_string(path.join("memory.max")).ok()?.trim().parse().ok();
    root.join(group).ancestors().take_while(|path| path.starts_with(root)).filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_whole() {
        for mib in [192, 256, 1_024, 100_000] {
            let options = ServeOptions { max_memory_bytes: Some(mib * MIB), ..ServeOptions::default() };
            let shares = options.memory_shares().unwrap();
            let sum: usize = shares.named().iter().map(|(_, bytes)| bytes).sum();
            assert!(sum <= mib * MIB && sum + 16 > mib * MIB, "{mib}: {shares:?}");
        }
        let options = ServeOptions { max_memory_bytes: Some(191 * MIB), ..ServeOptions::default() };
        let refused = options.memory_shares().unwrap_err().to_string();
        assert!(refused.contains("--max-memory-bytes") && refused.contains("--publish-queue-bytes"), "{refused}");
    }

    #[test]
    fn half_of_what_there_is_and_no_less_than_a_quarter_of_a_gibibyte() {
        assert_eq!(default_bytes(Some(8_192 * MIB)), 4_096 * MIB);
        assert_eq!(default_bytes(Some(100 * MIB)), 256 * MIB);
        assert_eq!(default_bytes(None), 1_024 * MIB);
        #[cfg(target_os = "linux")]
        assert!(available_bytes().is_some_and(|bytes| bytes > 64 * MIB));
    }
}
