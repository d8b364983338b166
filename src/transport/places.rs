//! Places of connections: limits for all clients and for one address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::domain::access::RateLimit;
use crate::service::access::Rate;
use crate::telemetry;

/// Shortest time between two log lines about refused connections.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// Addresses whose handshakes are counted; those that connected least recently are forgotten.
const MAX_ADDRESSES: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// A place within the limits of all connections and of one address.
#[derive(Debug)]
pub struct Place {
    _of_all: OwnedSemaphorePermit,
    address: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Entry::Occupied(mut of_address) = open.entry(self.address) {
            *of_address.get_mut() -= 1;
            if *of_address.get() == 0 {
                of_address.remove();
            }
        }
    }
}

/// Limits of open connections.
#[derive(Clone, Copy, Debug)]
pub struct MaxConnections {
    /// Connections of all addresses; further connections wait for `accept`.
    pub of_all: usize,
    /// Connections of one address, or of one IPv6 /64 network; further connections are closed.
    pub of_address: usize,
    /// TLS handshakes of one address in a second; 0: no limit. Further connections are closed.
    pub handshakes_per_second: u64,
}

/// Places for the connections of a listener.
pub struct Places {
    pub of_all: Arc<Semaphore>,
    max_of_address: usize,
    handshakes_per_second: u64,
    handshakes: LruCache<IpAddr, Rate>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// Time of the last log line about a refusal: a flood makes one line in `LOG_PAUSE`.
    logged: Option<Instant>,
}

impl Places {
    pub fn new(max: MaxConnections) -> Self {
        let of_all = Arc::new(Semaphore::new(max.of_all));
        Self {
            of_all,
            max_of_address: max.of_address,
            handshakes_per_second: max.handshakes_per_second,
            handshakes: LruCache::new(MAX_ADDRESSES),
            open: Arc::default(),
            logged: None,
        }
    }

    /// Takes a place for an address; `None` if the address is at the limit.
    pub fn take(&mut self, of_all: OwnedSemaphorePermit, address: IpAddr) -> Option<Place> {
        let mut open = self.open.lock();
        let of_address = open.entry(address).or_default();
        if *of_address < self.max_of_address {
            *of_address += 1;
            return Some(Place { _of_all: of_all, address, open: Arc::clone(&self.open) });
        }
        drop(open);
        telemetry::REFUSED_CONNECTIONS.add(1);
        if self.may_log() {
            let max = self.max_of_address;
            tracing::warn!(%address, max, "connections are closed: the address has --max-connections-per-address of them");
        }
        None
    }

    /// Counts a TLS handshake; false if the address is over its limit.
    pub fn may_begin_handshake(&mut self, address: IpAddr) -> bool {
        if !self.handshakes.contains(&address) {
            let Some(rate) = Rate::new(self.handshakes_per_second, Duration::from_secs(1), 0) else { return true };
            self.handshakes.put(address, rate);
        }
        if self.handshakes.get(&address).is_none_or(|rate| rate.take(1).is_ok()) {
            return true;
        }
        telemetry::RATE_LIMITED.add_one(&[("limit", RateLimit::Handshakes.as_str())]);
        if self.may_log() {
            let max = self.handshakes_per_second;
            tracing::warn!(%address, max, "connections are closed: the address begins more than --address-handshakes-per-second");
        }
        false
    }

    fn may_log(&mut self) -> bool {
        let may_log = self.logged.is_none_or(|logged| logged.elapsed() >= LOG_PAUSE);
        if may_log {
            self.logged = Some(Instant::now());
        }
        may_log
    }
}

/// Key of the limit for one address. IPv6 counts by /64 network, because a host can use all addresses of the network.
pub fn client_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_counted_for_each_address_and_not_at_all_without_a_limit() {
        let may = |handshakes_per_second, address: [u8; 4], places: Option<Places>| {
            let max = MaxConnections { of_all: 1, of_address: 1, handshakes_per_second };
            let mut places = places.unwrap_or_else(|| Places::new(max));
            let allowed = (0..1_000).filter(|_| places.may_begin_handshake(address.into())).count();
            (allowed, places)
        };
        let (allowed, places) = may(10, [192, 0, 2, 1], None);
        assert!((10..1_000).contains(&allowed), "{allowed}");
        let (allowed, _) = may(10, [192, 0, 2, 2], Some(places));
        assert!(allowed >= 10, "{allowed}");
        assert_eq!(may(0, [192, 0, 2, 1], None).0, 1_000);
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_as_one() {
        let client = |address: &str| client_address(address.parse().unwrap()).to_string();
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::"));
        assert_ne!(client("2001:db8:1:3::1"), client("2001:db8:1:2::1"));
        assert_eq!(client("192.0.2.1"), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
