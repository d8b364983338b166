//! How the memory of `--max-memory-bytes` is shared out.

use super::{InvalidOptions, ServeOptions};

const MIB: usize = 1 << 20;

/// What is left for calls and readers beside the two queues that have options of their own.
const MIN_REST_BYTES: usize = 64 * MIB;

/// One connection may use up a share of calls, of requests or of answers divided by this.
pub const CONNECTIONS_AT_LEAST: usize = 8;

/// The window of HTTP/2 where nothing else is said.
const MIN_WINDOW_BYTES: u32 = 65_535;

/// What a connection takes by itself, about.
pub const CONNECTION_BYTES: usize = 24 << 10;

/// What a call takes by itself, about: its head, its task, its place in the service.
pub const CALL_BYTES: usize = 6 << 10;

/// The parts of the memory, bytes. Together they are `--max-memory-bytes`; the program itself, and what the store's own pages
/// take, comes on top: 64 MiB at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShares {
    /// Publishes that wait for their commit: `--publish-queue-bytes`.
    pub queue: usize,
    /// What replaying subscriptions have read: `--read-ahead-bytes`.
    pub read_ahead: usize,
    /// Requests, from their first byte to their answer.
    pub receive: usize,
    /// Answers, until they are sent.
    pub send: usize,
    /// Recent events of all runs that are followed, with their encodings.
    pub windows: usize,
    /// Connections by themselves.
    pub connections: usize,
    /// Calls by themselves.
    pub calls: usize,
}

impl MemoryShares {
    /// The parts by name, in the order in which they are shown.
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
    /// The largest HTTP/2 window: what a client may send before there is room for it, which is not counted.
    #[must_use]
    pub fn window_bytes(&self) -> u32 {
        u32::try_from(self.receive / 512).unwrap_or(u32::MAX).max(MIN_WINDOW_BYTES)
    }
}

impl ServeOptions {
    /// What the server may take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.max_memory_bytes.unwrap_or_else(|| default_bytes(available_bytes()))
    }

    /// How it is shared out.
    ///
    /// # Errors
    /// Too little is left beside the queues.
    pub fn memory_shares(&self) -> Result<MemoryShares, InvalidOptions> {
        let (queue, read_ahead) = (self.publish_queue_bytes, self.read_ahead_bytes);
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

    /// Calls of one connection at a time: `--max-concurrent-streams`, or what a connection finds room for. A proxy
    /// that reads this limit opens another connection. A few fewer than there is room for: a client begins the next call when it
    /// has the end of an answer, and that call may not be over here.
    #[must_use]
    pub fn streams_in(&self, shares: &MemoryShares) -> u32 {
        let room = shares.calls / CONNECTIONS_AT_LEAST / CALL_BYTES;
        self.max_concurrent_streams.min(u32::try_from(room - room / 8).unwrap_or(u32::MAX))
    }

    /// Connections at a time: `--max-connections`, or what the memory allows.
    #[must_use]
    pub fn connections_in(&self, shares: &MemoryShares) -> usize {
        self.max_connections.min(shares.connections / CONNECTION_BYTES)
    }
}

/// Half of what there is, and at least 256 MiB.
fn default_bytes(available: Option<usize>) -> usize {
    available.map_or(1_024 * MIB, |bytes| (bytes / 2).max(256 * MIB))
}

/// What this process may use: the least of the machine's memory and the limits of the control groups that it is in.
fn available_bytes() -> Option<usize> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(|text| {
        let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?;
        kib.trim().parse::<usize>().ok()?.checked_mul(1_024)
    });
    machine.into_iter().chain(group_bytes()).min()
}

/// The least limit of the control group of this process and of those above it.
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
