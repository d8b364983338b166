//! Memory of calls and connections: budgets for requests, for answers and for open calls, and the end of connections that hold
//! memory without progress.
//!
//! A connection may hold a part of each budget, so that no connection starves the others, and a small guaranteed amount. If a
//! budget is used up, new charges wait. Then slow requests end with an error, and slow readers with the most memory lose the
//! connection: hyper cannot end a single HTTP/2 stream if the peer does not read.

mod answer;
mod budget;
mod call;
mod clock;
mod intake;
mod limits;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

pub use budget::Charge;
pub use call::{Account, Call};
pub use intake::{Intake, PART_BYTES, Received};
pub use limits::{MemoryOptions, SMALL_BYTES};

use crate::service::Service;
use crate::telemetry;
use answer::Answer;
use budget::Budget;
use call::{Place, Shares};
use clock::{Clock, TICK, ticks, ticks_past};
use limits::{
    LOG_PAUSE, MAX_FRAME_UNDER_PRESSURE, MAX_PROBES, MAX_SILENCE_UNDER_PRESSURE, MAX_WAIT, MAX_WAITING_CALLS,
};

/// Budgets of the server and accounts of the connections, see the module.
#[derive(Debug)]
pub struct Memory {
    options: MemoryOptions,
    receive: Arc<Budget>,
    send: Arc<Budget>,
    calls: Arc<Budget>,
    probes: Arc<Semaphore>,
    clock: Arc<Clock>,
    accounts: Mutex<HashMap<u64, Weak<Account>>>,
    next_account: AtomicU64,
}

impl Memory {
    /// Unused budgets of these sizes.
    #[must_use]
    pub fn new(options: MemoryOptions) -> Arc<Self> {
        Arc::new(Self {
            receive: Budget::new(options.receive_bytes, options.connections_at_least),
            send: Budget::new(options.send_bytes, options.connections_at_least),
            calls: Budget::new(options.calls_bytes, options.connections_at_least),
            probes: Arc::new(Semaphore::new(MAX_PROBES)),
            clock: Arc::default(),
            accounts: Mutex::default(),
            next_account: AtomicU64::new(0),
            options,
        })
    }

    /// Account of a new connection with the peer at this address. `cut` is cancelled to end the connection.
    pub fn account(&self, address: IpAddr, cut: CancellationToken) -> Arc<Account> {
        let shares = Shares {
            receive: Arc::new(self.receive.share()),
            send: Arc::new(self.send.share()),
            calls: Arc::new(self.calls.share()),
        };
        let account = Arc::new(Account::new(shares, address, Arc::clone(&self.clock), cut));
        let mut accounts = self.accounts.lock();
        if accounts.len() == accounts.capacity() {
            accounts.retain(|_, account| account.strong_count() > 0);
        }
        accounts.insert(self.next_account.fetch_add(1, Relaxed), Arc::downgrade(&account));
        account
    }

    /// Begins a call of a connection; `None` if the connection or the budget has no place at once.
    pub fn call(&self, account: &Arc<Account>) -> Option<Arc<Call>> {
        let place = account.shares.calls.try_charge(self.options.call_bytes)?;
        Some(Call::begin(Arc::clone(account), Place::Counted { _charge: place }))
    }

    /// Longest time without progress for a request, an answer or a connection.
    pub fn max_silence(&self) -> Duration {
        self.options.max_silence
    }

    /// Begins a health check or metrics request while the budget of calls is used up; `None` above `MAX_PROBES`.
    pub fn probe(&self, account: &Arc<Account>) -> Option<Arc<Call>> {
        let permit = Arc::clone(&self.probes).try_acquire_owned().ok()?;
        Some(Call::begin(Arc::clone(account), Place::Probe { _permit: permit }))
    }

    /// Begins a call of a connection after the end of other calls. `None`: the connection is at the limit, too many calls wait,
    /// or the wait timed out.
    pub async fn later_call(&self, account: &Arc<Account>) -> Option<Arc<Call>> {
        let calls = &account.shares.calls;
        if calls.held() + self.options.call_bytes > calls.most() || self.calls.waiting() > MAX_WAITING_CALLS {
            return None;
        }
        let place = Arc::clone(calls).charge(self.options.call_bytes);
        let place = tokio::time::timeout(MAX_WAIT, place).await.ok()?;
        Some(Call::begin(Arc::clone(account), Place::Counted { _charge: place }))
    }

    /// Memory accounting for the request of a call.
    pub fn intake(&self, call: &Arc<Call>) -> Intake {
        Intake::new(Arc::clone(call), self.options.max_silence)
    }

    /// Body of a request with memory accounting. A packed body is charged for `max_bytes`, the largest unpacked size.
    pub fn received(&self, body: Body, call: &Arc<Call>, max_bytes: usize, is_packed: bool) -> Body {
        Body::new(Received::new(body, self.intake(call), max_bytes, is_packed))
    }

    /// Cuts connections without progress, and exports the held memory and the `limits` as metrics. Never returns.
    pub async fn watch(self: Arc<Self>, service: Service, limits: Vec<(&'static str, usize)>) {
        let mut pulse = tokio::time::interval(TICK);
        // No burst of ticks after a pause of the process: the pause must not count as a peer's silence.
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut logged = None;
        for (part, most) in limits {
            telemetry::MEMORY_LIMIT_BYTES.set_of(&[("part", part)], most as u64);
        }
        loop {
            pulse.tick().await;
            let now = self.clock.tick();
            if now.is_multiple_of(ticks(Duration::from_secs(1))) {
                self.show(&service);
                self.cut_silent(&mut logged);
            }
            if self.send.is_used_up() {
                self.make_room(&self.send, |account| account.shares.send.held(), &mut logged);
            }
            if self.calls.is_used_up() {
                self.make_room(&self.calls, |account| account.shares.calls.held(), &mut logged);
            }
        }
    }

    fn show(&self, service: &Service) {
        for (part, budget) in [("receive", &self.receive), ("send", &self.send), ("calls", &self.calls)] {
            show(part, budget.used());
        }
        show("connections", self.open().len() * self.options.connection_bytes);
        for (part, bytes) in service.held_bytes() {
            show(part, bytes);
        }
    }

    /// Whether a call is in progress: its request or its answer is not over.
    pub fn has_calls(&self) -> bool {
        self.open().iter().any(|account| account.has_calls())
    }

    fn open(&self) -> Vec<Arc<Account>> {
        self.accounts.lock().values().filter_map(Weak::upgrade).collect()
    }

    fn cut_silent(&self, logged: &mut Option<u64>) {
        let most = ticks_past(self.options.max_silence);
        for account in self.open() {
            if account.silence().is_some_and(|silence| silence >= most) {
                self.cut(&account, "no_progress", logged);
            }
        }
    }

    /// Cuts slow readers, those with the most memory first, until a quarter of the budget is free.
    fn make_room(&self, budget: &Budget, held: fn(&Account) -> usize, logged: &mut Option<u64>) {
        let (silent, slow) = (ticks(MAX_SILENCE_UNDER_PRESSURE), ticks(MAX_FRAME_UNDER_PRESSURE));
        let mut slow: Vec<_> = self
            .open()
            .into_iter()
            .filter(|account| account.has_slow_call(silent, slow))
            .map(|a| (held(&a), a))
            .collect();
        slow.sort_by_key(|(held, _)| std::cmp::Reverse(*held));
        let mut missing = budget.bytes() / 4;
        for (held, account) in slow {
            if missing == 0 {
                return;
            }
            missing = missing.saturating_sub(held.max(1));
            self.cut(&account, "memory", logged);
        }
    }

    fn cut(&self, account: &Account, reason: &'static str, logged: &mut Option<u64>) {
        if account.cut().is_cancelled() {
            return;
        }
        account.cut().cancel();
        telemetry::CUT_CONNECTIONS.add_one(&[("reason", reason)]);
        let now = self.clock.now();
        if logged.is_none_or(|logged| now.saturating_sub(logged) >= ticks(LOG_PAUSE)) {
            *logged = Some(now);
            tracing::warn!(reason, "connections are cut whose peers do not take what they asked for");
        }
    }
}

/// Body of the answer to a call, with memory accounting. Releases the memory of the request.
pub fn answer(body: Body, call: Arc<Call>) -> Body {
    call.answered();
    Body::new(Answer::new(body, call))
}

fn show(part: &'static str, bytes: usize) {
    telemetry::MEMORY_BYTES.set_of(&[("part", part)], bytes as u64);
}

#[cfg(test)]
mod tests;
