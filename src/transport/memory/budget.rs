//! A budget of bytes shared by all connections. One connection has a limit, and each connection has a small guaranteed amount.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Divisor of the budget for the reserve, which only connections with little memory can use.
const RESERVE_PART: usize = 4;

/// The reserve is divided by the number of open connections, and at least by this number.
const MIN_CONNECTIONS: usize = 64;

/// Bytes that all connections together may hold at a time.
#[derive(Debug)]
pub struct Budget {
    bytes: usize,
    connections_at_least: usize,
    common: Semaphore,
    reserve: Semaphore,
    connections: AtomicUsize,
    waiting: AtomicUsize,
    queued: AtomicUsize,
}

impl Budget {
    /// An unused budget. One connection may hold `bytes / connections_at_least`.
    pub fn new(bytes: usize, connections_at_least: usize) -> Arc<Self> {
        let reserve = bytes / RESERVE_PART;
        Arc::new(Self {
            bytes,
            connections_at_least,
            common: Semaphore::new(bytes - reserve),
            reserve: Semaphore::new(reserve),
            connections: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
        })
    }

    /// Size of the budget, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes held by all connections.
    pub fn used(&self) -> usize {
        self.bytes.saturating_sub(self.common.available_permits() + self.reserve.available_permits())
    }

    /// Number of charges that wait because the budget is used up.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Number of all waiting charges: because the budget is used up, or for other calls of the same connection.
    pub fn queued(&self) -> usize {
        self.queued.load(Relaxed)
    }

    /// Whether a charge waits because the budget is used up. `waiting` alone also counts charges that have got memory and are
    /// not polled yet.
    pub fn is_used_up(&self) -> bool {
        self.waiting() > 0 && self.common.available_permits() == 0
    }

    /// The share of a new connection.
    pub fn share(self: &Arc<Self>) -> Share {
        self.connections.fetch_add(1, Relaxed);
        let most = (self.bytes / self.connections_at_least).max(1);
        Share {
            budget: Arc::clone(self),
            most,
            room: Semaphore::new(most),
            waiting: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
        }
    }

    /// Bytes that a connection may hold even if the budget is used up.
    fn guaranteed(&self) -> usize {
        self.bytes / RESERVE_PART / self.connections.load(Relaxed).max(MIN_CONNECTIONS)
    }
}

/// Part of a budget that one connection may hold.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    most: usize,
    room: Semaphore,
    /// Permits of `room` taken by charges that still wait for the budget, and so are not held yet.
    waiting: AtomicUsize,
    queued: AtomicUsize,
}

impl Share {
    /// The budget of this share.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Most bytes that the connection may hold.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Bytes held by the connection.
    pub fn held(&self) -> usize {
        self.most.saturating_sub(self.room.available_permits() + self.waiting.load(Relaxed))
    }

    /// Charges bytes if there is room at once. A size over the limit of a connection counts as the limit.
    pub fn try_charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let permits = self.permits(bytes);
        let of_connection = self.room.try_acquire_many(permits).ok()?;
        let (part, of_all) = self.of_all_now(permits)?;
        of_connection.forget();
        of_all.forget();
        Some(Charge { share: Arc::clone(self), part, permits })
    }

    /// Waits for room in the order of arrival: first among the charges of the connection, then among all.
    pub async fn charge(self: Arc<Self>, bytes: usize) -> Charge {
        const OPEN: &str = "the semaphores of a budget are never closed";
        let permits = self.permits(bytes);
        let _queued = Counted::begin(&self.budget.queued, 1);
        let _queued_here = Counted::begin(&self.queued, 1);
        let of_connection = self.room.acquire_many(permits).await.unwrap_or_else(|_| unreachable!("{OPEN}"));
        let (part, of_all) = match self.of_all_now(permits) {
            Some(of_all) => of_all,
            None => {
                let _waiting = Counted::begin(&self.budget.waiting, 1);
                let _not_held = Counted::begin(&self.waiting, permits as usize);
                let room = self.budget.common.acquire_many(permits).await;
                (Part::Common, room.unwrap_or_else(|_| unreachable!("{OPEN}")))
            }
        };
        of_connection.forget();
        of_all.forget();
        Charge { share: Arc::clone(&self), part, permits }
    }

    /// Charges of the connection that wait.
    pub fn queued(&self) -> usize {
        self.queued.load(Relaxed)
    }

    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.most)).unwrap_or(u32::MAX)
    }

    /// Permits of the budget, or of the reserve for a connection with little memory. The permits of the connection are taken
    /// before, and so count as held.
    fn of_all_now(&self, permits: u32) -> Option<(Part, SemaphorePermit<'_>)> {
        if let Ok(of_all) = self.budget.common.try_acquire_many(permits) {
            return Some((Part::Common, of_all));
        }
        let is_little = self.held() <= self.budget.guaranteed();
        let of_all = is_little.then(|| self.budget.reserve.try_acquire_many(permits).ok()).flatten()?;
        Some((Part::Reserve, of_all))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.connections.fetch_sub(1, Relaxed);
    }
}

/// Part of a budget that a charge is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Common,
    Reserve,
}

/// Held bytes, released by dropping the charge.
#[derive(Debug)]
pub struct Charge {
    share: Arc<Share>,
    part: Part,
    permits: u32,
}

impl Charge {
    /// Bytes held by this charge.
    pub fn bytes(&self) -> usize {
        self.permits as usize
    }

    /// Takes the bytes of another charge of the same connection, so that both are released at once. Returns it where one of them
    /// is of the reserve.
    pub fn merge(&mut self, mut other: Self) -> Option<Self> {
        if !Arc::ptr_eq(&self.share, &other.share) || self.part != other.part {
            return Some(other);
        }
        self.permits += std::mem::take(&mut other.permits);
        None
    }

    /// Releases all but `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        drop(self.split(self.bytes().saturating_sub(bytes)));
    }

    /// Splits off `bytes`, or all bytes if fewer are held.
    pub fn split(&mut self, bytes: usize) -> Self {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.permits);
        self.permits -= permits;
        Self { share: Arc::clone(&self.share), part: self.part, permits }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.permits == 0 {
            return;
        }
        let Share { budget, room, .. } = &*self.share;
        match self.part {
            Part::Common => budget.common.add_permits(self.bytes()),
            Part::Reserve => budget.reserve.add_permits(self.bytes()),
        }
        room.add_permits(self.bytes());
    }
}

/// Bytes of all these charges.
pub fn bytes_of(charges: &[Charge]) -> usize {
    charges.iter().map(Charge::bytes).sum()
}

/// Adds to a counter until dropped.
struct Counted<'a>(&'a AtomicUsize, usize);

impl<'a> Counted<'a> {
    fn begin(count: &'a AtomicUsize, more: usize) -> Self {
        count.fetch_add(more, Relaxed);
        Self(count, more)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[test]
    fn one_connection_holds_an_eighth_at_most_and_gives_back_what_it_drops() {
        let budget = Budget::new(800, 8);
        let share = Arc::new(budget.share());
        let mut charge = share.try_charge(60).unwrap();
        assert!(share.try_charge(41).is_none());
        let other = share.try_charge(40).unwrap();
        assert_eq!((share.held(), budget.used()), (100, 100));
        charge.shrink(10);
        assert_eq!((share.held(), budget.used()), (50, 50));
        drop((charge, other));
        assert_eq!((share.held(), budget.used()), (0, 0));
        assert_eq!(
            Arc::new(budget.share()).try_charge(10_000).map(|charge| charge.bytes()),
            Some(100),
            "as much as it may"
        );
    }

    #[test]
    fn merged_charges_are_released_at_once_and_those_of_two_connections_are_not_merged() {
        let budget = Budget::new(800, 8);
        let (share, other) = (Arc::new(budget.share()), Arc::new(budget.share()));
        let mut charge = share.try_charge(20).unwrap();
        assert!(charge.merge(share.try_charge(30).unwrap()).is_none());
        assert_eq!((charge.bytes(), share.held(), budget.used()), (50, 50, 50));
        let foreign = charge.merge(other.try_charge(5).unwrap());
        assert_eq!((foreign.map(|charge| charge.bytes()), other.held(), budget.used()), (Some(5), 0, 50));
        drop(charge);
        assert_eq!((share.held(), budget.used()), (0, 0));
    }

    #[tokio::test]
    async fn a_connection_with_little_memory_finds_room_where_the_others_have_used_all() {
        let budget = Budget::new(64 * 1_024, 8);
        let greedy: Vec<_> = (0..6).map(|_| Arc::new(budget.share())).collect();
        let held: Vec<_> = greedy.iter().map(|share| share.try_charge(8 * 1_024).unwrap()).collect();
        let late = Arc::new(budget.share());
        assert!(late.try_charge(1_000).is_none(), "the common part is used up");
        let little = late.try_charge(256).expect("a 64th of the reserve");
        assert!(late.try_charge(1).is_none(), "and no more than that");
        let mut waits = Box::pin(Arc::clone(&late).charge(1_000));
        assert!(poll!(&mut waits).is_pending() && budget.is_used_up());
        drop(held);
        assert!(!budget.is_used_up(), "room is there, though the waiting charge is not polled yet");
        assert!(poll!(&mut waits).is_ready() && !budget.is_used_up());
        drop(little);
    }

    #[tokio::test]
    async fn what_waits_for_room_takes_nothing_of_what_its_connection_may_hold_in_any_case() {
        let budget = Budget::new(64 * 1_024, 8);
        let greedy: Vec<_> = (0..6).map(|_| Arc::new(budget.share())).collect();
        let held: Vec<_> = greedy.iter().map(|share| share.try_charge(8 * 1_024).unwrap()).collect();
        let late = Arc::new(budget.share());
        let mut page = Box::pin(Arc::clone(&late).charge(4 * 1_024));
        assert!(poll!(&mut page).is_pending());
        assert_eq!((late.held(), budget.queued()), (0, 1));
        assert!(late.try_charge(256).is_some(), "its neighbour finds the little that is kept for them");
        drop((page, held));
        assert_eq!((late.held(), budget.queued(), budget.waiting()), (0, 0, 0));
        assert_eq!(late.try_charge(usize::MAX).map(|charge| charge.bytes()), Some(8 * 1_024));
    }

    #[tokio::test]
    async fn a_connection_waits_for_its_own_calls_without_using_up_the_budget() {
        let budget = Budget::new(800, 8);
        let share = Arc::new(budget.share());
        let held = share.try_charge(100).unwrap();
        let mut waits = Box::pin(Arc::clone(&share).charge(1));
        assert!(poll!(&mut waits).is_pending() && !budget.is_used_up());
        drop(held);
        assert!(poll!(&mut waits).is_ready());
    }
}
