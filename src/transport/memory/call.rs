//! What one call, and the calls of one connection, hold of the memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::MAX_WAIT;
use super::budget::{Charge, Share};
use super::clock::Clock;
use super::intake::{BYTES_EACH, no_room_for_requests};
use crate::domain::Result;

/// A connection: its shares of the budgets, and its calls.
#[derive(Debug)]
pub struct Account {
    pub(super) shares: Shares,
    clock: Arc<Clock>,
    calls: Mutex<HashMap<u64, Weak<Call>>>,
    next_call: AtomicU64,
    /// When anything of any answer went out.
    progress: AtomicU64,
    /// Ends the connection.
    cut: CancellationToken,
}

/// What a connection holds of each budget.
#[derive(Debug)]
pub(super) struct Shares {
    pub receive: Arc<Share>,
    pub send: Arc<Share>,
    pub calls: Arc<Share>,
}

impl Account {
    pub(super) fn new(shares: Shares, clock: Arc<Clock>, cut: CancellationToken) -> Self {
        Self {
            shares,
            progress: AtomicU64::new(clock.now()),
            clock,
            calls: Mutex::default(),
            next_call: AtomicU64::new(0),
            cut,
        }
    }

    /// Cancelled when the connection has to end.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Collected before anything is done with them: the last holder of a call takes the lock when it drops it.
    fn open_calls(&self) -> Vec<Arc<Call>> {
        lock(&self.calls).values().filter_map(Weak::upgrade).collect()
    }

    /// How long nothing has gone out although something is there to be sent, in ticks of the clock; `None`: nothing is. The time
    /// before a frame was there to be sent does not count.
    pub(super) fn silence(&self) -> Option<u64> {
        let progress = self.progress.load(Relaxed);
        let unsent_since = |call: &Arc<Call>| call.has_unsent().then(|| call.frame.load(Relaxed).max(progress));
        let since = self.open_calls().iter().filter_map(unsent_since).min()?;
        Some(self.clock.now().saturating_sub(since))
    }

    /// Whether a call has sent nothing for `silent` ticks, or is not done with one frame after `slow`.
    pub(super) fn has_slow_call(&self, silent: u64, slow: u64) -> bool {
        let now = self.clock.now();
        let is_slow = |call: &Arc<Call>| {
            let frame = call.frame.load(Relaxed);
            let progress = call.progress.load(Relaxed).max(frame);
            call.has_unsent() && (now.saturating_sub(progress) >= silent || now.saturating_sub(frame) >= slow)
        };
        self.open_calls().iter().any(is_slow)
    }
}

/// A call, from the head of its request to the last byte of its answer.
#[derive(Debug)]
pub struct Call {
    account: Arc<Account>,
    number: u64,
    /// Pieces of the answer that the connection holds.
    pieces: AtomicUsize,
    /// Whether the connection has a piece and has not asked for the next.
    handed: AtomicBool,
    /// When a piece was sent or asked for, and when the frame that is being sent was begun.
    progress: AtomicU64,
    frame: AtomicU64,
    /// For what is being made.
    prepaid: Mutex<Vec<Charge>>,
    /// For what was received, until the head of the answer.
    received: Mutex<Vec<Charge>>,
    answered: AtomicBool,
    _place: Place,
}

/// What a call takes by itself.
#[derive(Debug)]
pub(super) enum Place {
    /// A place among all calls.
    Counted { _charge: Charge },
    /// One of the few that are kept for those who ask how the server is.
    Probe { _permit: OwnedSemaphorePermit },
}

impl Call {
    pub(super) fn begin(account: Arc<Account>, place: Place) -> Arc<Self> {
        let now = account.clock.now();
        let call = Arc::new(Self {
            number: account.next_call.fetch_add(1, Relaxed),
            account,
            pieces: AtomicUsize::new(0),
            handed: AtomicBool::new(false),
            progress: AtomicU64::new(now),
            frame: AtomicU64::new(now),
            prepaid: Mutex::default(),
            received: Mutex::default(),
            answered: AtomicBool::new(false),
            _place: place,
        });
        lock(&call.account.calls).insert(call.number, Arc::downgrade(&call));
        call
    }

    /// Waits for room for so much of an answer. Nothing is made before.
    pub async fn room(&self, bytes: usize) -> Charge {
        Arc::clone(&self.account.shares.send).charge(bytes).await
    }

    /// Waits for room for a page: at most half of what the connection may hold, so that its other calls find the rest.
    pub async fn room_for_a_page(&self, bytes: usize) -> Charge {
        let most = self.account.shares.send.most();
        self.room(bytes.min(most / 2)).await
    }

    /// The room is for what the call sends next.
    pub fn prepay(&self, charge: Charge) {
        lock(&self.prepaid).push(charge);
    }

    pub(super) fn prepaid(&self) -> Vec<Charge> {
        std::mem::take(&mut lock(&self.prepaid))
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Holds what the request took until it is answered; of a stream of requests, until the next is asked for.
    pub(super) fn received(&self, charges: Vec<Charge>) {
        lock(&self.received).extend(charges);
    }

    /// A stream of requests has taken what it was given and asks for more.
    pub(super) fn taken(&self) {
        if self.answered.load(Relaxed) {
            lock(&self.received).clear();
        }
    }

    /// Waits for room for a body that is unpacked into at most so many bytes. A larger one took it as it came.
    pub async fn room_to_unpack(&self, max_bytes: usize) -> Result<()> {
        let share = &self.account.shares.receive;
        let held: usize = lock(&self.received).iter().map(Charge::bytes).sum();
        let missing = (BYTES_EACH * max_bytes).min(share.most()).saturating_sub(held);
        if missing > 0 {
            let room = tokio::time::timeout(MAX_WAIT, Arc::clone(share).charge(missing)).await;
            self.received(vec![room.map_err(|_| no_room_for_requests())?]);
        }
        Ok(())
    }

    /// It was unpacked into so many bytes, which are held until the call is answered.
    pub fn unpacked(&self, bytes: usize) {
        let mut keep = BYTES_EACH * bytes;
        for charge in lock(&self.received).iter_mut() {
            charge.shrink(keep);
            keep -= charge.bytes();
        }
    }

    pub(super) fn answered(&self) {
        self.answered.store(true, Relaxed);
        lock(&self.received).clear();
    }

    pub(super) fn frame_begins(&self) {
        self.frame.store(self.account.clock.now(), Relaxed);
    }

    pub(super) fn piece_handed(&self) {
        self.handed.store(true, Relaxed);
    }

    pub(super) fn piece_made(&self) {
        self.pieces.fetch_add(1, Relaxed);
    }

    pub(super) fn piece_sent(&self) {
        self.pieces.fetch_sub(1, Relaxed);
        self.went_on();
    }

    /// The connection asks for more, so that it had room for what it was given.
    pub(super) fn asked(&self) {
        if self.handed.swap(false, Relaxed) {
            self.went_on();
        }
    }

    fn went_on(&self) {
        let now = self.account.clock.now();
        self.progress.store(now, Relaxed);
        self.account.progress.store(now, Relaxed);
    }

    fn has_unsent(&self) -> bool {
        self.handed.load(Relaxed) || self.pieces.load(Relaxed) > 0
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        lock(&self.account.calls).remove(&self.number);
    }
}

/// A panic elsewhere leaves these values whole: they are changed in single steps.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
