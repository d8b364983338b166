//! A budget of bytes that all connections share: what one may hold is bounded, and each may hold a little whatever the others do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget divided by this is kept for connections that hold little, so that it never is used up for them.
const RESERVE_PART: usize = 4;

/// The reserve is divided by the open connections, or by so many if there are fewer.
const MIN_CONNECTIONS: usize = 64;

/// Bytes that may be held at a time, of all connections together.
#[derive(Debug)]
pub struct Budget {
    bytes: usize,
    connections_at_least: usize,
    common: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    connections: AtomicUsize,
    waiting: AtomicUsize,
    queued: AtomicUsize,
}

impl Budget {
    /// An empty budget of so many bytes, of which one connection may hold a part: it takes so many to use it up.
    pub fn new(bytes: usize, connections_at_least: usize) -> Arc<Self> {
        let reserve = bytes / RESERVE_PART;
        Arc::new(Self {
            bytes,
            connections_at_least,
            common: Arc::new(Semaphore::new(bytes - reserve)),
            reserve: Arc::new(Semaphore::new(reserve)),
            connections: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
        })
    }

    /// Bytes that it has in all.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that are held.
    pub fn used(&self) -> usize {
        self.bytes.saturating_sub(self.common.available_permits() + self.reserve.available_permits())
    }

    /// How many wait because it is used up.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// How many wait for it at all: because it is used up, or for other calls of their connection.
    pub fn queued(&self) -> usize {
        self.queued.load(Relaxed)
    }

    /// Whether somebody waits because it is used up. Whoever got room and did not look yet still counts as waiting.
    pub fn is_used_up(&self) -> bool {
        self.waiting() > 0 && self.common.available_permits() == 0
    }

    /// The share of one more connection.
    pub fn share(self: &Arc<Self>) -> Share {
        self.connections.fetch_add(1, Relaxed);
        let most = (self.bytes / self.connections_at_least).max(1);
        Share { budget: Arc::clone(self), most, room: Arc::new(Semaphore::new(most)), waiting: AtomicUsize::new(0) }
    }

    /// What a connection may hold although the budget is used up.
    fn guaranteed(&self) -> usize {
        self.bytes / RESERVE_PART / self.connections.load(Relaxed).max(MIN_CONNECTIONS)
    }
}

/// What one connection holds of a budget.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    most: usize,
    room: Arc<Semaphore>,
    /// Of what is taken of `room`: what waits for the budget, and is not held yet.
    waiting: AtomicUsize,
}

impl Share {
    /// The budget that this is a share of.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Bytes that the connection may hold.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Bytes that the connection holds.
    pub fn held(&self) -> usize {
        self.most.saturating_sub(self.room.available_permits() + self.waiting.load(Relaxed))
    }

    /// Takes so many bytes if there is room for them at once. More than a connection may hold count as that much.
    pub fn try_charge(&self, bytes: usize) -> Option<Charge> {
        let permits = self.permits(bytes);
        let of_connection = Arc::clone(&self.room).try_acquire_many_owned(permits).ok()?;
        let of_all = self.of_all_now(permits)?;
        Some(Charge { of_connection, of_all })
    }

    /// Waits for room, in the order of asking: first among those of the connection, then among all.
    pub async fn charge(self: Arc<Self>, bytes: usize) -> Charge {
        const OPEN: &str = "the semaphores of a budget are never closed";
        let permits = self.permits(bytes);
        let _queued = Counted::begin(&self.budget.queued, 1);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await;
        let of_connection = room.unwrap_or_else(|_| unreachable!("{OPEN}"));
        let of_all = match self.of_all_now(permits) {
            Some(of_all) => of_all,
            None => {
                let _waiting = Counted::begin(&self.budget.waiting, 1);
                let _not_held = Counted::begin(&self.waiting, permits as usize);
                let room = Arc::clone(&self.budget.common).acquire_many_owned(permits).await;
                room.unwrap_or_else(|_| unreachable!("{OPEN}"))
            }
        };
        Charge { of_connection, of_all }
    }

    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.most)).unwrap_or(u32::MAX)
    }

    /// The connection's own permits are taken already.
    fn of_all_now(&self, permits: u32) -> Option<OwnedSemaphorePermit> {
        if let Ok(of_all) = Arc::clone(&self.budget.common).try_acquire_many_owned(permits) {
            return Some(of_all);
        }
        let is_little = self.held() <= self.budget.guaranteed();
        is_little.then(|| Arc::clone(&self.budget.reserve).try_acquire_many_owned(permits).ok()).flatten()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.connections.fetch_sub(1, Relaxed);
    }
}

/// Bytes that are held; dropping gives them back.
#[derive(Debug)]
pub struct Charge {
    of_connection: OwnedSemaphorePermit,
    of_all: OwnedSemaphorePermit,
}

impl Charge {
    /// Bytes that are held.
    pub fn bytes(&self) -> usize {
        self.of_all.num_permits()
    }

    /// Gives back what is more than these bytes.
    pub fn shrink(&mut self, bytes: usize) {
        drop(self.split(self.bytes().saturating_sub(bytes)));
    }

    /// Takes so many bytes out, or what there is.
    pub fn split(&mut self, bytes: usize) -> Self {
        const ENOUGH: &str = "both have as many permits";
        let bytes = self.bytes().min(bytes);
        Self {
            of_connection: self.of_connection.split(bytes).unwrap_or_else(|| unreachable!("{ENOUGH}")),
            of_all: self.of_all.split(bytes).unwrap_or_else(|| unreachable!("{ENOUGH}")),
        }
    }
}

/// Adds to a count as long as it lives.
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
        assert_eq!(budget.share().try_charge(10_000).map(|charge| charge.bytes()), Some(100), "as much as it may");
    }

    #[tokio::test]
    async fn whoever_holds_little_finds_room_where_the_others_have_used_all() {
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
        assert!(!budget.is_used_up(), "room is there, though whoever waits for it has not looked yet");
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
