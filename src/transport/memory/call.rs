//! What one call, and the calls of one connection, hold of the memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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

    /// How long nothing has gone out although something is there to be sent, in ticks of the clock; `None`: nothing is.
    pub(super) fn silence(&self) -> Option<u64> {
        let has_unsent = self.open_calls().iter().any(|call| call.has_unsent());
        has_unsent.then(|| self.clock.now().saturating_sub(self.progress.load(Relaxed)))
    }

    /// Whether a call has sent nothing for `silent` ticks, or is not done with one frame after `slow`.
    pub(super) fn has_slow_call(&self, silent: u64, slow: u64) -> bool {
        let now = self.clock.now();
        let is_slow = |call: &Arc<Call>| {
            let since = |tick: &AtomicU64| now.saturating_sub(tick.load(Relaxed));
            call.has_unsent() && (since(&call.progress) >= silent || since(&call.frame) >= slow)
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
    _place: Charge,
}

impl Call {
    pub(super) fn begin(account: Arc<Account>, place: Charge) -> Arc<Self> {
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

    /// Waits for room for a body that is unpacked into at most so many bytes.
    pub async fn room_to_unpack(&self, max_bytes: usize) -> Result<Charge> {
        let room = Arc::clone(&self.account.shares.receive).charge(BYTES_EACH * max_bytes);
        tokio::time::timeout(MAX_WAIT, room).await.map_err(|_| no_room_for_requests())
    }

    /// It was unpacked into so many bytes, which are held until the call is answered.
    pub fn unpacked(&self, mut room: Charge, bytes: usize) {
        room.shrink(BYTES_EACH * bytes);
        self.received(vec![room]);
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
