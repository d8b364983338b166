//! The memory of calls and connections: budgets for what is received and for what is to be sent, and the end of connections that
//! hold of them and do not go on.
//!
//! A connection may hold a part of each budget, so that one cannot starve the others, and a little in any case. Where a budget
//! is used up the others wait, and what holds most and moves least is ended: requests with an error, readers with their
//! connection, because HTTP/2 as hyper has it cannot end one stream whose peer takes nothing.

mod answer;
mod budget;
mod call;
mod clock;
mod intake;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

pub use budget::Charge;
pub use call::{Account, Call};
pub use intake::{Intake, PART_BYTES, Received};

use crate::service::Service;
use answer::Answer;
use budget::Budget;
use call::{Place, Shares, lock};
use clock::{Clock, TICK, ticks};

/// A reader that has taken nothing for so long is ended if others need its room.
const MAX_SILENCE_UNDER_PRESSURE: Duration = Duration::from_secs(1);

/// A reader that has not taken one frame in so long is ended if others need its room.
const MAX_FRAME_UNDER_PRESSURE: Duration = Duration::from_secs(10);

/// Most calls that wait until others end.
const MAX_WAITING_CALLS: usize = 1_000;

/// Most calls that ask how the server is while there is no room for other calls.
const MAX_PROBES: usize = 64;

/// How long a call waits until others end, and a request for room.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// What belongs to a call by itself, of its request, of its answer and of each live frame: most of them are small.
pub const SMALL_BYTES: usize = 4 << 10;

/// How long nothing more is logged of connections that are cut.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// How much there is. Each field is a share of `--max-memory-bytes` but for the time.
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    /// For requests, from their first byte to their answer.
    pub receive_bytes: usize,
    /// For answers, until they are sent.
    pub send_bytes: usize,
    /// For calls by themselves.
    pub calls_bytes: usize,
    /// One connection may hold each of these divided by this.
    pub connections_at_least: usize,
    /// What a call and a connection take by themselves, about.
    pub call_bytes: usize,
    /// See [`call_bytes`](Self::call_bytes).
    pub connection_bytes: usize,
    /// How long a request or an answer may make no progress.
    pub max_silence: Duration,
}

/// See the module.
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
    /// Nothing is held yet.
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

    /// The account of a new connection, which ends when `cut` is cancelled.
    pub fn account(&self, cut: CancellationToken) -> Arc<Account> {
        let shares = Shares {
            receive: Arc::new(self.receive.share()),
            send: Arc::new(self.send.share()),
            calls: Arc::new(self.calls.share()),
        };
        let account = Arc::new(Account::new(shares, Arc::clone(&self.clock), cut));
        let mut accounts = lock(&self.accounts);
        if accounts.len() == accounts.capacity() {
            accounts.retain(|_, account| account.strong_count() > 0);
        }
        accounts.insert(self.next_account.fetch_add(1, Relaxed), Arc::downgrade(&account));
        account
    }

    /// One more call of a connection, if it may have one more at once.
    pub fn call(&self, account: &Arc<Account>) -> Option<Arc<Call>> {
        let place = account.shares.calls.try_charge(self.options.call_bytes)?;
        Some(Call::begin(Arc::clone(account), Place::Counted { _charge: place }))
    }

    /// A call that asks how the server is, though the calls of others take all the room; a few at a time.
    pub fn probe(&self, account: &Arc<Account>) -> Option<Arc<Call>> {
        let permit = Arc::clone(&self.probes).try_acquire_owned().ok()?;
        Some(Call::begin(Arc::clone(account), Place::Probe { _permit: permit }))
    }

    /// One more call of a connection, once others end. `None`: the connection has as many as it may have, too many wait, or
    /// none ends.
    pub async fn later_call(&self, account: &Arc<Account>) -> Option<Arc<Call>> {
        let calls = &account.shares.calls;
        if calls.held() + self.options.call_bytes > calls.most() || self.calls.waiting() > MAX_WAITING_CALLS {
            return None;
        }
        let place = Arc::clone(calls).charge(self.options.call_bytes);
        let place = tokio::time::timeout(MAX_WAIT, place).await.ok()?;
        Some(Call::begin(Arc::clone(account), Place::Counted { _charge: place }))
    }

    /// What counts the request of a call.
    pub fn intake(&self, call: &Arc<Call>) -> Intake {
        Intake::new(Arc::clone(call), self.options.max_silence)
    }

    /// The body of a request, counted; of one that is packed what it may be unpacked into.
    pub fn received(&self, body: Body, call: &Arc<Call>, max_bytes: usize, is_packed: bool) -> Body {
        Body::new(Received::new(body, self.intake(call), max_bytes, is_packed))
    }

    /// The body of an answer, counted.
    pub fn answer(&self, body: Body, call: Arc<Call>) -> Body {
        call.answered();
        Body::new(Answer::new(body, call))
    }

    /// Ends connections that do not go on, and shows in the metrics what is held and what may be, by `limits`. Never ends.
    pub async fn watch(self: Arc<Self>, service: Service, limits: Vec<(&'static str, usize)>) {
        let mut pulse = tokio::time::interval(TICK);
        // After a pause of the process peers get their time before anybody is judged.
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut logged = None;
        for (part, most) in limits {
            gauge("runlog_memory_limit_bytes", part, most);
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
            gauge(HELD, part, budget.used());
        }
        gauge(HELD, "connections", self.open().len() * self.options.connection_bytes);
        for (part, bytes) in service.held_bytes() {
            gauge(HELD, part, bytes);
        }
    }

    fn open(&self) -> Vec<Arc<Account>> {
        lock(&self.accounts).values().filter_map(Weak::upgrade).collect()
    }

    fn cut_silent(&self, logged: &mut Option<u64>) {
        let most = ticks(self.options.max_silence);
        for account in self.open() {
            if account.silence().is_some_and(|silence| silence >= most) {
                self.cut(&account, "no_progress", logged);
            }
        }
    }

    /// Others wait: those that hold most and move least go, until a quarter is free.
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
        metrics::counter!("runlog_cut_connections_total", "reason" => reason).increment(1);
        let now = self.clock.now();
        if logged.is_none_or(|logged| now.saturating_sub(logged) >= ticks(LOG_PAUSE)) {
            *logged = Some(now);
            tracing::warn!(reason, "connections are cut whose peers do not take what they asked for");
        }
    }
}

/// Bytes that a part of the memory holds.
const HELD: &str = "runlog_memory_bytes";

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float; bytes in memory fit")]
fn gauge(name: &'static str, part: &'static str, bytes: usize) {
    metrics::gauge!(name, "part" => part).set(bytes as f64);
}

#[cfg(test)]
mod tests;
