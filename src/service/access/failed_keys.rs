//! Keys that are not valid, counted for each address: above the limit they are refused without a look into the store.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

use super::key_limits::exceeded;
use super::rate::Rate;
use crate::domain::access::{KeyProblem, RateLimit};
use crate::domain::{Error, Result};

/// Addresses that are remembered; those that failed least recently are forgotten.
const MAX_ADDRESSES: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

const MINUTE: Duration = Duration::from_secs(60);

/// Failed keys of each address.
pub struct FailedKeys {
    /// Most failed keys of one address in a minute; 0: no limit.
    most: u64,
    addresses: Mutex<LruCache<IpAddr, Failures>>,
}

struct Failures {
    rate: Rate,
    /// Time until which no other failure is allowed.
    until: Option<Instant>,
}

impl FailedKeys {
    /// No failures yet.
    #[must_use]
    pub fn new(most: u64) -> Self {
        Self { most, addresses: Mutex::new(LruCache::new(MAX_ADDRESSES)) }
    }

    /// Fails with `RateLimited` if the address has used up its failures.
    pub fn check(&self, address: IpAddr) -> Result<()> {
        if self.most == 0 {
            return Ok(());
        }
        let until = self.addresses.lock().peek(&address).and_then(|failures| failures.until);
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(wait) if !wait.is_zero() => Err(exceeded(RateLimit::FailedKeys, self.most, wait)),
            _ => Ok(()),
        }
    }

    /// Counts a key that is not valid. The error is `Unauthenticated`, and `RateLimited` for an address over its limit.
    pub fn count(&self, address: IpAddr) -> Error {
        let invalid = Error::Unauthenticated(KeyProblem::Invalid);
        let mut addresses = self.addresses.lock();
        if !addresses.contains(&address) {
            let Some(rate) = Rate::new(self.most, MINUTE, 0) else { return invalid };
            addresses.put(address, Failures { rate, until: None });
        }
        let Some(failures) = addresses.get_mut(&address) else { return invalid };
        let (wait, error) = match failures.rate.take(1) {
            Ok(true) => return invalid,
            Ok(false) => (failures.rate.period(), invalid),
            Err(wait) => (wait, exceeded(RateLimit::FailedKeys, self.most, wait)),
        };
        failures.until = Some(Instant::now() + wait);
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_has_used_up_its_failures_is_refused_before_the_next_one_and_others_are_not() {
        let failed = FailedKeys::new(3);
        let (bad, other): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        for _ in 0..3 {
            failed.check(bad).unwrap();
            assert!(matches!(failed.count(bad), Error::Unauthenticated(KeyProblem::Invalid)));
        }
        let Err(Error::RateLimited(excess)) = failed.check(bad) else { panic!("a fourth look into the store") };
        assert_eq!((excess.limit, excess.quota), (RateLimit::FailedKeys, 3));
        assert!(excess.retry_after <= MINUTE / 3);
        assert!(matches!(failed.count(bad), Error::RateLimited(_)));
        failed.check(other).unwrap();
        assert!(matches!(failed.count(other), Error::Unauthenticated(_)));
    }

    #[test]
    fn without_a_limit_no_address_is_remembered() {
        let failed = FailedKeys::new(0);
        let address = [192, 0, 2, 1].into();
        for _ in 0..1_000 {
            failed.check(address).unwrap();
            assert!(matches!(failed.count(address), Error::Unauthenticated(_)));
        }
        assert!(failed.addresses.lock().is_empty());
    }

    #[test]
    fn the_table_of_addresses_is_bounded() {
        let failed = FailedKeys::new(1);
        for n in 0..20_000_u32 {
            failed.count(IpAddr::V4(n.into()));
        }
        assert_eq!(failed.addresses.lock().len(), MAX_ADDRESSES.get());
    }
}
