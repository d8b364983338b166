//! Memory held by one call, and by the calls of one connection.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::budget::{Charge, Share, bytes_of};
use super::clock::Clock;
use super::limits::{BYTES_EACH, MAX_WAIT, no_room_for_requests};
use crate::domain::Result;

/// A connection: shares of the budgets, and open calls.
#[derive(Debug)]
pub struct Account {
    pub(super) shares: Shares,
    address: IpAddr,
    clock: Arc<Clock>,
    calls: Mutex<HashMap<u64, Weak<Call>>>,
    next_call: AtomicU64,
    /// Tick of the last progress of any answer.
    progress: AtomicU64,
    /// Cancelled to end the connection.
    cut: CancellationToken,
}

/// Shares of one connection in the budgets.
#[derive(Debug)]
pub(super) struct Shares {
    pub receive: Arc<Share>,
    pub send: Arc<Share>,
    pub calls: Arc<Share>,
}

impl Account {
    pub(super) fn new(shares: Shares, address: IpAddr, clock: Arc<Clock>, cut: CancellationToken) -> Self {
        Self {
            shares,
            address,
            progress: AtomicU64::new(clock.now()),
            clock,
            calls: Mutex::default(),
            next_call: AtomicU64::new(0),
            cut,
        }
    }

    /// Ticks of the clock so far.
    pub(super) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Address of the peer, as the socket has it.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Token that is cancelled to end the connection.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Collected before use: dropping the last reference to a call takes the same lock.
    pub(super) fn has_calls(&self) -> bool {
        !self.calls.lock().is_empty()
    }

    /// Whether more than one call is open.
    pub fn has_several_calls(&self) -> bool {
        self.calls.lock().len() > 1
    }

    fn open_calls(&self) -> Vec<Arc<Call>> {
        self.calls.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Ticks without progress while bytes wait for the peer; `None` if no bytes wait. Counts from the begin of the frame.
    pub fn silence(&self) -> Option<u64> {
        let progress = self.progress.load(Relaxed);
        let unsent_since = |call: &Arc<Call>| call.has_unsent().then(|| call.frame.load(Relaxed).max(progress));
        let since = self.open_calls().iter().filter_map(unsent_since).min()?;
        Some(self.clock.now().saturating_sub(since))
    }

    /// Whether a call with unsent bytes made no progress for `silent` ticks, or began the current frame `slow` ticks ago.
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

/// A call, from the head of the request to the last byte of the answer.
#[derive(Debug)]
pub struct Call {
    account: Arc<Account>,
    number: u64,
    /// Pieces of the answer held by the connection.
    pieces: AtomicUsize,
    /// Whether the connection has taken a piece and has not polled for the next.
    handed: AtomicBool,
    /// Tick at which a piece was last sent or polled for.
    progress: AtomicU64,
    /// Tick at which the current frame began.
    frame: AtomicU64,
    /// Memory charged for the next frame of the answer.
    prepaid: Mutex<Vec<Charge>>,
    /// Memory of the request, held until the head of the answer.
    received: Mutex<Vec<Charge>>,
    answered: AtomicBool,
    _place: Place,
}

/// Place of a call in the limit of open calls.
#[derive(Debug)]
pub(super) enum Place {
    /// A charge to the budget of calls.
    Counted { _charge: Charge },
    /// One of the places kept for health checks and metrics.
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
        call.account.calls.lock().insert(call.number, Arc::downgrade(&call));
        call
    }

    /// Waits for memory for an answer, before the answer is built.
    pub async fn room(&self, bytes: usize) -> Charge {
        Arc::clone(&self.account.shares.send).charge(bytes).await
    }

    /// Waits for memory for a page. The charge is at most half of the connection's limit, so that other calls find the rest.
    pub async fn room_for_a_page(&self, bytes: usize) -> Charge {
        let most = self.account.shares.send.most();
        self.room(bytes.min(most / 2)).await
    }

    /// Assigns a charge to the next frame of the answer.
    pub fn prepay(&self, charge: Charge) {
        let mut prepaid = self.prepaid.lock();
        let left = match prepaid.last_mut() {
            Some(last) => last.merge(charge),
            None => Some(charge),
        };
        prepaid.extend(left);
    }

    pub(super) fn prepaid(&self) -> Vec<Charge> {
        std::mem::take(&mut self.prepaid.lock())
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Holds the memory of the request until the answer, or in a stream of requests until the poll for the next request.
    pub(super) fn received(&self, charges: Vec<Charge>) {
        self.received.lock().extend(charges);
    }

    /// A stream polls for the next request: the memory of earlier requests is released once the answer has begun.
    pub(super) fn taken(&self) {
        if self.answered.load(Relaxed) {
            self.received.lock().clear();
        }
    }

    /// Waits for memory for a body that is unpacked into at most `max_bytes`. A packed body above `SMALL_BYTES` was charged on
    /// arrival for the unpacked size.
    pub async fn room_to_unpack(&self, max_bytes: usize) -> Result<()> {
        let share = &self.account.shares.receive;
        let held = bytes_of(&self.received.lock());
        let missing = (BYTES_EACH * max_bytes).min(share.most()).saturating_sub(held);
        if missing > 0 {
            let room = tokio::time::timeout(MAX_WAIT, Arc::clone(share).charge(missing)).await;
            self.received(vec![room.map_err(|_| no_room_for_requests())?]);
        }
        Ok(())
    }

    /// Reduces the memory of the request to the unpacked size, which is held until the answer.
    pub fn unpacked(&self, bytes: usize) {
        let mut keep = BYTES_EACH * bytes;
        for charge in self.received.lock().iter_mut() {
            charge.shrink(keep);
            keep -= charge.bytes();
        }
    }

    pub(super) fn answered(&self) {
        self.answered.store(true, Relaxed);
        self.received.lock().clear();
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

    /// The connection polls for more, so the last piece found room.
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
        self.account.calls.lock().remove(&self.number);
    }
}
