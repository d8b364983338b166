//! Limits of one key and of one address, and the excess of one of them.

use std::fmt;
use std::time::Duration;

/// A limit of one key or of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// Requests of a key in a second.
    Requests,
    /// Events that a key publishes in a second.
    Events,
    /// Bytes of payload that a key publishes in a second.
    Bytes,
    /// Open streams of a key.
    Streams,
    /// Keys from one address in a minute that are not valid.
    FailedKeys,
    /// TLS handshakes of one address in a second.
    Handshakes,
}

impl RateLimit {
    /// Name of the limit in metrics, metadata and headers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Events => "events",
            Self::Bytes => "bytes",
            Self::Streams => "streams",
            Self::FailedKeys => "failed_keys",
            Self::Handshakes => "handshakes",
        }
    }

    /// Time that the quota is for; `None` for a quota of what is open at a time.
    #[must_use]
    pub const fn window(self) -> Option<Duration> {
        match self {
            Self::Requests | Self::Events | Self::Bytes | Self::Handshakes => Some(Duration::from_secs(1)),
            Self::FailedKeys => Some(Duration::from_secs(60)),
            Self::Streams => None,
        }
    }
}

/// A limit that is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The limit.
    pub limit: RateLimit,
    /// What the limit allows in its window.
    pub quota: u64,
    /// Time after which the same request may be served.
    pub retry_after: Duration,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quota = self.quota;
        match self.limit {
            RateLimit::Requests => write!(f, "this key may make {quota} requests a second"),
            RateLimit::Events => write!(f, "this key may publish {quota} events a second"),
            RateLimit::Bytes => write!(f, "this key may publish {quota} bytes of payload a second"),
            RateLimit::Streams => write!(f, "this key may have {quota} streams open at a time"),
            RateLimit::FailedKeys => write!(f, "this address may send {quota} keys a minute that are not valid"),
            RateLimit::Handshakes => write!(f, "this address may begin {quota} TLS connections a second"),
        }?;
        write!(f, " and is over that; retry after {} ms", self.retry_after.as_millis())
    }
}
